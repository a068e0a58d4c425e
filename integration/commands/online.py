"""`ringback check --online`: one real call that only reads, per lane, and one lookup per HubSpot source.

Never a second call on a token: a lane that is pushing or waiting is left alone, and an idle one is
paused for the call. Where no store can be seen, nobody can tell, and the operator is told so.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from integration.config import HubspotSource
from integration.errors import RingbackError
from integration.hubspot_contacts import ContactsAway, read_contacts
from integration.wolkvox import build_campaigns_call
from integration.wolkvox_http import Line, boottime, judge
from workers.lane import Lanes, held_until, lane_id, lane_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config import Account, Config
    from integration.wolkvox_http import Exchange
    from workers.store import Store

PAUSED_BY_US = "ringback check --online is asking wolkvox; resume if this stays"


class LaneInUseError(RingbackError):
    """The lane may have a call under way, so none is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a real call came to. `who` names accounts or a source."""

    who: tuple[str, ...]
    good: bool
    told: str

    def shown(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {"who": list(self.who), "good": self.good, "told": self.told}


def ask_lanes(config: Config, store: Store | None) -> list[Asked]:
    """Ask wolkvox for the campaigns of every token; `store` None: no store is there to hold a lane in."""
    lanes: dict[str, list[Account]] = {}
    for account in config.accounts.values():
        lanes.setdefault(account.token.get_secret_value(), []).append(account)
    return [_ask_lane(accounts, store) for accounts in lanes.values()]


def ask_lookups(config: Config) -> list[Asked]:
    """Read one contact, whether it exists or not, for every source that looks contacts up."""
    asked = []
    for name, source in config.sources.items():
        if not isinstance(source, HubspotSource) or source.lookup is None:
            continue
        try:
            read_contacts(source.lookup, ("1",))
        except ContactsAway as away:
            asked.append(Asked(who=(name,), good=False, told=away.reason))
        else:
            asked.append(Asked(who=(name,), good=True, told="HubSpot takes the lookup's token"))
    return asked


def _ask_lane(accounts: list[Account], store: Store | None) -> Asked:
    account, names = accounts[0], tuple(account.name for account in accounts)
    try:
        if store is None:
            return _judged(names, *_campaigns(account))
        with held(store, account):
            exchange, quiet = _campaigns(account)
            if quiet:
                # It may still be working on the call, and whatever is queued must not meet it.
                time.sleep(account.quiet_seconds)
    except LaneInUseError as error:
        return Asked(who=names, good=False, told=f"not asked: {error}")
    return _judged(names, exchange, quiet)


@contextmanager
def held(store: Store, account: Account) -> Iterator[None]:
    """Keep a lane free of calls. Raises LaneInUseError when it is not free, StoreAwayError."""
    key: Any = store.guarded(lambda: store.client.hget(store.key("meta"), "lane_key"))
    if key is None:
        # No worker has ever seen this store.
        yield
        return
    lane = lane_id(bytes.fromhex(key), account.token.get_secret_value())
    state = _require_free(store, lane, account)
    if state in {"paused", "stopped"}:
        yield
        return
    lanes = Lanes(store)
    lanes.pause(lane, PAUSED_BY_US)
    try:
        # A turn may have begun between the look and the pause.
        _require_free(store, lane, account)
        yield
    finally:
        if _fields(store, lane).get("paused") == PAUSED_BY_US:
            lanes.resume(lane)


def _fields(store: Store, lane: str) -> dict[str, str]:
    return dict(store.guarded(lambda: store.client.hgetall(store.key(f"lane:{lane}"))))


def _require_free(store: Store, lane: str, account: Account) -> str:
    """Give the lane's state when no call can be under way on it. Raises LaneInUseError."""
    fields, now_ms = _fields(store, lane), store.now_ms()
    times = {name: float(fields.get(name) or 0) for name in ("lease", "quiet")}
    pushing = fields.get("inflight") and times["lease"] > now_ms
    if pushing or times["quiet"] > now_ms:
        raise LaneInUseError("a call is under way on this token; try again, or pause the account first")
    lost_at = store.guarded(lambda: store.client.hget(store.key("meta"), "held"))
    held_ms = held_until(lost_at, account.lease_seconds)
    state = lane_state(fields, now_ms=now_ms, today=None, held_ms=held_ms)
    if state.state == "waiting":
        raise LaneInUseError(f"the lane waits: {state.reason}")
    return state.state


def _campaigns(account: Account) -> tuple[Exchange, bool]:
    """Ask for the campaigns; the flag: wolkvox may still be working on the call."""
    with Line(account.endpoint) as line:
        exchange = line.push(
            build_campaigns_call(account),
            claimed_at=boottime(),
            latest_write_seconds=account.latest_write_seconds,
            timeout_seconds=account.timeout_seconds,
        )
    return exchange, judge(exchange).quiet


def _judged(names: tuple[str, ...], exchange: Exchange, quiet: bool) -> Asked:  # noqa: FBT001  (of `_campaigns`)
    rows = _rows(exchange)
    if rows is None:
        told = judge(exchange).reason + ("; it may still be working on the call" if quiet else "")
        return Asked(who=names, good=False, told=told)
    return Asked(who=names, good=True, told=f"wolkvox takes the token, and names {rows} campaigns")


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
        return len(answer) if exchange.status == 200 else None  # noqa: PLR2004  (HTTP)
    if not isinstance(answer, dict):
        return None
    code = str(answer.get("code", exchange.status))
    data = answer.get("data")
    if code in {"200", "404"} and exchange.status in {200, 404}:
        return len(data) if isinstance(data, list) else 0
    return None
