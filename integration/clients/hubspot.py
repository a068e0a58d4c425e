"""Read HubSpot contacts by their ids, up to 100 in one request.

A call returns or raises `ContactsAway` within a bounded time. No request is sent while a known rate limit
lasts. Redirects, proxies and cookies are not used. Error messages contain no token and no customer data.
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

# developers.hubspot.com, API usage guidelines: there are limits per second, per ten seconds and per day.
# The response does not contain the end of the account's day.
BURST_WAIT_SECONDS: Final = 10.0
DAILY_WAIT_SECONDS: Final = 3600.0

_AWAY_STATUS: Final = {
    400: "HubSpot rejects the request: check the lookup's properties",
    401: "HubSpot rejects the token: check the lookup's token",
    403: "HubSpot rejects the token: it may lack the scope crm.objects.contacts.read",
    404: "HubSpot has no contacts API at this address: check the lookup's base_url",
}


class ContactsAway(Exception):  # noqa: N818  (describes a state of HubSpot)
    """The contacts cannot be read at the moment. A later attempt may succeed.

    `reason` contains no token and no customer data. `retry_after_seconds` is the wait that HubSpot asks for,
    or None.
    """

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds


def read_contacts(lookup: Lookup, ids: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """Return the contacts by requested id, as HubSpot's objects with at least `id` and `properties`.

    A contact that does not exist, is deleted, or whose id is not a number is missing from the result. A
    contact that was merged into another is returned under the requested id, with the other's `id`. The call
    takes at most 40 s, and each request at most 10 s. Thread-safe. Raise ContactsAway.
    """
    reader = _Reader(lookup, time.monotonic() + CALL_SECONDS)
    contacts: dict[str, dict[str, Any]] = {}
    valid_ids = [id_ for id_ in dict.fromkeys(ids) if re.fullmatch(r"[0-9]{1,19}", id_)]
    for start in range(0, len(valid_ids), BATCH):
        contacts |= reader.read(valid_ids[start : start + BATCH])
    return contacts


class _Reader:
    """Makes the requests of one call, with one token and one deadline."""

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
        self._rate_limit = _RATE_LIMITS.of(self._url, token)

    def read(self, ids: list[str]) -> dict[str, dict[str, Any]]:
        page = _page(self._answer(ids))
        if len(ids) == 1:
            return {ids[0]: page.contacts[0]} if len(page.contacts) == 1 else {}
        by_id = {contact["id"]: contact for contact in page.contacts}
        found = {contact: by_id[contact] for contact in ids if contact in by_id}
        # HubSpot returns a merged contact under the id of the contact that it was merged into, without the
        # requested id (community.hubspot.com, "Question about batch read API"). So ids without a result are
        # requested one by one.
        unexplained = [contact for contact in ids if contact not in found and contact not in page.unknown]
        for contact in unexplained[:READ_ALONE]:
            found |= self.read([contact])
        return found

    def _answer(self, ids: list[str]) -> httpx.Response:
        self._rate_limit.pass_or_raise(time.monotonic())
        body = {"properties": self._properties, "inputs": [{"id": contact} for contact in ids]}
        seconds = min(self._end - time.monotonic(), REQUEST_SECONDS)
        answer = _post(self._url, orjson.dumps(body), self._headers, seconds)
        self._rate_limit.learn(answer, time.monotonic(), datetime.now(UTC))
        _raise_for_status(answer)
        return answer


# --- HubSpot's responses ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Page:
    """The content of one response: the contacts, and the ids that HubSpot reports as not found."""

    contacts: list[dict[str, Any]]
    unknown: frozenset[str]


def _raise_for_status(answer: httpx.Response) -> None:
    """Raise ContactsAway for every status but 200 and 207 (some contacts were not found)."""
    status = answer.status_code
    if status in {200, 207}:
        return
    if status == 429:  # noqa: PLR2004  (too many requests)
        wait, limit = _limit(answer, datetime.now(UTC))
        raise ContactsAway(f"HubSpot's {limit} limit is used up (429)", wait)
    reason = _AWAY_STATUS.get(status)
    wait_seconds = retry_after_seconds(answer.headers, datetime.now(UTC))
    raise ContactsAway(f"{reason} ({status})" if reason else f"HubSpot answered {status}", wait_seconds)


def _page(answer: httpx.Response) -> _Page:
    """Return the content of a response. Raise ContactsAway if the body is not as documented."""
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
        # With any other error, an existing contact would be taken as missing.
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
    value: Any = table
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _limit(answer: httpx.Response, now: datetime) -> tuple[float, str]:
    """Return the seconds to wait after a 429, and the limit that was exceeded ("daily" or "rate")."""
    try:
        policy = str(_json(answer).get("policyName", "")).upper()
    except ContactsAway:
        policy = ""
    daily = policy.startswith("DAILY") or answer.headers.get("x-hubspot-ratelimit-daily-remaining") == "0"
    documented = DAILY_WAIT_SECONDS if daily else _interval_seconds(answer.headers)
    wait = retry_after_seconds(answer.headers, now)
    return documented if wait is None else wait, "daily" if daily else "rate"


def _interval_seconds(headers: httpx.Headers) -> float:
    text = headers.get("x-hubspot-ratelimit-interval-milliseconds", "").strip()
    return int(text) / 1000 if re.fullmatch(r"[0-9]{1,8}", text) else BURST_WAIT_SECONDS


# --- the limits of a token -------------------------------------------------------------------


class _RateLimit:
    """Blocks one token's requests while HubSpot would answer 429. Times are of the monotonic clock."""

    def __init__(self) -> None:
        self._blocked = (0.0, "")

    def pass_or_raise(self, now: float) -> None:
        until, limit = self._blocked
        if now < until:
            raise ContactsAway(f"HubSpot's {limit} limit is used up", until - now)

    def learn(self, answer: httpx.Response, now: float, today: datetime) -> None:
        """Update the limit from a response."""
        if answer.status_code == 429:  # noqa: PLR2004  (too many requests)
            wait, limit = _limit(answer, today)
        elif answer.headers.get("x-hubspot-ratelimit-daily-remaining") == "0":
            wait, limit = DAILY_WAIT_SECONDS, "daily"
        elif answer.headers.get("x-hubspot-ratelimit-remaining") == "0":
            wait, limit = _interval_seconds(answer.headers), "rate"
        else:
            return
        self._blocked = max(self._blocked, (now + min(wait, DAILY_WAIT_SECONDS), limit))


class _RateLimits:
    """The rate limits of this process, by a hash of URL and token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[bytes, _RateLimit] = {}

    def of(self, url: str, token: str) -> _RateLimit:
        key = hashlib.sha256(f"{url} {token}".encode()).digest()
        with self._lock:
            return self._limits.setdefault(key, _RateLimit())


_RATE_LIMITS = _RateLimits()


# --- one request with a deadline -------------------------------------------------------------


class _Clients(threading.local):
    """One client per thread, whose connection is kept alive for the thread's next calls."""

    def __init__(self) -> None:
        self.client = DeadlineClient(DeadlineTransport(body_limit=BODY_LIMIT), seconds=REQUEST_SECONDS)


_CLIENTS = _Clients()


def _post(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> httpx.Response:
    """Return the complete response to a request. Raise ContactsAway."""
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
