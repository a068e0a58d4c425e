"""Read HubSpot records by their ids, up to 100 in one request, and the contacts associated with them.

Each call of `read_records` ends within 40 s. While a known rate limit lasts, no request is sent. Sources:
developers.hubspot.com, API reference, "Read a batch of objects" (`/crm/objects/{version}/…`) and "Batch
read associations" (`/crm/associations/{version}/…`).
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.clients.lookups.requests import REQUEST_SECONDS, json_object, send
from integration.clients.lookups.results import (
    FailureKind,
    LookupFailedError,
    LookupResult,
    failure_of_status,
)
from integration.clients.retry_after import retry_after_seconds
from integration.config.source_models import HUBSPOT_CONTACTS, hubspot_object, hubspot_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import httpx

    from integration.config.source_models import HubspotLookup

BATCH: Final = 100  # "Read a batch of objects": 100 inputs at most
CALL_SECONDS: Final = 40.0
MOST_SINGLE_READS: Final = 20

# developers.hubspot.com, API usage guidelines: there are limits per second, per ten seconds and per day.
# The response does not contain the end of the account's day.
BURST_WAIT_SECONDS: Final = 10.0
DAILY_WAIT_SECONDS: Final = 3600.0
# How long an object that answers 403 is not asked for again. A scope can be added to the same token.
FORBIDDEN_SECONDS: Final = 300.0
_DAILY_LIMIT: Final = "HubSpot's daily limit is reached (429)"
_RATE_LIMIT: Final = "HubSpot's rate limit is reached (429)"
_NO_TIME: Final = "HubSpot answered too slowly to read all records within 40 s; the others are tried again"

_STATUS_REASONS: Final = {
    400: "HubSpot rejects the request: check the lookup's object and properties",
    401: "HubSpot rejects the token: check the lookup's token",
    404: "HubSpot has no such object or API at this address: check the lookup's object and base_url",
}
_SCOPES: Final = {"tickets": "tickets"}
_SCOPE: Final = re.compile(r"[a-z][a-z0-9._-]{1,60}")
_MOST_SCOPES: Final = 4
_CUSTOM_OBJECT: Final = re.compile(r"2-[0-9]+|p_.+|p[0-9]+_.+")


def scope_of(object_name: str) -> str:
    """Return the scope that a token needs to read the records of an object, such as "deals"."""
    name = "custom" if _CUSTOM_OBJECT.fullmatch(object_name) else object_name
    return _SCOPES.get(name, f"crm.objects.{name}.read")


def read_records(lookup: HubspotLookup, ids: Sequence[str]) -> LookupResult:
    """Return the records by requested id: the id of a contact, or an object and an id as in "deals/123".

    `record` is HubSpot's object, with at least `id` and `properties`. `contact` is the same record if it
    is of the object `associated` (contacts if that is not set), else the first record associated with it,
    or None. A record that does not exist or is deleted, and an id that is not a number, are missing from
    the result. A record that was merged into another is returned under the requested id, with the `id` of
    the other. If HubSpot rejects an object, its records are in `failed`. The call takes at most 40 s.
    Thread-safe. Raise LookupFailedError if no object can be read, unless the token only lacks the scopes
    of these objects.
    """
    reader = _Reader(lookup, time.monotonic() + CALL_SECONDS)
    records: dict[str, dict[str, Any]] = {}
    failed: dict[str, LookupFailedError] = {}
    refusals: list[LookupFailedError] = []
    objects = _by_object(ids)
    for place, (object_name, numbers) in enumerate(objects.items()):
        try:
            found = reader.read(object_name, numbers, lookup.properties)
            linked = reader.read_associated(object_name, found.records)
        except LookupFailedError as error:
            is_away = error.kind in {FailureKind.RATE_LIMITED, FailureKind.UNREACHABLE}
            if is_away and len(refusals) == place:
                raise
            refusals.append(error)
            failed |= {hubspot_record(object_name, number): error for number in numbers}
            continue
        for number, record in found.records.items():
            contact = record if object_name == reader.contact_object else linked.records.get(number)
            records[hubspot_record(object_name, number)] = {"record": record, "contact": contact}
        for number, failure in {**found.failed, **linked.failed}.items():
            failed[hubspot_record(object_name, number)] = failure
    others = [error for error in refusals if error.kind is not FailureKind.FORBIDDEN]
    if others and len(refusals) == len(objects):
        raise next((error for error in others if error.kind.is_about_source), others[0])
    return LookupResult({key: names for key, names in records.items() if key not in failed}, failed)


def _by_object(ids: Iterable[str]) -> dict[str, list[str]]:
    """Return the ids by object, without duplicates. Ids that are not numbers are left out."""
    found: dict[str, dict[str, None]] = {}
    for id_ in ids:
        object_name, _, number = id_.rpartition("/")
        if re.fullmatch(r"[0-9]{1,19}", number):
            found.setdefault(hubspot_object(object_name) or HUBSPOT_CONTACTS, {})[number] = None
    return {object_name: list(numbers) for object_name, numbers in found.items()}


@dataclass(frozen=True, slots=True)
class _Found:
    """Records by requested id, and the ids that could not be read, each with its failure."""

    records: dict[str, dict[str, Any]]
    failed: dict[str, LookupFailedError]


class _Reader:
    """Makes the requests of one call, with one token and one deadline."""

    def __init__(self, lookup: HubspotLookup, end: float) -> None:
        self._lookup = lookup
        self._base_url = lookup.base_url.rstrip("/")
        token = lookup.token.get_secret_value()
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._end = end
        self._has_answer = False
        self._limits = _TOKEN_LIMITS.of(self._base_url, token)
        self.contact_object = lookup.associated or HUBSPOT_CONTACTS

    def read(self, object_name: str, ids: Sequence[str], properties: Sequence[str]) -> _Found:
        """Return the records of one object. Raise LookupFailedError if the first batch cannot be read."""
        found = _Found({}, {})
        for start in range(0, len(ids), BATCH):
            some = list(ids[start : start + BATCH])
            try:
                batch = self._batch(object_name, some, properties)
            except LookupFailedError as error:
                if start == 0:
                    raise
                batch = _Found({}, dict.fromkeys(some, error))
            found.records.update(batch.records)
            found.failed.update(batch.failed)
        return found

    def read_associated(self, object_name: str, records: Mapping[str, Mapping[str, Any]]) -> _Found:
        """Return the first record associated with each of `records`, by the requested id of the latter.

        Return no records if the lookup names no associated object, or if this is `object_name`. Raise
        LookupFailedError.
        """
        target = self._lookup.associated
        if target is None or target == object_name or not records:
            return _Found({}, {})
        own_ids = {number: record["id"] for number, record in records.items()}
        linked = self._linked(object_name, target, list(dict.fromkeys(own_ids.values())))
        properties = self._lookup.associated_properties or self._lookup.properties
        found = self.read(target, list(dict.fromkeys(linked.values())), properties)
        targets = {number: linked[own_id] for number, own_id in own_ids.items() if own_id in linked}
        return _Found(
            {number: found.records[to] for number, to in targets.items() if to in found.records},
            {number: found.failed[to] for number, to in targets.items() if to in found.failed},
        )

    def _linked(self, object_name: str, target: str, ids: Sequence[str]) -> dict[str, str]:
        """Return the id of the first associated record, by the id of the record it is associated with.

        Raise LookupFailedError.
        """
        path = f"associations/{self._lookup.api_version}/{object_name}/{target}"
        linked: dict[str, str] = {}
        for start in range(0, len(ids), BATCH):
            inputs = {"inputs": [{"id": number} for number in ids[start : start + BATCH]]}
            page = _page(self._answer(path, inputs, {object_name, target}), _is_association)
            if page.failed or page.has_unknown_failures:
                raise LookupFailedError(
                    FailureKind.UNREADABLE, "HubSpot could not read some of the associations"
                )
            for result in page.results:
                if result["to"]:
                    linked[str(result["from"]["id"])] = str(result["to"][0]["toObjectId"])
        return linked

    def _batch(self, object_name: str, ids: list[str], properties: Sequence[str]) -> _Found:
        path = f"objects/{self._lookup.api_version}/{object_name}"
        body = {"properties": list(properties), "inputs": [{"id": number} for number in ids]}
        page = _page(self._answer(path, body, {object_name}), _is_record)
        if page.has_unknown_failures:
            raise LookupFailedError(FailureKind.UNREADABLE, "HubSpot could not read some of the records")
        results = [record for record in page.results if record.get("archived") is not True]
        if len(ids) == 1:
            return _Found(dict(zip(ids, results, strict=False)) if len(results) == 1 else {}, page.failed)
        by_id = {record["id"]: record for record in results}
        found = _Found({number: by_id[number] for number in ids if number in by_id}, page.failed)
        known = found.records.keys() | page.failed.keys() | page.unknown | page.archived
        # HubSpot returns a merged record under the id of the record that it was merged into, without the
        # requested id (community.hubspot.com, "Question about batch read API"). So ids without a result are
        # requested one by one.
        unexplained = [number for number in ids if number not in known]
        for number in unexplained[:MOST_SINGLE_READS]:
            alone = self._alone(object_name, number, properties)
            found.records.update(alone.records)
            found.failed.update(alone.failed)
        left = LookupFailedError(FailureKind.UNREACHABLE, "HubSpot's answer does not contain the record")
        found.failed.update(dict.fromkeys(unexplained[MOST_SINGLE_READS:], left))
        return found

    def _alone(self, object_name: str, number: str, properties: Sequence[str]) -> _Found:
        # Reading the associations and the associated records takes two further requests.
        requests_left = 1 if self._lookup.associated is None else 3
        if self._end - time.monotonic() < requests_left * REQUEST_SECONDS:
            return _Found({}, {number: LookupFailedError(FailureKind.UNREACHABLE, _NO_TIME)})
        try:
            return self._batch(object_name, [number], properties)
        except LookupFailedError as error:
            return _Found({}, {number: error})

    def _answer(self, path: str, body: Mapping[str, Any], objects: Iterable[str]) -> httpx.Response:
        self._limits.require_unblocked(path, time.monotonic())
        url = f"{self._base_url}/crm/{path}/batch/read"
        seconds = self._end - time.monotonic()
        if self._has_answer and seconds < REQUEST_SECONDS:
            raise LookupFailedError(FailureKind.UNREACHABLE, _NO_TIME)
        answer = send("HubSpot", "POST", url, headers=self._headers, body=orjson.dumps(body), seconds=seconds)
        self._limits.update_from(answer, time.monotonic(), datetime.now(UTC))
        try:
            _raise_for_status(answer, objects)
        except LookupFailedError as error:
            if error.kind is FailureKind.FORBIDDEN:
                self._limits.block(path, error, time.monotonic())
            raise
        self._has_answer = True
        return answer


# --- HubSpot's responses ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Page:
    """The content of one response.

    `unknown` has the ids that HubSpot reports as not found. `failed` has the ids of records that HubSpot
    could not read, with the reason. `has_unknown_failures` is True if HubSpot reports failures without
    naming the records.
    """

    results: list[dict[str, Any]]
    unknown: frozenset[str]
    failed: dict[str, LookupFailedError]
    has_unknown_failures: bool

    @property
    def archived(self) -> frozenset[str]:
        """Return the ids of deleted records."""
        return frozenset(result["id"] for result in self.results if result.get("archived") is True)


def _raise_for_status(answer: httpx.Response, objects: Iterable[str]) -> None:
    """Raise LookupFailedError unless the status is 200 or 207 (some records were not found)."""
    status = answer.status_code
    if status in {200, 207}:
        return
    if status == 429:  # noqa: PLR2004  (too many requests)
        wait, exceeded = _limit(answer, datetime.now(UTC))
        raise LookupFailedError(FailureKind.RATE_LIMITED, exceeded, wait)
    reason = _STATUS_REASONS.get(status)
    if status == 403:  # noqa: PLR2004  (forbidden)
        scopes = _required_scopes(answer) or " and ".join(sorted(map(scope_of, objects)))
        reason = f"HubSpot rejects the token: it may lack the scope {scopes} (403)"
        raise LookupFailedError(FailureKind.FORBIDDEN, reason)
    raise failure_of_status("HubSpot", status, reason, retry_after_seconds(answer.headers, datetime.now(UTC)))


def _required_scopes(answer: httpx.Response) -> str:
    """Return the scopes that HubSpot names in a 403, joined by "or", or "" if it names none.

    One of the scopes is enough. HubSpot names them in `errors[].context.requiredGranularScopes`. At most
    four are returned.
    """
    try:
        errors = _listed(json_object("HubSpot", answer), "errors")
    except LookupFailedError:
        return ""
    named = [scope for error in errors for scope in _listed(error, "context", "requiredGranularScopes")]
    scopes = [scope for scope in named if isinstance(scope, str) and _SCOPE.fullmatch(scope)]
    return " or ".join(dict.fromkeys(scopes[:_MOST_SCOPES]))


def _page(answer: httpx.Response, is_result: Callable[[object], bool]) -> _Page:
    """Return the content of a response. Raise LookupFailedError if its form is not the documented one."""
    body = json_object("HubSpot", answer)
    results, errors = body.get("results"), body.get("errors", [])
    if not isinstance(results, list) or not isinstance(errors, list):
        raise LookupFailedError(FailureKind.UNREADABLE, "HubSpot's answer has no list of results")
    if body.get("status", "COMPLETE") != "COMPLETE":
        raise LookupFailedError(
            FailureKind.UNREADABLE, "HubSpot's answer is incomplete: its status is not COMPLETE"
        )
    if not all(map(is_result, results)):
        reason = "a result in HubSpot's answer has an undocumented form"
        raise LookupFailedError(FailureKind.UNREADABLE, reason)
    unknown: set[str] = set()
    failed: dict[str, LookupFailedError] = {}
    has_unknown_failures = False
    for error in errors:
        category = error.get("category") if isinstance(error, dict) else None
        ids = {str(number) for number in _listed(error, "context", "ids")}
        # Only this category means that the record does not exist.
        if category == "OBJECT_NOT_FOUND":
            unknown |= ids
        else:
            unread = LookupFailedError(FailureKind.UNREADABLE, "HubSpot could not read the record")
            failed |= dict.fromkeys(ids, unread)
            has_unknown_failures |= not ids
    return _Page(results, frozenset(unknown), failed, has_unknown_failures)


def _is_record(result: object) -> bool:
    return (
        isinstance(result, dict)
        and isinstance(result.get("id"), str)
        and isinstance(result.get("properties"), dict)
    )


def _is_association(result: object) -> bool:
    """Return True for an object with `from.id` and a list `to` of objects with `toObjectId`."""
    if not isinstance(result, dict) or not isinstance(result.get("from"), dict):
        return False
    to = result.get("to")
    return (
        "id" in result["from"]
        and isinstance(to, list)
        and all(isinstance(each, dict) and "toObjectId" in each for each in to)
    )


def _listed(table: Any, *path: str) -> list[Any]:
    value: Any = table
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, list) else []


def _limit(answer: httpx.Response, now: datetime) -> tuple[float, str]:
    """Return the seconds to wait after a 429, and a reason that names the exceeded limit."""
    try:
        policy = str(json_object("HubSpot", answer).get("policyName", "")).upper()
    except LookupFailedError:
        policy = ""
    daily = policy.startswith("DAILY") or answer.headers.get("x-hubspot-ratelimit-daily-remaining") == "0"
    documented = DAILY_WAIT_SECONDS if daily else _interval_seconds(answer.headers)
    wait = retry_after_seconds(answer.headers, now)
    return documented if wait is None else wait, _DAILY_LIMIT if daily else _RATE_LIMIT


def _interval_seconds(headers: httpx.Headers) -> float:
    text = headers.get("x-hubspot-ratelimit-interval-milliseconds", "").strip()
    return int(text) / 1000 if re.fullmatch(r"[0-9]{1,8}", text) else BURST_WAIT_SECONDS


# --- the limits of a token -------------------------------------------------------------------


class _TokenLimits:
    """Blocks requests with one token: all while a rate limit lasts, those to one path after a 403.

    Times are seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self._blocked = (0.0, "")
        self._forbidden: dict[str, tuple[float, LookupFailedError]] = {}

    def require_unblocked(self, path: str, now: float) -> None:
        until, reason = self._blocked
        if now < until:
            raise LookupFailedError(FailureKind.RATE_LIMITED, reason, until - now)
        blocked = self._forbidden.get(path)
        if blocked and now < blocked[0]:
            raise LookupFailedError(blocked[1].kind, blocked[1].reason)

    def block(self, path: str, error: LookupFailedError, now: float) -> None:
        """Block a path after `error`, a 403."""
        kept = {key: value for key, value in self._forbidden.items() if now < value[0]}
        self._forbidden = {**kept, path: (now + FORBIDDEN_SECONDS, error)}

    def update_from(self, answer: httpx.Response, now: float, today: datetime) -> None:
        """Block requests if a response is a 429, or if its headers report a limit as reached."""
        if answer.status_code == 429:  # noqa: PLR2004  (too many requests)
            wait, reason = _limit(answer, today)
        elif answer.headers.get("x-hubspot-ratelimit-daily-remaining") == "0":
            wait, reason = DAILY_WAIT_SECONDS, _DAILY_LIMIT
        elif answer.headers.get("x-hubspot-ratelimit-remaining") == "0":
            wait, reason = _interval_seconds(answer.headers), _RATE_LIMIT
        else:
            return
        self._blocked = max(self._blocked, (now + min(wait, DAILY_WAIT_SECONDS), reason))


class _LimitsByToken:
    """The limits of this process, by a hash of URL and token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[bytes, _TokenLimits] = {}

    def of(self, url: str, token: str) -> _TokenLimits:
        key = hashlib.sha256(f"{url} {token}".encode()).digest()
        with self._lock:
            return self._limits.setdefault(key, _TokenLimits())


_TOKEN_LIMITS = _LimitsByToken()
