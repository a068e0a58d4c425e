"""Decides what follows from a verdict: verdict, history and jitter in, a decision out.

Every wait has a lower and an upper bound. A fault that cannot be a recall's own never ends the recall.
Reasons contain no customer's data. There is no I/O and no clock here; the drain carries out the decision.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from integration.clients.backoff import backoff_seconds
from integration.clients.retry_after import LIMIT_SECONDS
from integration.clients.wolkvox_protocol import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.clients.wolkvox_protocol import Verdict

STRIKES_LIMIT = 3
ROUNDS_LIMIT = 2
SAME_WORDS_LIMIT = 5
PROBE_EVERY = timedelta(hours=1)


# --- history ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHistory:
    """The faults of a queue so far. The store keeps it as text.

    `faults`, `concurrency` and `quota_refusals` count faults since the last clear answer (accepted or
    refused). `words` is a digest of the last refusal's text, which may name a customer, and `same_words` the
    number of refusals in a row with that text.
    """

    faults: int = 0
    concurrency: int = 0
    quota_refusals: int = 0
    words: str = ""
    same_words: int = 0

    def to_json(self) -> str:
        """Return its JSON. A history without faults is an empty string."""
        return "" if self == QueueHistory() else json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes | None) -> QueueHistory:
        """Return the history of a JSON text. An invalid text is no history, which only shortens waits."""
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
    """The history of a recall, without the current verdict.

    `strikes` counts faults that may be its own and `crashes` workers that died while pushing it, both since
    it was last set aside. `rounds` counts how often it was set aside and another recall passed.
    """

    strikes: int = 0
    rounds: int = 0
    crashes: int = 0


def _count(found: object) -> int:
    return max(0, found) if isinstance(found, int) else 0


# --- decisions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """wolkvox has recorded the recall; the next one follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The recall is dead. The next one follows after `seconds`, and after the quiet time if `quiet`."""

    reason: str
    seconds: float = 0.0
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryIn:
    """The queue waits `seconds`, then the same recall is pushed.

    `counts_against_recall` adds a strike to the recall.
    """

    seconds: float
    reason: str
    quiet: bool = False
    counts_against_recall: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The queue waits `seconds`, then another recall, if any, is pushed in place of this one."""

    seconds: float
    reason: str
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """The queue waits until `moment` (aware), then the same recall is pushed."""

    moment: datetime
    reason: str
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopQueue:
    """The queue is stopped until the operator acts. With `recall_dead` the recall was refused as well."""

    reason: str
    recall_dead: bool = False
    quiet: bool = False


Decision = Accept | Refuse | RetryIn | SetAside | WaitUntil | StopQueue


# --- delays ----------------------------------------------------------------------------------


# The maxima leave room for the jitter.


def _fault_seconds(attempt: int, case: _Situation) -> float:
    """Return the delay after a fault in seconds: about 1, doubling up to 5 minutes."""
    jitter = 0.5 * case.jitter - 0.25
    return _at_least(backoff_seconds(attempt, base=1.0, maximum=240.0, jitter=jitter), case.verdict)


def _concurrency_seconds(attempt: int, case: _Situation) -> float:
    """Return the delay after a concurrency refusal in seconds: 5, doubling up to 2 minutes."""
    jitter = 0.25 * case.jitter
    return _at_least(backoff_seconds(attempt, base=5.0, maximum=96.0, jitter=jitter), case.verdict)


def _at_least(seconds: float, verdict: Verdict) -> float:
    """Return `seconds`, or the delay that wolkvox asks for if it is longer, at most an hour."""
    return max(seconds, min(verdict.retry_after_seconds or 0.0, LIMIT_SECONDS))


def store_retry_seconds(attempt: int) -> float:
    """Return the delay before a command is sent to an absent store again: 0.05 s, doubling up to 1."""
    return backoff_seconds(attempt, base=0.05, maximum=1.0)


@dataclass(frozen=True, slots=True)
class _Situation:
    """The input of a decision."""

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
    """Return the decision on a verdict, and the queue's new history.

    `jitter` is a random number in [0, 1). `now` and `quota_resets_at` (the next reset after now) are aware.
    Raise ValueError for another jitter or a naive time.
    """
    if not 0 <= jitter < 1:
        raise ValueError(f"jitter is {jitter}; it must be at least 0 and below 1")
    if now.utcoffset() is None or quota_resets_at.utcoffset() is None:
        raise ValueError("now or quota_resets_at has no time zone; both must be aware datetimes")
    case = _Situation(verdict, queue, recall, jitter, now, quota_resets_at)
    return _BY_KIND[verdict.kind](case)


def _accepted(_: _Situation) -> tuple[Decision, QueueHistory]:
    return Accept(), QueueHistory()


def _after_refusal(case: _Situation) -> tuple[Decision, QueueHistory]:
    verdict = case.verdict
    if not verdict.may_stop_queue:
        return Refuse(reason=verdict.reason, quiet=verdict.quiet), QueueHistory()
    digest = verdict.words_digest or ""
    times = case.queue.same_words + 1 if digest == case.queue.words else 1
    if times >= SAME_WORDS_LIMIT:
        reason = f"{times} refusals in a row with the same words: look at the last answer, then resume"
        return StopQueue(reason=reason, recall_dead=True, quiet=verdict.quiet), QueueHistory()
    return Refuse(reason=verdict.reason, quiet=verdict.quiet), QueueHistory(words=digest, same_words=times)


def _concurrency(case: _Situation) -> tuple[Decision, QueueHistory]:
    queue = replace(case.queue, concurrency=case.queue.concurrency + 1)
    seconds = _concurrency_seconds(queue.concurrency, case)
    return RetryIn(seconds=seconds, reason=case.verdict.reason, quiet=case.verdict.quiet), queue


def _quota(case: _Situation) -> tuple[Decision, QueueHistory]:
    queue = replace(case.queue, quota_refusals=case.queue.quota_refusals + 1)
    return WaitUntil(moment=_next_probe(case), reason=case.verdict.reason, quiet=case.verdict.quiet), queue


def _next_probe(case: _Situation) -> datetime:
    """Return the next reset after the first refusal, later also hourly: the reset's time is undocumented."""
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
    if not verdict.counts_against_recall or recall.strikes + recall.crashes + 1 < STRIKES_LIMIT:
        retry = RetryIn(
            seconds=seconds,
            reason=verdict.reason,
            quiet=verdict.quiet,
            counts_against_recall=verdict.counts_against_recall,
        )
        return retry, queue
    if recall.rounds < ROUNDS_LIMIT:
        return SetAside(seconds=seconds, reason=verdict.reason, quiet=verdict.quiet), queue
    reason = f"poison: it failed repeatedly while others passed; last: {verdict.reason}"
    return Refuse(reason=reason, seconds=seconds, quiet=verdict.quiet), queue


_BY_KIND: dict[VerdictKind, Callable[[_Situation], tuple[Decision, QueueHistory]]] = {
    VerdictKind.ACCEPTED: _accepted,
    VerdictKind.REFUSED: _after_refusal,
    VerdictKind.CONCURRENCY: _concurrency,
    VerdictKind.QUOTA: _quota,
    VerdictKind.STOPPED: _stopped,
    VerdictKind.WAIT: _fault,
    VerdictKind.NOT_SENT: _fault,
    VerdictKind.UNKNOWN: _fault,
}
