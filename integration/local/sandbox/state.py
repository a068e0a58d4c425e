"""Everything the sandbox knows: calls, rules, callbacks on record, who overlapped whom.

Promises that a call counts as in flight from `enter` to `leave`, whatever its client does meanwhile.
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

CALLS_KEPT = 100_000
OVERLAPS_KEPT = 1_000


class SandboxState:
    """All of it, behind one lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[ReceivedCall] = deque(maxlen=CALLS_KEPT)
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
        self._most: Counter[str] = Counter({mark: len(calls) for mark, calls in self._running.items()})

    def forget_calls(self) -> None:
        """Forget calls, counts, callbacks and the day's use; what is in flight stays in flight."""
        with self._lock:
            self._calls.clear()
            self._recalls.clear()
            self._used.clear()
            self._forget_counts()

    def place(self, rules: Iterable[Rule]) -> list[dict[str, Any]]:
        """Place rules behind the others; gives them as they are shown."""
        with self._lock:
            placed = []
            for rule in rules:
                placed.append(PlacedRule(self._next_rule, rule))
                self._next_rule += 1
            self._rules.extend(placed)
            return [rule.shown() for rule in placed]

    def remove(self, rule_id: int | None) -> int:
        """Take one rule away, or all of them; gives how many."""
        with self._lock:
            before = len(self._rules)
            self._rules = [] if rule_id is None else [r for r in self._rules if r.id != rule_id]
            return before - len(self._rules)

    def enter(self, call: ReceivedCall) -> Rule | None:
        """A call begins: it is numbered, counted and compared with those that run. Gives its rule."""
        with self._lock:
            call.seq = self._next_seq
            self._next_seq += 1
            self._count += 1
            self._calls.append(call)
            if call.token:
                self._used[call.mark, _today()] += 1
                self._overlap(call)
            placed = next((rule for rule in self._rules if rule.takes(call)), None)
            call.rule = None if placed is None else placed.id
            return None if placed is None else placed.rule

    def _overlap(self, call: ReceivedCall) -> None:
        running = self._running.setdefault(call.mark, [])
        if running:
            self._overlap_count += 1
            seqs = [other.seq for other in running]
            self._overlaps.append(
                {"token": call.mark, "seq": call.seq, "with": seqs, "at": iso(call.received_at)}
            )
        running.append(call)
        call.in_flight = len(running)
        self._most[call.mark] = max(self._most[call.mark], call.in_flight)

    def leave(self, call: ReceivedCall) -> None:
        """A call's work is done."""
        with self._lock:
            if call.finished_at is not None:
                return
            call.finished_at = datetime.now(UTC)
            self._codes[call.code or "none"] += 1
            running = self._running.get(call.mark, [])
            if call in running:
                running.remove(call)
            if not running:
                self._running.pop(call.mark, None)

    def record(self, recall: dict[str, Any]) -> None:
        """Put a callback on record; it replaces the one of its token, campaign and customer."""
        with self._lock:
            self._recalls[recall["token"], recall["campaign_id"], recall["customer_id"]] = recall

    def used_today(self, mark: str) -> int:
        """Give how many calls a token has made today."""
        with self._lock:
            return self._used[mark, _today()]

    def rules(self) -> list[dict[str, Any]]:
        """Give the rules, with how many calls each has seen and befallen."""
        with self._lock:
            return [rule.shown() for rule in self._rules]

    def calls(self, *, after: int = 0, limit: int = CALLS_KEPT) -> list[dict[str, Any]]:
        """Give the calls received after that number, oldest first."""
        with self._lock:
            found = [call for call in self._calls if call.seq > after][:limit]
            return [call.shown() for call in found]

    def newest_calls(self, limit: int) -> list[dict[str, Any]]:
        """Give the last calls, newest first."""
        with self._lock:
            return [call.shown() for call in islice(reversed(self._calls), limit)]

    def recalls(self) -> list[dict[str, Any]]:
        """Give the callbacks on record: the last word per token, campaign and customer."""
        with self._lock:
            return list(self._recalls.values())

    def stats(self) -> dict[str, Any]:
        """Give the counts: calls, codes, and the most that were in flight per token, with every overlap."""
        with self._lock:
            return {
                "count": self._count,
                "accepted": self._codes["202"],
                "codes": dict(self._codes),
                "max_in_flight": dict(self._most),
                "in_flight": {mark: len(calls) for mark, calls in self._running.items()},
                "overlap_count": self._overlap_count,
                "overlaps": list(self._overlaps),
            }


def _today() -> date:
    return datetime.now(UTC).date()
