"""Reads HubSpot contacts by their ids, up to 100 in one request.

Promises: an answer or `ContactsAway` within a bounded time whatever the server does; a known rate limit
is waited for, never run into. Never follows a redirect, uses no proxy, keeps no cookie, and says nothing
of a customer or a token in what it raises.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

from integration.clients.deadline_transport import AnswerTooLongError, DeadlineClient, DeadlineTransport
from integration.clients.retry_after import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.config.source_models import Lookup

PATH: Final = "/crm/v3/objects/contacts/batch/read"
BATCH: Final = 100  # developers.hubspot.com, CRM API, contacts: a batch read takes 100 inputs at most
BODY_LIMIT: Final = 4 * 1024 * 1024
REQUEST_SECONDS: Final = 10.0
CALL_SECONDS: Final = 40.0
READ_ALONE: Final = 20

# developers.hubspot.com, API usage guidelines: limits go by the second, by ten seconds and by the day.
# When the account's day ends is not in the answer.
BURST_WAIT_SECONDS: Final = 10.0
DAILY_WAIT_SECONDS: Final = 3600.0

_AWAY_STATUS: Final = {
    400: "HubSpot refuses the request: check the lookup's properties",
    401: "the token is refused: check the lookup's token",
    403: "the token is refused: it may lack the scope crm.objects.contacts.read",
    404: "no contacts API there: check the lookup's base_url",
}


class ContactsAway(Exception):  # noqa: N818  (a state of the world, not an error of ours)
    """The contacts cannot be read now; what is asked again later may be answered.

    `reason` is plain words, without token or customer's data. `retry_after_seconds` is how long HubSpot
    asks to wait, None when it does not say.
    """

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


def read_contacts(lookup: Lookup, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """Read contacts: asked id → what HubSpot answered for it, with at least `id` and `properties`.

    A contact that does not exist, is deleted, or whose id is not a number is absent. A contact that was
    merged into another comes under the id that was asked, and has the other's `id`. Takes 40 s at
    most, 10 s a request; thread safe. Raises ContactsAway.
    """
    reader = _Reader(lookup, time.monotonic() + CALL_SECONDS)
    found: dict[str, dict[str, Any]] = {}
    asked = [contact for contact in dict.fromkeys(ids) if re.fullmatch(r"[0-9]{1,19}", contact)]
    for start in range(0, len(asked), BATCH):
        found |= reader.read(asked[start : start + BATCH])
    return found


class _Reader:
    """One call's requests: one token, one end."""

    def __init__(self, lookup: Lookup, end: float) -> None:
        self._url = lookup.base_url.rstrip("/") + PATH
        token = lookup.token.get_secret_value()
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._properties = list(lookup.properties)
        self._end = end
        self._gate = _GATES.of(self._url, token)

    def read(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        page = _page(self._answer(ids))
        if len(ids) == 1:
            return {ids[0]: page.contacts[0]} if len(page.contacts) == 1 else {}
        by_id = {contact["id"]: contact for contact in page.contacts}
        found = {contact: by_id[contact] for contact in ids if contact in by_id}
        # A merged contact is answered under the id of the one it was merged into, and nothing says
        # which of the asked ones that was (community.hubspot.com, "Question about batch read API").
        # Asked alone, it is plain.
        unexplained = [contact for contact in ids if contact not in found and contact not in page.unknown]
        for contact in unexplained[:READ_ALONE]:
            found |= self.read([contact])
        return found

    def _answer(self, ids: list[str]) -> httpx.Response:
        self._gate.pass_or_raise(time.monotonic())
        body = {"properties": self._properties, "inputs": [{"id": contact} for contact in ids]}
        seconds = min(self._end - time.monotonic(), REQUEST_SECONDS)
        answer = _post(self._url, orjson.dumps(body), self._headers, seconds)
        self._gate.learn(answer, time.monotonic(), datetime.now(UTC))
        _refuse_unless_read(answer)
        return answer


# --- what HubSpot says -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Page:
    """What one answer holds: the contacts, and the ids that HubSpot says it does not know."""

    contacts: list[dict[str, Any]]
    unknown: frozenset[str]


def _refuse_unless_read(answer: httpx.Response) -> None:
    """Raise ContactsAway for every status but 200 and 207 (some were found, some were not)."""
    status = answer.status_code
    if status in {200, 207}:
        return
    if status == 429:  # noqa: PLR2004  (too many requests)
        wait, why = _limit(answer, datetime.now(UTC))
        raise ContactsAway(f"HubSpot's {why} limit is used up (429)", wait)
    words = _AWAY_STATUS.get(status)
    asked = retry_after_seconds(answer.headers, datetime.now(UTC))
    raise ContactsAway(f"{words} ({status})" if words else f"HubSpot answered {status}", asked)


def _page(answer: httpx.Response) -> _Page:
    """Read an answer's body. Raises ContactsAway for one that is not as documented."""
    body = _json(answer)
    results, errors = body.get("results"), body.get("errors", [])
    if not isinstance(results, list) or not isinstance(errors, list):
        raise ContactsAway("HubSpot's answer has no list of results")
    if body.get("status", "COMPLETE") != "COMPLETE":
        raise ContactsAway("HubSpot had not finished reading")
    if not all(_is_contact(result) for result in results):
        raise ContactsAway("a result in HubSpot's answer is not a contact with id and properties")
    unknown: set[str] = set()
    for error in errors:
        # Any other fault would make a contact that exists look as if it did not.
        if not isinstance(error, dict) or error.get("category") != "OBJECT_NOT_FOUND":
            raise ContactsAway("HubSpot could not read some of the contacts")
        unknown.update(str(contact) for contact in _listed(error, "context", "ids"))
    return _Page(results, frozenset(unknown))


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        raise ContactsAway("HubSpot's answer is not JSON") from None
    if not isinstance(body, dict):
        raise ContactsAway("HubSpot's answer is not a JSON object")
    return body


def _is_contact(result: object) -> bool:
    return (
        isinstance(result, dict)
        and isinstance(result.get("id"), str)
        and isinstance(result.get("properties"), dict)
    )


def _listed(table: dict[str, Any], *path: str) -> list[Any]:
    found: Any = table
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, list) else []


def _limit(answer: httpx.Response, now: datetime) -> tuple[float, str]:
    """Tell how long a 429 asks to wait, in seconds, and which limit it is about."""
    try:
        policy = str(_json(answer).get("policyName", "")).upper()
    except ContactsAway:
        policy = ""
    daily = policy.startswith("DAILY") or answer.headers.get("x-hubspot-ratelimit-daily-remaining") == "0"
    documented = DAILY_WAIT_SECONDS if daily else _interval_seconds(answer.headers)
    asked = retry_after_seconds(answer.headers, now)
    return documented if asked is None else asked, "daily" if daily else "rate"


def _interval_seconds(headers: httpx.Headers) -> float:
    text = headers.get("x-hubspot-ratelimit-interval-milliseconds", "").strip()
    return int(text) / 1000 if re.fullmatch(r"[0-9]{1,8}", text) else BURST_WAIT_SECONDS


# --- the limits of a token -------------------------------------------------------------------


class _RateLimit:
    """Keeps one token's calls back while HubSpot would answer 429. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._shut = (0.0, "")

    def pass_or_raise(self, now: float) -> None:
        until, why = self._shut
        if now < until:
            raise ContactsAway(f"HubSpot's {why} limit is used up", until - now)

    def learn(self, answer: httpx.Response, now: float, today: datetime) -> None:
        """Take note of what an answer says of the limits."""
        if answer.status_code == 429:  # noqa: PLR2004  (too many requests)
            wait, why = _limit(answer, today)
        elif answer.headers.get("x-hubspot-ratelimit-daily-remaining") == "0":
            wait, why = DAILY_WAIT_SECONDS, "daily"
        elif answer.headers.get("x-hubspot-ratelimit-remaining") == "0":
            wait, why = _interval_seconds(answer.headers), "rate"
        else:
            return
        self._shut = max(self._shut, (now + min(wait, DAILY_WAIT_SECONDS), why))


class _RateLimits:
    """The gates of this process; a token is known by its hash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[bytes, _RateLimit] = {}

    def of(self, url: str, token: str) -> _RateLimit:
        key = hashlib.sha256(f"{url} {token}".encode()).digest()
        with self._lock:
            return self._gates.setdefault(key, _RateLimit())


_GATES = _RateLimits()


# --- one request within its time -------------------------------------------------------------


class _Clients(threading.local):
    """A client a thread, whose connection is kept alive for the thread's next calls."""

    def __init__(self) -> None:
        self.client = DeadlineClient(DeadlineTransport(body_limit=BODY_LIMIT), seconds=REQUEST_SECONDS)


_CLIENTS = _Clients()


def _post(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> httpx.Response:
    """Send a request and return its whole answer. Raise ContactsAway."""
    try:
        return _CLIENTS.client.post(url, content=body, headers=headers, timeout=seconds)
    except httpx.TimeoutException:
        raise ContactsAway(f"no complete answer from HubSpot within {REQUEST_SECONDS:g} s") from None
    except httpx.ConnectError:
        raise ContactsAway("HubSpot cannot be reached") from None
    except AnswerTooLongError:
        raise ContactsAway("HubSpot's answer is longer than 4 MiB") from None
    except httpx.TransportError:
        raise ContactsAway("the connection to HubSpot broke") from None
