"""Decides what follows from a verdict on a push. No I/O and no clock.

The input is a verdict, the histories of the queue and the recall, the jitter and the time. The output is
a decision, which the drain carries out. Every wait has an upper bound. A fault that the recall cannot
have caused never ends the recall. Reasons contain no customer data.
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
    """The recent faults and refusals of a queue. The store keeps the history as text.

    `faults`, `concurrency` and `quota_refusals` count faults since the last definite answer (accepted or
    refused). `words` is a digest of the text of the last refusal, or "" if the last definite answer
    cannot stop the queue. `same_words` is the number of refusals with this text since another definite
    answer.
    """

    faults: int = 0
    concurrency: int = 0
    quota_refusals: int = 0
    words: str = ""
    same_words: int = 0

    def to_json(self) -> str:
        """Return the history as JSON, or "" for an empty history."""
        return "" if self == QueueHistory() else json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes | None) -> QueueHistory:
        """Return the history from its JSON. None, "" and invalid JSON give an empty history."""
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
    """The history of a recall without the current verdict.

    `strikes` counts faults that the recall may have caused, `crashes` workers that died while pushing the
    recall. Both are reset when the recall is set aside. `rounds` counts how often another recall passed
    while this recall was set aside.
    """

    strikes: int = 0
    rounds: int = 0
    crashes: int = 0


def _count(found: object) -> int:
    return max(0, found) if isinstance(found, int) else 0


# --- decisions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Accept:
    """The decision to end the recall as accepted. The next recall follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The decision to end the recall as dead.

    The next recall follows after `seconds`, and after the quiet time if `quiet` is True.
    """

    reason: str
    seconds: float = 0.0
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryIn:
    """The decision to push the same recall again after `seconds`.

    If `counts_against_recall` is True, the recall gets a strike.
    """

    seconds: float
    reason: str
    quiet: bool = False
    counts_against_recall: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAside:
    """The decision to push another recall, if the queue has one, instead of this one after `seconds`."""

    seconds: float
    reason: str
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitUntil:
    """The decision to push the same recall again at `moment` (aware). The queue waits until then."""

    moment: datetime
    reason: str
    quiet: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StopQueue:
    """The decision to stop the queue until an operator resumes it.

    If `recall_dead` is True, the recall also ends as dead.
    """

    reason: str
    recall_dead: bool = False
    quiet: bool = False


Decision = Accept | Refuse | RetryIn | SetAside | WaitUntil | StopQueue


# --- delays ----------------------------------------------------------------------------------


# The maxima leave room for the jitter.


def _fault_seconds(attempt: int, case: _Situation) -> float:
    """Return the delay in seconds after fault number `attempt`: about 1, doubling up to 5 minutes.

    If wolkvox requests a longer delay, return the requested delay, at most an hour.
    """
    jitter = 0.5 * case.jitter - 0.25
    return _at_least(backoff_seconds(attempt, base=1.0, maximum=240.0, jitter=jitter), case.verdict)


def _concurrency_seconds(attempt: int, case: _Situation) -> float:
    """Return the delay in seconds after a concurrency refusal: from 5, doubling up to 2 minutes.

    If wolkvox requests a longer delay, return the requested delay, at most an hour.
    """
    jitter = 0.25 * case.jitter
    return _at_least(backoff_seconds(attempt, base=5.0, maximum=96.0, jitter=jitter), case.verdict)


def _at_least(seconds: float, verdict: Verdict) -> float:
    """Return `seconds`, or the delay that wolkvox requests if that is longer, at most an hour."""
    return max(seconds, min(verdict.retry_after_seconds or 0.0, LIMIT_SECONDS))


def store_retry_seconds(attempt: int) -> float:
    """Return the seconds to wait before a command to an unavailable store is repeated.

    The wait starts at 0.05 s and doubles up to 1 s.
    """
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
    """Return the decision on a verdict, and the new history of the queue.

    `jitter` is a random number in [0, 1). `now` and `quota_resets_at`, the next reset after now, are aware.
    Raise ValueError if the jitter is out of range or a time is naive.
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
        reason = (
            f"wolkvox refused {times} recalls in a row with the same text: fix the cause that the last "
            "answer names, then resume the account"
        )
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
    """Return the time of the next probe after a quota refusal.

    After the first refusal this is the next reset. After further refusals it is at most an hour from now,
    because wolkvox does not document the time of the reset. A reset that is not in the future counts as
    unknown.
    """
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
    reason = f"the recall failed repeatedly while other recalls passed; last fault: {verdict.reason}"
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
