"""The state of the sandbox: calls, rules, recorded callbacks and overlaps.

A call counts as in flight from `enter` to `leave`, even if its client disconnects.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from integration.local.sandbox.calls import iso
from integration.local.sandbox.rules import PlacedRule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.local.sandbox.calls import ReceivedCall
    from integration.local.sandbox.rules import Rule

MOST_CALLS = 100_000
OVERLAPS_KEPT = 1_000


class SandboxState:
    """The state of a sandbox, protected by one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[ReceivedCall] = deque(maxlen=MOST_CALLS)
        self._rules: list[PlacedRule] = []
        self._running: dict[str, list[ReceivedCall]] = {}
        self._recalls: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._used: Counter[tuple[str, date]] = Counter()
        self._next_rule = 1
        self._next_seq = 1
        self._forget_counts()

    def _forget_counts(self) -> None:
        self._count = 0
        self._codes: Counter[str] = Counter()
        self._overlap_count = 0
        self._overlaps: deque[dict[str, Any]] = deque(maxlen=OVERLAPS_KEPT)
        self._most: Counter[str] = Counter(
            {fingerprint: len(calls) for fingerprint, calls in self._running.items()}
        )

    def forget_calls(self) -> None:
        """Clear the calls, counts, callbacks and daily use. Calls in flight remain in flight."""
        with self._lock:
            self._calls.clear()
            self._recalls.clear()
            self._used.clear()
            self._forget_counts()

    def place(self, rules: Iterable[Rule]) -> list[dict[str, Any]]:
        """Append rules. Return them as JSON objects."""
        with self._lock:
            placed = []
            for rule in rules:
                placed.append(PlacedRule(self._next_rule, rule))
                self._next_rule += 1
            self._rules.extend(placed)
            return [rule.to_json() for rule in placed]

    def remove(self, rule_id: int | None) -> int:
        """Remove the rule with this id, or all rules with None. Return the number removed."""
        with self._lock:
            before = len(self._rules)
            self._rules = [] if rule_id is None else [r for r in self._rules if r.id != rule_id]
            return before - len(self._rules)

    def enter(self, call: ReceivedCall) -> Rule | None:
        """Number and count a call, and detect overlaps. Return the rule that applies, or None."""
        with self._lock:
            call.seq = self._next_seq
            self._next_seq += 1
            self._count += 1
            self._calls.append(call)
            if call.token:
                self._used[call.fingerprint, _today()] += 1
                self._overlap(call)
            placed = next((rule for rule in self._rules if rule.takes(call)), None)
            call.rule = None if placed is None else placed.id
            return None if placed is None else placed.rule

    def _overlap(self, call: ReceivedCall) -> None:
        running = self._running.setdefault(call.fingerprint, [])
        if running:
            self._overlap_count += 1
            seqs = [other.seq for other in running]
            self._overlaps.append(
                {"token": call.fingerprint, "seq": call.seq, "with": seqs, "at": iso(call.received_at)}
            )
        running.append(call)
        call.in_flight = len(running)
        self._most[call.fingerprint] = max(self._most[call.fingerprint], call.in_flight)

    def leave(self, call: ReceivedCall) -> None:
        """Mark a call as finished. Do nothing if it is finished already."""
        with self._lock:
            if call.finished_at is not None:
                return
            call.finished_at = datetime.now(UTC)
            self._codes[call.code or "none"] += 1
            running = self._running.get(call.fingerprint, [])
            if call in running:
                running.remove(call)
            if not running:
                self._running.pop(call.fingerprint, None)

    def record(self, recall: dict[str, Any]) -> None:
        """Record a callback. Replace an earlier callback with the same token, campaign and customer."""
        with self._lock:
            self._recalls[recall["token"], recall["campaign_id"], recall["customer_id"]] = recall

    def used_today(self, fingerprint: str) -> int:
        """Return the number of calls with a token on the current UTC day."""
        with self._lock:
            return self._used[fingerprint, _today()]

    def rules(self) -> list[dict[str, Any]]:
        """Return the active rules with their counts."""
        with self._lock:
            return [rule.to_json() for rule in self._rules]

    def calls(self, *, after: int = 0, limit: int = MOST_CALLS) -> list[dict[str, Any]]:
        """Return at most `limit` calls with a sequence number above `after`, oldest first."""
        with self._lock:
            found = [call for call in self._calls if call.seq > after][:limit]
            return [call.to_json() for call in found]

    def newest_calls(self, limit: int) -> list[dict[str, Any]]:
        """Return the latest calls, newest first, at most `limit`."""
        with self._lock:
            return [call.to_json() for call in islice(reversed(self._calls), limit)]

    def recalls(self) -> list[dict[str, Any]]:
        """Return the recorded callbacks: the latest for each token, campaign and customer."""
        with self._lock:
            return list(self._recalls.values())

    def stats(self) -> dict[str, Any]:
        """Return the number of calls, in total and by code, the overlaps, and the calls in flight.

        `in_flight` (now) and `max_in_flight` have the fingerprints of tokens as keys.
        """
        with self._lock:
            return {
                "count": self._count,
                "accepted": self._codes["202"],
                "codes": dict(self._codes),
                "max_in_flight": dict(self._most),
                "in_flight": {fingerprint: len(calls) for fingerprint, calls in self._running.items()},
                "overlap_count": self._overlap_count,
                "overlaps": list(self._overlaps),
            }


def _today() -> date:
    return datetime.now(UTC).date()
