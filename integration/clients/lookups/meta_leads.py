"""Read the leads of Meta's lead ads through the Graph API.

Sources: developers.facebook.com, "Retrieving Leads" (a lead has `field_data`, a list of names and values)
and "Handle Errors" (the codes).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from integration.clients.lookups.requests import REQUEST_SECONDS, json_object, send
from integration.clients.lookups.results import FailureKind, LookupFailedError, LookupResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx

    from integration.clients.lookups.results import Variables
    from integration.config.source_models import MetaLeadLookup

CALL_SECONDS: Final = 40.0
_PROVIDER: Final = "Meta"
_HEADERS: Final = {"Accept": "application/json"}
_ID: Final = re.compile(r"[0-9]{1,25}")
# "Handle Errors" and "Rate Limits": 102 and 190 are about the token. 3, 10 and 200 to 299 are about
# its permissions, which may be those for one lead.
_TOKEN_CODES: Final = frozenset({102, 190})
_PERMISSION_CODES: Final = frozenset({3, 10, *range(200, 300)})
_LIMIT_CODES: Final = frozenset({4, 17, 32, 613, *range(80000, 80015)})
_NO_TIME: Final = "Meta answered too slowly to read all leads within 40 s; the others are tried again"
# Code 100, subcode 33: the object does not exist, or the token may not see it. Meta does not distinguish
# the two.
UNKNOWN: Final = "Meta found no lead with this id, or the token has no permission to read it"


def read_records(lookup: MetaLeadLookup, ids: Sequence[str]) -> LookupResult:
    """Return the leads by id. `record` is the Graph API's object.

    An id that is not a number is missing from the result. A lead that could not be read is in `failed`.
    The call takes at most 40 s. Thread-safe. Raise LookupFailedError if every request failed for a reason
    that affects all leads of the source.
    """
    end = time.monotonic() + CALL_SECONDS
    records: dict[str, Variables] = {}
    failed: dict[str, LookupFailedError] = {}
    away: LookupFailedError | None = None
    is_answering, why_not = False, None
    for place, lead in enumerate(filter(_ID.fullmatch, dict.fromkeys(ids))):
        seconds = end - time.monotonic()
        if why_not or (place and seconds < REQUEST_SECONDS):
            failed[lead] = why_not or LookupFailedError(FailureKind.UNREACHABLE, _NO_TIME)
            continue
        try:
            records[lead] = {"record": _lead(lookup, lead, seconds)}
            is_answering = True
        except LookupFailedError as error:
            failed[lead] = error
            if not error.kind.is_about_source:
                is_answering = True
                continue
            away = error
            why_not = None if error.kind is FailureKind.UNREACHABLE else error
    if away and not is_answering:
        raise away
    return LookupResult(records, failed)


def _lead(lookup: MetaLeadLookup, lead: str, seconds: float) -> dict[str, Any]:
    """Return a lead.

    Raise LookupFailedError; its kind is UNREADABLE or FORBIDDEN if only this lead is affected.
    """
    query = urlencode({"access_token": lookup.token.get_secret_value()})
    url = f"{lookup.base_url.rstrip('/')}/{lookup.api_version}/{lead}?{query}"
    answer = send(_PROVIDER, "GET", url, headers=_HEADERS, body=None, seconds=seconds)
    if answer.status_code == 200:  # noqa: PLR2004  (HTTP)
        found = json_object(_PROVIDER, answer)
        if not isinstance(found.get("field_data"), list):
            raise LookupFailedError(FailureKind.UNREADABLE, "Meta's answer has no field_data")
        return found
    raise _failure(answer)


def _failure(answer: httpx.Response) -> LookupFailedError:
    """Return the error for a response that is not a success."""
    status = answer.status_code
    try:
        error = json_object(_PROVIDER, answer).get("error")
    except LookupFailedError:
        error = None
    code = error.get("code") if isinstance(error, dict) else None
    code = code if isinstance(code, int) else None
    if code in _LIMIT_CODES or status == 429:  # noqa: PLR2004  (HTTP)
        return LookupFailedError(FailureKind.RATE_LIMITED, f"Meta's rate limit is reached (code {code})")
    if code in _TOKEN_CODES or status == 401:  # noqa: PLR2004  (HTTP)
        words = f"Meta rejects the token: check the lookup's token (code {code})"
        return LookupFailedError(FailureKind.REFUSED, words)
    if code in _PERMISSION_CODES or status == 403:  # noqa: PLR2004  (HTTP)
        words = f"Meta rejects the token: it may lack the permission leads_retrieval (code {code})"
        return LookupFailedError(FailureKind.FORBIDDEN, words)
    if status >= 500 or code in {1, 2}:  # noqa: PLR2004  (HTTP)
        return LookupFailedError(FailureKind.UNREACHABLE, f"Meta answered {status}")
    return LookupFailedError(
        FailureKind.UNREADABLE, UNKNOWN if isinstance(error, dict) else f"Meta answered {status}"
    )
