"""What follows from a verdict: verdict + history + jitter → decision. Pure.

Promises: every wait is bounded and never nearly nothing, faults that cannot be a recall's own burn no
recall however often they come, and no reason holds a customer's data. Never sleeps, never reads a clock.
Decisions are values; the drain acts on them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from integration.clients.backoff import backoff_seconds
from integration.clients.wolkvox_protocol import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.clients.wolkvox_protocol import Verdict

STRIKES_LIMIT = 3
ROUNDS_LIMIT = 2
SAME_WORDS_LIMIT = 5
PROBE_EVERY = timedelta(hours=1)
RETRY_AFTER_LIMIT_SECONDS = 3600.0


# --- what went before ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHistory:
    """What a queue remembers of its faults; the store keeps it as text and does not look inside.

    `faults` and `concurrency` count what came since the last clear answer (accepted or refused),
    `quota_refusals` likewise. `words` is a mark of the last refusal's words (not the words: they may
    name a customer) and `same_words` how many refusals in a row had them.
    """

    faults: int = 0
    concurrency: int = 0
    quota_refusals: int = 0
    words: str = ""
    same_words: int = 0

    def to_json(self) -> str:
        """Encode it; a history without faults is an empty text."""
        return "" if self == QueueHistory() else json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes | None) -> QueueHistory:
        """Decode it. What cannot be read counts as no history: that only makes waits shorter."""
        if not text:
            return cls()
        try:
            found = json.loads(text)
        except ValueError:
            return cls()
        if not isinstance(found, dict):
            return cls()
        words = found.get("words")
        return cls(
            faults=_count(found.get("faults")),
            concurrency=_count(found.get("concurrency")),
            quota_refusals=_count(found.get("quota_refusals")),
            words=words if isinstance(words, str) else "",
            same_words=_count(found.get("same_words")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallHistory:
    """What is remembered of one recall, this verdict not yet counted.

    `strikes` counts the faults that may be its own, `crashes` the workers that died under it, both
    since it was last set aside; `rounds` how often it was set aside and another recall passed.
    """

    strikes: int = 0
    rounds: int = 0
    crashes: int = 0


def _count(found: object) -> int:
    return max(0, found) if isinstance(found, int) else 0


# --- what to do ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The recall is recorded at wolkvox; go on with the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The recall is dead; the queue goes on after `seconds`, and keeps the quiet time if `quiet`."""

    reason: str
    seconds: float = 0.0
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryIn:
    """The queue waits `seconds`, then the same recall goes first. `convicts`: it has one strike more."""

    seconds: float
    reason: str
    quiet: bool = False
    convicts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The queue waits `seconds`, then another recall is tried in place of this one, if there is one."""

    seconds: float
    reason: str
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """The queue waits until `moment` (aware), then the same recall goes first."""

    moment: datetime
    reason: str
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopQueue:
    """Nothing passes until the operator has acted. `recall_dead`: the recall was refused beside that."""

    reason: str
    recall_dead: bool = False
    quiet: bool = False


Decision = Accept | Refuse | RetryIn | SetAside | WaitUntil | StopQueue


# --- how long --------------------------------------------------------------------------------


# The maxima leave room for the jitter.


def _fault_seconds(attempt: int, case: _Situation) -> float:
    """Return about 1 s, doubling to 5 minutes."""
    jitter = 0.5 * case.jitter - 0.25
    return _at_least(backoff_seconds(attempt, base=1.0, maximum=240.0, jitter=jitter), case.verdict)


def _concurrency_seconds(attempt: int, case: _Situation) -> float:
    """Return 5 s, doubling to 2 minutes."""
    jitter = 0.25 * case.jitter
    return _at_least(backoff_seconds(attempt, base=5.0, maximum=96.0, jitter=jitter), case.verdict)


def _at_least(seconds: float, verdict: Verdict) -> float:
    """Wait as long as wolkvox asks, up to an hour, if that is longer."""
    return max(seconds, min(verdict.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS))


@dataclass(frozen=True, slots=True)
class _Situation:
    """All that a decision goes by."""

    verdict: Verdict
    queue: QueueHistory
    recall: RecallHistory
    jitter: float
    now: datetime
    quota_resets_at: datetime


def decide(
    verdict: Verdict,
    queue: QueueHistory,
    recall: RecallHistory,
    *,
    jitter: float,
    now: datetime,
    quota_resets_at: datetime,
) -> tuple[Decision, QueueHistory]:
    """Say what follows from a verdict, and what the queue shall remember.

    `jitter` is a random number from 0 up to but not including 1; `now` and `quota_resets_at` (the
    next reset after now) are aware. Raises ValueError for another jitter or a date without a zone.
    """
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter: found {jitter}; allowed: 0 up to but not including 1")
    if now.utcoffset() is None or quota_resets_at.utcoffset() is None:
        raise ValueError("now, quota_resets_at: found a date without a zone; allowed: aware datetimes")
    case = _Situation(verdict, queue, recall, jitter, now, quota_resets_at)
    return _BY_KIND[verdict.kind](case)


def _accepted(_: _Situation) -> tuple[Decision, QueueHistory]:
    return Accept(), QueueHistory()


def _refused(case: _Situation) -> tuple[Decision, QueueHistory]:
    verdict = case.verdict
    if not verdict.may_stop_queue:
        return Refuse(reason=verdict.reason, quiet=verdict.quiet), QueueHistory()
    mark = hashlib.sha256(verdict.words.encode("utf-8", "replace")).hexdigest()[:16]
    times = case.queue.same_words + 1 if mark == case.queue.words else 1
    if times >= SAME_WORDS_LIMIT:
        reason = f"{times} refusals in a row with the same words: look at the last answer, then resume"
        return StopQueue(reason=reason, recall_dead=True, quiet=verdict.quiet), QueueHistory()
    return Refuse(reason=verdict.reason, quiet=verdict.quiet), QueueHistory(words=mark, same_words=times)


def _concurrency(case: _Situation) -> tuple[Decision, QueueHistory]:
    queue = replace(case.queue, concurrency=case.queue.concurrency + 1)
    seconds = _concurrency_seconds(queue.concurrency, case)
    return RetryIn(seconds=seconds, reason=case.verdict.reason, quiet=case.verdict.quiet), queue


def _quota(case: _Situation) -> tuple[Decision, QueueHistory]:
    queue = replace(case.queue, quota_refusals=case.queue.quota_refusals + 1)
    return WaitUntil(moment=_next_probe(case), reason=case.verdict.reason, quiet=case.verdict.quiet), queue


def _next_probe(case: _Situation) -> datetime:
    """Give the reset at first; the hour of it is not documented, so after that look once an hour too."""
    probe, reset = case.now + PROBE_EVERY, case.quota_resets_at
    if reset <= case.now:
        return probe
    return reset if case.queue.quota_refusals == 0 else min(probe, reset)


def _stopped(case: _Situation) -> tuple[Decision, QueueHistory]:
    return StopQueue(reason=case.verdict.reason, quiet=case.verdict.quiet), case.queue


def _fault(case: _Situation) -> tuple[Decision, QueueHistory]:
    verdict, recall = case.verdict, case.recall
    queue = replace(case.queue, faults=case.queue.faults + 1)
    seconds = _fault_seconds(queue.faults, case)
    if not verdict.convicts or recall.strikes + recall.crashes + 1 < STRIKES_LIMIT:
        retry = RetryIn(
            seconds=seconds, reason=verdict.reason, quiet=verdict.quiet, convicts=verdict.convicts
        )
        return retry, queue
    if recall.rounds < ROUNDS_LIMIT:
        return SetAside(seconds=seconds, reason=verdict.reason, quiet=verdict.quiet), queue
    reason = f"poison: it failed again and again while others passed; last: {verdict.reason}"
    return Refuse(reason=reason, seconds=seconds, quiet=verdict.quiet), queue


_BY_KIND: dict[VerdictKind, Callable[[_Situation], tuple[Decision, QueueHistory]]] = {
    VerdictKind.ACCEPTED: _accepted,
    VerdictKind.REFUSED: _refused,
    VerdictKind.CONCURRENCY: _concurrency,
    VerdictKind.QUOTA: _quota,
    VerdictKind.STOPPED: _stopped,
    VerdictKind.WAIT: _fault,
    VerdictKind.NOT_SENT: _fault,
    VerdictKind.UNKNOWN: _fault,
}
