"""Read Bitrix24 leads, deals, contacts and companies through an inbound webhook.

The contacts of leads and deals are read too. The address of an inbound webhook contains its secret.
Sources: apidocs.bitrix24.com, "crm.lead.get", "crm.deal.get", "crm.contact.get", "crm.company.get",
"batch" and "Error Codes".
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.clients.lookups.requests import json_object, send
from integration.clients.lookups.results import (
    FailureKind,
    LookupFailedError,
    LookupResult,
    failure_of_status,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from integration.clients.lookups.results import Variables
    from integration.config.source_models import Bitrix24Lookup

CALL_SECONDS: Final = 40.0
_PROVIDER: Final = "Bitrix24"
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}
# "batch": 50 commands at most. A record takes two, the second for its contact.
_RECORDS: Final = 25
# "ONCRMLEADADD/7405": the event's name has the kind of its record.
_ID: Final = re.compile(
    r"ONCRM(LEAD|DEAL|CONTACT|COMPANY)(?:ADD|UPDATE|DELETE|MOVETOCATEGORY)/([1-9][0-9]{0,18})"
)
NOT_READABLE: Final = (
    "Bitrix24 did not return the record: check the read permissions of the inbound webhook's user"
)
_WITH_CONTACT: Final = frozenset({"LEAD", "DEAL"})
_LIMITS: Final = frozenset({"QUERY_LIMIT_EXCEEDED", "OVERLOAD_LIMIT", "OPERATION_TIME_LIMIT"})
_REFUSALS: Final = frozenset({"insufficient_scope", "INVALID_CREDENTIALS", "NO_AUTH_FOUND", "expired_token"})
_REFUSED: Final = (
    "Bitrix24 rejects the inbound webhook: check the lookup's url and the webhook's permission CRM (crm)"
)
# The texts of crm.lead.get for a record that does not exist, and for a contact that a record does not have.
_MISSING: Final = frozenset({"Not found", "ID is not defined or invalid"})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A record to read: the requested id, and the record's kind and number, which the id contains."""

    id: str
    kind: str
    number: str


def read_records(lookup: Bitrix24Lookup, ids: Sequence[str]) -> LookupResult:
    """Return the records by requested id, such as "ONCRMDEALADD/123": an event's name and a number.

    `record` has the fields of Bitrix24. `contact` is the record itself for a contact, the contact of
    CONTACT_ID for a lead or a deal, else None. A record that does not exist, and an id of another form,
    are missing from the result. A record that could not be read is in `failed`. Thread-safe. The call
    takes at most 40 s. Raise LookupFailedError if a request fails.
    """
    end = time.monotonic() + CALL_SECONDS
    wanted = [_Wanted(id_, found[1], found[2]) for id_ in dict.fromkeys(ids) if (found := _ID.fullmatch(id_))]
    records: dict[str, Variables] = {}
    failed: dict[str, LookupFailedError] = {}
    for start in range(0, len(wanted), _RECORDS):
        some = wanted[start : start + _RECORDS]
        answer = _answer(lookup, some, end - time.monotonic())
        for place, each in enumerate(some):
            _take(answer, str(place), each, records, failed)
    return LookupResult(records, failed)


def _answer(lookup: Bitrix24Lookup, some: Sequence[_Wanted], seconds: float) -> dict[str, Any]:
    """Return the results and errors of the commands of a batch. Raise LookupFailedError."""
    commands: dict[str, str] = {}
    for place, each in enumerate(some):
        commands[f"r{place}"] = f"crm.{each.kind.lower()}.get?ID={each.number}"
        if each.kind in _WITH_CONTACT:
            commands[f"c{place}"] = f"crm.contact.get?ID=$result[r{place}][CONTACT_ID]"
    url = lookup.url.get_secret_value().rstrip("/") + "/batch"
    body = orjson.dumps({"halt": 0, "cmd": commands})
    answer = send(_PROVIDER, "POST", url, headers=_HEADERS, body=body, seconds=seconds)
    if answer.status_code != 200:  # noqa: PLR2004  (HTTP)
        raise _failure(answer)
    found = json_object(_PROVIDER, answer).get("result")
    if not isinstance(found, dict):
        raise LookupFailedError(FailureKind.UNREADABLE, "Bitrix24's answer has no results")
    errors = _table(found.get("result_error"))
    codes = {str(_table(error).get("error")) for error in errors.values()}
    if codes & _REFUSALS:
        raise failure_of_status(_PROVIDER, 403, _REFUSED)
    if codes & _LIMITS:
        raise LookupFailedError(FailureKind.RATE_LIMITED, "Bitrix24's rate limit is reached")
    return {"results": _table(found.get("result")), "errors": errors}


def _table(value: object) -> dict[str, Any]:
    """Return an object of Bitrix24's answer as a dict.

    Bitrix24 writes an empty object as a list, as PHP does. A list becomes an empty dict.
    """
    return value if isinstance(value, dict) else {}


def _failure(answer: httpx.Response) -> LookupFailedError:
    try:
        code = str(json_object(_PROVIDER, answer).get("error", ""))
    except LookupFailedError:
        code = ""
    if code in _LIMITS or answer.status_code == 429:  # noqa: PLR2004  (HTTP)
        return LookupFailedError(
            FailureKind.RATE_LIMITED, f"Bitrix24's rate limit is reached ({code or 429})"
        )
    reason = _REFUSED if answer.status_code in {401, 403} else None
    if answer.status_code == 404:  # noqa: PLR2004  (HTTP)
        reason = "Bitrix24 has no inbound webhook at this address: check the lookup's url"
    return failure_of_status(_PROVIDER, answer.status_code, reason)


def _take(
    answer: dict[str, Any],
    place: str,
    wanted: _Wanted,
    records: dict[str, Variables],
    failed: dict[str, LookupFailedError],
) -> None:
    """Add one record of an answer to the records, or to the failed ones."""
    record, reason = _result(answer, f"r{place}")
    contact = record if wanted.kind == "CONTACT" else None
    if record is not None and wanted.kind in _WITH_CONTACT and _has_contact(record):
        contact, reason = _result(answer, f"c{place}")
    if reason:
        failed[wanted.id] = LookupFailedError(FailureKind.UNREADABLE, reason)
    elif record is not None:
        records[wanted.id] = {"record": record, "contact": contact}


def _has_contact(record: dict[str, Any]) -> bool:
    number = record.get("CONTACT_ID")
    return isinstance(number, str | int) and number not in {"", "0", 0}


def _result(answer: dict[str, Any], command: str) -> tuple[dict[str, Any] | None, str]:
    """Return the record of a command or None, and the reason if the record is unreadable, else ""."""
    found = answer["results"].get(command)
    if isinstance(found, dict):
        return found, ""
    error = _table(answer["errors"].get(command))
    if str(error.get("error_description", "")).rstrip(".") in _MISSING:
        return None, ""
    return None, NOT_READABLE
