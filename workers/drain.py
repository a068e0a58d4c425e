"""A drain: leases one queue and pushes its recalls one after the other, for a bounded time.

If the queue must wait, the drain ends, and the store keeps the time until which the queue waits. The time
limits of a call are measured on CLOCK_BOOTTIME, which includes time in suspend, and count from the moment
before the claim is sent. If the store's reply is lost, the drain repeats the request for the length of a
lease. When the lease has expired, another worker may acquire the queue.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import structlog

from integration.clients.wolkvox_protocol import build_call
from integration.domain.account import next_reset
from integration.domain.errors import StoreAwayError
from integration.domain.recall import Attempt
from integration.domain.schedule import Drop
from integration.domain.timestamps import from_epoch_ms, from_iso, iso_seconds
from integration.store.recalls import encoded_attempt
from integration.store.token_queue import Claim, NoClaim, PushResult, QueueReply, terms_of
from integration.telemetry.counters import PUSH_GAP, Counters
from workers.push_results import push_result
from workers.retry import QueueHistory, RecallHistory, decide, store_retry_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.clients.wolkvox import Exchange, WolkvoxConnection
    from integration.clients.wolkvox_protocol import Verdict
    from integration.domain.account import Account
    from integration.store.token_queue import QueueSettings, TokenQueues, WakeUp
    from integration.telemetry.reporter import Reporter
    from workers.retry import Decision

log = structlog.get_logger("ringback.drain")

# After so many calls the queue waits behind other wake-ups. With more calls, many busy queues would get less
# equal shares. Changing queues costs about as much as two calls.
DRAIN_CALLS = 10
DRAIN_SECONDS = 2.0
# The limit while no other queue or lookup waits. A new wake-up would leave the queue idle for 50 ms.
ALONE_SECONDS = 20.0
FOREIGN_WAIT_MS = 5_000
LATE_WAIT_MS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainDependencies:
    """The dependencies of a drain.

    `boottime` returns seconds, `now` the current time (aware), and `jitter` a random number in [0, 1).
    """

    queues: TokenQueues
    open_connection: Callable[[str], WolkvoxConnection]
    verdict_of: Callable[[Exchange, datetime], Verdict]
    reporter: Reporter
    boottime: Callable[[], float]
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    sleep: Callable[[float], None]
    stopping: Callable[[], bool]
    reschedule: Callable[[Account, datetime, datetime], Any]
    counters: Counters = field(default_factory=Counters)


def utc_now() -> datetime:
    """Return the current time (aware, UTC)."""
    return datetime.now(UTC)


class Drain:
    """One drain of one queue. `accounts` has at least one account of the queue's token, by name."""

    def __init__(self, tools: DrainDependencies, queue: str, accounts: Mapping[str, Account]) -> None:
        self._tools = tools
        self._queue = queue
        self._accounts = accounts
        self._account = next(iter(accounts.values()))
        self._started = tools.boottime()
        self._pushed = 0
        self._claimed_at = self._started
        self._answered_at: float | None = None
        self._cached_terms: tuple[datetime, QueueSettings] | None = None

    def run(self, wake_up: WakeUp | None = None) -> WakeUp | None:
        """Push recalls until the queue must wait or is empty, or until the drain must end.

        Push nothing if another worker holds the queue, or if `wake_up` was used before. A drain ends at
        its limits, or when the worker stops. Return the wake-up to publish, or None.
        """
        reply, step = self._acquire(wake_up), 0
        if not isinstance(reply.claim, Claim):
            return reply.wake_up
        with self._tools.open_connection(self._account.endpoint) as connection:
            while isinstance(reply.claim, Claim):
                result = self._push(connection, reply.claim)
                step += 1
                reply = self._finish(reply.claim, step, result)
        return reply.wake_up

    def _terms(self) -> QueueSettings:
        """Return the queue's terms.

        They are computed again when the quota day has ended or the clock was set back.
        """
        now = self._tools.now()
        if self._cached_terms is not None:
            computed_at, terms = self._cached_terms
            if computed_at <= now < terms.day_ends:
                return terms
        terms = terms_of(self._account, now)
        self._cached_terms = now, terms
        return terms

    def _acquire(self, wake_up: WakeUp | None) -> QueueReply:
        nonce = secrets.token_hex(8)
        self._claimed_at = self._tools.boottime()
        return self._repeat(
            lambda: self._tools.queues.acquire(self._queue, nonce, self._terms(), wake_up=wake_up)
        )

    def _finish(self, claim: Claim, step: int, result: PushResult) -> QueueReply:
        more = self._goes_on()
        self._claimed_at = self._tools.boottime()
        return self._repeat(
            lambda: self._tools.queues.finish(
                self._queue, claim, step, result, more=more, terms=self._terms()
            )
        )

    def _goes_on(self) -> bool | Literal["alone"]:
        seconds = self._tools.boottime() - self._started
        if self._tools.stopping() or seconds >= ALONE_SECONDS:
            return False
        return True if self._pushed < DRAIN_CALLS and seconds < DRAIN_SECONDS else "alone"

    def _repeat(self, command: Callable[[], QueueReply]) -> QueueReply:
        """Return the reply to a command.

        While the store is unavailable, repeat the command for up to `lease_seconds`. Then return the
        reply `lost`.
        """
        gives_up_at = self._tools.boottime() + self._account.lease_seconds
        for attempt in count(1):
            try:
                return command()
            except StoreAwayError:
                pause = store_retry_seconds(attempt)
            if self._tools.boottime() + pause > gives_up_at:
                break
            self._tools.sleep(pause)
        return QueueReply(NoClaim("lost"))

    def _push(self, connection: WolkvoxConnection, claim: Claim) -> PushResult:
        self._pushed += 1
        account = self._accounts.get(claim.account)
        if account is None:
            # A worker with a newer configuration will push it. A removed account has left the queue.
            reason = "this worker has not loaded the account's configuration yet"
            return PushResult(kind="again", reason=reason, wait_ms=FOREIGN_WAIT_MS)
        wanted = from_iso(claim.date)
        scheduled = self._tools.reschedule(account, wanted, self._tools.now())
        if isinstance(scheduled, Drop):
            return PushResult(kind="ended", state="expired", reason=scheduled.reason)
        date: datetime = scheduled.date
        if account.mode == "dry-run":
            reason = "dry-run: the call was not sent to wolkvox"
            return PushResult(kind="ended", state="simulated", reason=reason, date=iso_seconds(date))
        return self._call(connection, claim, account, date)

    def _call(
        self, connection: WolkvoxConnection, claim: Claim, account: Account, date: datetime
    ) -> PushResult:
        started_at = self._tools.now()
        call = build_call(
            account,
            campaign_id=claim.campaign_id,
            customer_id=claim.customer_id,
            recall_telephone=claim.telephone,
            recall_date=date,
        )
        exchange = connection.push(
            call,
            claimed_at=self._claimed_at,
            latest_write_seconds=account.latest_write_seconds,
            timeout_seconds=account.timeout_seconds,
        )
        if exchange.too_late:
            return PushResult(
                kind="again", reason="no time was left to send the request", wait_ms=LATE_WAIT_MS
            )
        verdict = self._tools.verdict_of(exchange, self._tools.now())
        decision, history = self._decide(claim, account, verdict)
        result = push_result(decision, iso_seconds(date))
        if result.get("date") == claim.date:
            del result["date"]
        sent_ms = None
        if exchange.sent_at is not None:
            self._count(claim, exchange.sent_at, exchange.seconds)
            sent_ms = round((self._tools.boottime() - exchange.sent_at) * 1000)
        self._report(claim, verdict, result)
        attempt = Attempt(
            started_at=started_at,
            seconds=exchange.seconds,
            http_status=exchange.status,
            code=verdict.code,
            msg=verdict.msg,
            outcome=verdict.kind,
            **self._next_attempt(result, date),
        )
        return PushResult(
            **result,
            verdict=str(verdict.kind),
            attempt=encoded_attempt(attempt),
            answer=None if result.get("state") == "accepted" else _text(exchange.body),
            words=verdict.words_digest,
            sent_ms=sent_ms,
            history=history.to_json(),
        )

    def _next_attempt(self, result: Mapping[str, Any], date: datetime) -> dict[str, Any]:
        """Return the fields of an Attempt for the next attempt, or {} if the recall has ended.

        The fields are the `recall_date` that was sent, and the `reason` and time (`next_at`, aware) of
        the next attempt. The time is None if the queue has stopped.
        """
        if result["kind"] == "ended":
            return {}
        next_at = None
        if "wait_until" in result:
            next_at = from_epoch_ms(result["wait_until"])
        elif "wait_ms" in result:
            next_at = self._tools.now() + timedelta(milliseconds=result["wait_ms"])
        return {"recall_date": date, "reason": result["reason"], "next_at": next_at}

    def _count(self, claim: Claim, sent_at: float, seconds: float) -> None:
        """Count the call, and record how long the queue was idle after the previous call of the drain."""
        self._tools.counters.pushed(claim.account, seconds)
        if self._answered_at is not None:
            self._tools.counters.observe(PUSH_GAP, max(0.0, sent_at - self._answered_at))
        self._answered_at = self._tools.boottime()

    def _decide(self, claim: Claim, account: Account, verdict: Verdict) -> tuple[Decision, QueueHistory]:
        now = self._tools.now()
        return decide(
            verdict,
            QueueHistory.from_json(claim.history),
            RecallHistory(strikes=claim.strikes, rounds=claim.rounds, crashes=claim.crashes),
            jitter=self._tools.jitter(),
            now=now,
            quota_resets_at=self._terms().day_ends if account is self._account else next_reset(account, now),
        )

    def _report(self, claim: Claim, verdict: Verdict, result: Mapping[str, Any]) -> None:
        kind = str(verdict.kind)
        log.info(
            "pushed", recall=claim.recall_id, account=claim.account, verdict=kind, reason=result["reason"]
        )
        if result.get("state") == "dead":
            self._tools.reporter.dead(claim, kind, result["reason"])
        if result.get("stop"):
            log.error("queue stopped", account=claim.account, reason=result["stop"])
            self._tools.reporter.stopped(claim.account, result["stop"])


def _text(body: bytes) -> str | None:
    return body.decode("utf-8", "replace") or None
