"""Reads HubSpot contacts by their ids, up to 100 in one request.

Promises: an answer or `ContactsAway` within a bounded time whatever the server does; a known rate limit
is waited for, never run into. Never follows a redirect, uses no proxy, keeps no cookie, and says nothing
of a customer or a token in what it raises.
"""

from __future__ import annotations

import contextvars
import hashlib
import re
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx
import orjson

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from integration.config import Lookup

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
            # Compressed, a small answer could become one that does not fit into memory.
            "Accept-Encoding": "identity",
            "User-Agent": "ringback",
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
        request = httpx.Request("POST", self._url, headers=self._headers, content=orjson.dumps(body))
        answer = _converse(request, min(self._end, time.monotonic() + REQUEST_SECONDS))
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
    asked = _retry_after(answer.headers, datetime.now(UTC))
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
    asked = _retry_after(answer.headers, now)
    return documented if asked is None else asked, "daily" if daily else "rate"


def _retry_after(headers: httpx.Headers, now: datetime) -> float | None:
    """Read `Retry-After`: seconds or a date (RFC 9110, 10.2.3); None when there is none to be read."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())


def _interval_seconds(headers: httpx.Headers) -> float:
    text = headers.get("x-hubspot-ratelimit-interval-milliseconds", "").strip()
    return int(text) / 1000 if re.fullmatch(r"[0-9]{1,8}", text) else BURST_WAIT_SECONDS


# --- the limits of a token -------------------------------------------------------------------


class _Gate:
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


class _Gates:
    """The gates of this process; a token is known by its hash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gates: dict[bytes, _Gate] = {}

    def of(self, url: str, token: str) -> _Gate:
        key = hashlib.sha256(f"{url} {token}".encode()).digest()
        with self._lock:
            return self._gates.setdefault(key, _Gate())


_GATES = _Gates()


# --- one request within its time -------------------------------------------------------------

# httpx counts a time-out anew with every read, so that a byte a second would never end.
_END: contextvars.ContextVar[float] = contextvars.ContextVar("end", default=0.0)


def _converse(request: httpx.Request, end: float) -> httpx.Response:
    """Send a request and read its whole answer before `end` (monotonic seconds). Raises ContactsAway."""
    token = _END.set(end)
    try:
        # A request made beforehand gets none of the client's cookies, which may be another token's.
        answer = _client().send(request, stream=True)
        try:
            return httpx.Response(
                answer.status_code, headers=_plain(answer.headers), content=_body(answer.iter_raw())
            )
        finally:
            answer.close()
    except (httpcore.TimeoutException, httpx.TimeoutException):
        raise ContactsAway(f"no complete answer from HubSpot within {REQUEST_SECONDS:g} s") from None
    except (httpcore.ConnectError, httpx.ConnectError):
        raise ContactsAway("HubSpot cannot be reached") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, httpx.HTTPError, OSError):
        raise ContactsAway("the connection to HubSpot broke") from None
    finally:
        _END.reset(token)


def _body(parts: Iterable[bytes]) -> bytes:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > BODY_LIMIT:
            raise ContactsAway("HubSpot's answer is longer than 4 MiB")
    return bytes(body)


def _plain(headers: httpx.Headers) -> list[tuple[str, str]]:
    """Give the headers without those that would make httpx unpack the body."""
    skipped = {"content-encoding", "transfer-encoding", "content-length"}
    return [(name, value) for name, value in headers.items() if name not in skipped]


def _left() -> float:
    return max(0.001, _END.get() - time.monotonic())


@lru_cache(maxsize=1)
def _client() -> httpx.Client:
    """Give this process's client: its connections are kept alive for all tokens and threads."""
    context = httpx.create_ssl_context(trust_env=False)
    return httpx.Client(transport=_Transport(context), trust_env=False, timeout=None, follow_redirects=False)  # noqa: S113  (every operation is bound by the request's end)


class _Transport(httpx.BaseTransport):
    """httpx over a pool of connections that end with the request they serve."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=64, keepalive_expiry=30, network_backend=_Network()
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; httpcore's exceptions pass as they are."""
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                target,
                headers=request.headers.raw,
                content=request.stream,
                extensions={"timeout": {"pool": _left()}},
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Stream(answer))

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Stream(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


class _Network(httpcore.NetworkBackend):
    """Opens connections before the end of the request in hand, the look-up of the name included."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002  (httpcore's; the request's end counts)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = _addresses(host, port)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                # One address that swallows everything must leave time for the next.
                stream = self._plain.connect_tcp(address, port, _left() / left, local_address, socket_options)
                return _TimedStream(stream)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if left == 1:
                    raise
        raise httpcore.ConnectError


def _addresses(host: str, port: int) -> list[str]:
    """Look a name up. The system's resolver has no time limit of its own, so a thread asks it."""
    found: list[str] = []

    def look_up() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        found.extend(dict.fromkeys(str(address[0]) for *_, address in answers))

    thread = threading.Thread(target=look_up, name="look-up", daemon=True)
    thread.start()
    thread.join(_left())
    if thread.is_alive():
        raise httpcore.ConnectTimeout
    if not found:
        raise httpcore.ConnectError
    return found


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every operation is bound by the end of the request in hand."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  (httpcore's)
        if time.monotonic() >= _END.get():
            raise httpcore.ReadTimeout
        return self._stream.read(max_bytes, _left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  (httpcore's)
        if time.monotonic() >= _END.get():
            raise httpcore.WriteTimeout
        self._stream.write(buffer, _left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002  (httpcore's)
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _left()))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
