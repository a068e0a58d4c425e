"""A test call: wolkvox is asked for the campaigns of a token, which changes nothing there.

It has the token's queue as a push has it, under a lease, so that it never meets another call, whatever
operators and workers do meanwhile. It counts for the day's calls, as every call does.
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
    """The queue may have a call under way, or waits, so no other call is made on it."""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a test call came to, in words for the operator."""

    good: bool
    told: str


def probe_campaigns(account: Account) -> ProbeResult:
    """Ask where nobody else can be calling: no queue is held. Calls wolkvox."""
    return _judged(_call(account, boottime()))


def probe_in_queue(
    queues: TokenQueues, queue: str, account: Account, wake: Callable[[WakeUp], None]
) -> ProbeResult:
    """Ask while the account's queue is held; `wake` publishes its wake-up when it has work afterwards.

    Raises QueueInUseError, StoreAwayError.
    """
    claimed_at = boottime()
    fence = queues.lend(queue, secrets.token_hex(8), terms_of(account, datetime.now(UTC)))
    if isinstance(fence, NoClaim):
        raise QueueInUseError(_why_not(fence))
    sent_ms, quiet = None, True
    try:
        exchange = _call(account, claimed_at)
        quiet = verdict_of(exchange).quiet
        if exchange.sent_at is not None:
            sent_ms = round((boottime() - exchange.sent_at) * 1000)
    finally:
        # If this does not get through, the lease ends by itself.
        wake_up = queues.give_back(queue, fence, sent_ms=sent_ms, quiet=quiet)
        if wake_up is not None:
            wake(wake_up)
    return _judged(exchange)


def _why_not(refused: NoClaim) -> str:
    if refused.kind == "busy" or refused.reason == "quiet":
        return "a call is under way on this token, or may be; try again in a moment"
    return f"the queue waits: {refused.reason}"


def _call(account: Account, claimed_at: float) -> Exchange:
    with WolkvoxConnection(account.endpoint) as line:
        return line.push(
            build_campaigns_call(account),
            claimed_at=claimed_at,
            latest_write_seconds=account.latest_write_seconds,
            timeout_seconds=account.timeout_seconds,
        )


def _judged(exchange: Exchange) -> ProbeResult:
    rows = _rows(exchange)
    if rows is not None:
        return ProbeResult(good=True, told=f"wolkvox takes the token, and names {rows} campaigns")
    verdict = verdict_of(exchange)
    told = verdict.reason + ("; it may still be working on the call" if verdict.quiet else "")
    return ProbeResult(good=False, told=told)


def _rows(exchange: Exchange) -> int | None:
    """Count the campaigns of an answer; None when it is not a success.

    The rows stand in `data` wherever an answer was seen; the fields around them are not documented.
    Some reports answer 404 when there is nothing to list (seen, not documented).
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
