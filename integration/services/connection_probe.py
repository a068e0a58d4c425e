"""A test call, which reads the campaigns of a token from wolkvox and changes nothing there.

In `probe_in_queue` the call holds a lease on the token's queue, as a push does, so that no other call of
Ringback on the token overlaps it. The call counts towards the daily limit.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import orjson

from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import build_campaigns_call
from integration.domain.errors import RingbackError
from integration.store.token_queue import NoClaim, terms_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.clients.wolkvox import Exchange
    from integration.domain.account import Account
    from integration.store.token_queue import TokenQueues, WakeUp

_HTTP_OK, _HTTP_NOTHING = 200, 404


class QueueInUseError(RingbackError):
    """No test call can be made, because the queue waits or may have a call in progress."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a test call. `message` is for the operator, `words` is wolkvox' `msg` or empty."""

    good: bool
    message: str
    words: str = ""


def probe_campaigns(account: Account) -> ProbeResult:
    """Make a test call without a lease, for use without a store, and return its result."""
    return _result_of(_call(account, boottime()))


def probe_in_queue(
    queues: TokenQueues, queue: str, account: Account, wake: Callable[[WakeUp], None]
) -> ProbeResult:
    """Make a test call while the account's queue is leased, and return its result.

    `wake` publishes the queue's wake-up if the queue has work afterwards. Raise QueueInUseError,
    StoreAwayError.
    """
    claimed_at = boottime()
    fence = queues.begin_test_call(queue, secrets.token_hex(8), terms_of(account, datetime.now(UTC)))
    if isinstance(fence, NoClaim):
        raise QueueInUseError(_why_not(fence))
    sent_ms, quiet = None, True
    try:
        exchange = _call(account, claimed_at)
        quiet = verdict_of(exchange).quiet
        if exchange.sent_at is not None:
            sent_ms = round((boottime() - exchange.sent_at) * 1000)
    finally:
        # If this call fails, the lease expires by itself.
        wake_up = queues.end_test_call(queue, fence, sent_ms=sent_ms, quiet=quiet)
        if wake_up is not None:
            wake(wake_up)
    return _result_of(exchange)


def _why_not(refused: NoClaim) -> str:
    if refused.kind == "busy" or refused.reason == "quiet":
        return "a call may be running on this token; try again in a moment"
    return f"the queue waits: {refused.reason}"


def _call(account: Account, claimed_at: float) -> Exchange:
    with WolkvoxConnection(account.endpoint) as connection:
        return connection.push(
            build_campaigns_call(account),
            claimed_at=claimed_at,
            latest_write_seconds=account.latest_write_seconds,
            timeout_seconds=account.timeout_seconds,
        )


def _result_of(exchange: Exchange) -> ProbeResult:
    rows = _rows(exchange)
    if rows is not None:
        return ProbeResult(good=True, message=f"wolkvox accepts the token; campaigns listed: {rows}")
    verdict = verdict_of(exchange)
    message = verdict.reason + ("; wolkvox may still be working on the call" if verdict.quiet else "")
    return ProbeResult(good=False, message=message, words=verdict.msg or "")


def _rows(exchange: Exchange) -> int | None:
    """Return the number of campaigns in an answer, None if the answer is not a success.

    Not documented by wolkvox: all observed answers had the rows in `data`, and some reports without rows
    answered 404.
    """
    if not exchange.complete or exchange.status is None:
        return None
    try:
        answer = orjson.loads(exchange.body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(answer, list):
        return len(answer) if exchange.status == _HTTP_OK else None
    if not isinstance(answer, dict):
        return None
    code = str(answer.get("code", exchange.status))
    data = answer.get("data")
    if code in {"200", "404"} and exchange.status in {_HTTP_OK, _HTTP_NOTHING}:
        return len(data) if isinstance(data, list) else 0
    return None
