"""Build requests to wolkvox, and turn responses into verdicts. Pure.

Neither `repr` nor `reason` contains a token or customer data. A response is a success only in the
documented form, with the code 202 in its JSON. Source: wolkvox' API pages,
https://www.wolkvox.com/en/apis-v2-2/, "APIs Campaign" and "APIs Information".
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

import orjson

from integration.clients.retry_after import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.domain.account import Account

MSG_LIMIT = 500
WORDS_LIMIT = 200
CODE_LIMIT = 40
TOKEN_HEADER = "wolkvox-token"  # noqa: S105  (the header's name, not a token)


# --- the call --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request to wolkvox, ready to be written. `repr` shows neither token nor body."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def public_headers(self) -> dict[str, str]:
        """Return the headers without the token."""
        return {name: value for name, value in self.headers.items() if name != TOKEN_HEADER}


def build_call(
    account: Account, *, campaign_id: str, customer_id: str, recall_telephone: str, recall_date: datetime
) -> Call:
    """Return the call that schedules a callback in wolkvox ("APIs Campaign", recall).

    `recall_date` is sent in the account's time zone, to the second. `recall_telephone` is already in the
    account's `dial_format`. Raise ValueError if `recall_date` is naive.
    """
    if recall_date.utcoffset() is None:
        raise ValueError("recall_date: naive datetime, a time zone is required")
    local = recall_date.astimezone(account.timezone)
    body = {
        "recall_date": local.strftime("%Y%m%d%H%M%S"),
        "recall_telephone": recall_telephone,
        "customer_id": customer_id,
    }
    return Call(
        method="PUT",
        url=_recall_url(account.endpoint, account.type_campaign, campaign_id),
        headers={**_headers(account), "Content-Type": "application/json"},
        body=_AS_ASCII.encode(body).encode("ascii"),
    )


# ASCII escapes are safe for a JSON parser that assumes another charset than UTF-8.
_AS_ASCII = json.JSONEncoder(separators=(",", ":"))


@lru_cache(maxsize=1024)
def _recall_url(endpoint: str, type_campaign: str, campaign_id: str) -> str:
    query = f"api=recall&type_campaign={type_campaign}" if type_campaign else "api=recall"
    return f"{endpoint}/api/v2/campaign.php?{query}&campaign_id={quote(campaign_id, safe='')}"


def build_campaigns_call(account: Account) -> Call:
    """Return the call that lists the campaigns ("APIs Information", campaigns).

    wolkvox counts this call towards the daily limit.
    """
    return Call(
        method="GET",
        url=f"{account.endpoint}/api/v2/information.php?api=campaigns",
        headers=_headers(account),
    )


def _headers(account: Account) -> dict[str, str]:
    return {
        TOKEN_HEADER: account.token.get_secret_value(),
        "Accept": "application/json",
        # A compressed response of 64 KiB could expand a thousandfold.
        "Accept-Encoding": "identity",
        "User-Agent": "ringback",
    }


# --- the verdict -----------------------------------------------------------------------------


class VerdictKind(StrEnum):
    """The meaning of the result of a push for the recall and its queue."""

    ACCEPTED = "accepted"
    """wolkvox has recorded the callback."""
    REFUSED = "refused"
    """wolkvox rejects this recall permanently."""
    WAIT = "wait"
    """wolkvox rejects the recall for now, for example during maintenance or after too many requests."""
    CONCURRENCY = "concurrency"
    """Another request uses the token."""
    QUOTA = "quota"
    """The token's daily limit is reached."""
    STOPPED = "stopped"
    """The configuration is wrong. No push can succeed until it is corrected."""
    NOT_SENT = "not_sent"
    """No byte of the request was sent."""
    UNKNOWN = "unknown"
    """wolkvox may or may not have recorded the callback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The meaning of the result of one push.

    `reason` is a text of Ringback and safe to log. `code` and `msg` are texts of wolkvox, or None. `msg`
    is the response's `msg`, or its `error` if `msg` is missing. It is customer data, because wolkvox may
    repeat customer and telephone. `words` is `msg` without words that contain digits, so that rejections
    with the same cause compare equal. It is the code if no word is left, and empty for an accepted recall
    or without a complete response. `quiet` is True if wolkvox may still be processing the call.
    `counts_against_recall` is True if the recall itself may be the cause. `may_stop_queue` is True if
    five such rejections in a row with the same `words` indicate a cause outside the recalls.
    """

    kind: VerdictKind
    reason: str
    status: int | None = None
    code: str | None = None
    msg: str | None = field(default=None, repr=False)
    words: str = field(default="", repr=False)
    retry_after_seconds: float | None = None
    quiet: bool = False
    counts_against_recall: bool = False
    may_stop_queue: bool = False

    @property
    def words_digest(self) -> str | None:
        """Return the first 16 hex digits of the SHA-256 of `words`, or None if `words` is empty."""
        if not self.words:
            return None
        return hashlib.sha256(self.words.encode("utf-8", "replace")).hexdigest()[:16]


class _Meaning(NamedTuple):
    kind: VerdictKind
    reason: str
    counts_against_recall: bool = False
    may_stop_queue: bool = False


_ACCEPTED = _Meaning(VerdictKind.ACCEPTED, "accepted")

_BAD_TOKEN = _Meaning(
    VerdictKind.STOPPED,
    "wolkvox rejects the token: check the account's token and server, then resume the account",
)

# Status and text from the error table of wolkvox' API, with the text as `_normalized` returns it: capitals,
# no punctuation, no digits. The text is searched anywhere in `msg` and `error`.
_BY_TEXT: tuple[tuple[int, str, _Meaning], ...] = (
    (
        400,
        "THE API YOU WANT TO CONSULT DOES NOT EXIST",
        _Meaning(
            VerdictKind.STOPPED,
            "wolkvox has no such API at this address: check the account's server, then resume the account",
        ),
    ),
    (
        400,
        "SOME PARAMETERS ARE REQUIRED",
        _Meaning(
            VerdictKind.REFUSED,
            "wolkvox reports missing or invalid parameters: check campaign, customer, telephone and date",
        ),
    ),
    (401, "PLEASE ENTER THE WOLKVOX TOKEN", _BAD_TOKEN),
    (403, "PLEASE VALIDATE TOKEN", _BAD_TOKEN),
    (
        403,
        "TOKEN LIMIT EXCEEDED",
        _Meaning(
            VerdictKind.QUOTA,
            "wolkvox reports that the token's daily limit is reached; calls continue after the reset",
        ),
    ),
    (
        403,
        "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN",
        _Meaning(
            VerdictKind.CONCURRENCY,
            "wolkvox reports simultaneous calls with this token: give Ringback a token of its own",
        ),
    ),
)

# Used if no text matches. wolkvox documents only 401 and 403.
_BY_CODE: dict[int, _Meaning] = {
    401: _BAD_TOKEN,
    403: _Meaning(VerdictKind.WAIT, "wolkvox rejects calls for now (403), for example during maintenance"),
    408: _Meaning(
        VerdictKind.WAIT,
        "wolkvox timed out before it had the whole request (408)",
        counts_against_recall=True,
    ),
    429: _Meaning(VerdictKind.WAIT, "wolkvox reports too many requests (429)"),
}

# These statuses concern the token and its rate, not the recall.
_NEVER_AGAINST_RECALL = frozenset({403, 429})

_BY_HUNDREDS: dict[int, _Meaning] = {
    2: _Meaning(
        VerdictKind.UNKNOWN,
        "wolkvox answered with a success code other than the documented 202",
        counts_against_recall=True,
    ),
    3: _Meaning(
        VerdictKind.WAIT,
        "wolkvox answered with a redirect, which is not followed: check the account's server",
        counts_against_recall=True,
    ),
    4: _Meaning(
        VerdictKind.REFUSED, "wolkvox rejected the callback; its answer gives the reason", may_stop_queue=True
    ),
    5: _Meaning(VerdictKind.UNKNOWN, "wolkvox reports a server error (5xx)", counts_against_recall=True),
}

_UNCLEAR = _Meaning(
    VerdictKind.UNKNOWN,
    "wolkvox's answer neither accepts nor rejects the callback",
    counts_against_recall=True,
)
_NOT_JSON = _Meaning(
    VerdictKind.UNKNOWN,
    "the answer is not JSON, so it may not be from wolkvox: check the account's server",
    counts_against_recall=True,
)


def decipher_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> Verdict:
    """Return the verdict on a complete response, also if the body is not JSON.

    The names in `headers` are lower-case. A `Retry-After` with a date is relative to `now` (aware), and
    is ignored with `now=None`.
    """
    answer = _read(body)
    code = _code_of(answer)
    msg = _text(answer, "msg") or (_text(answer, "error") if _is_error(answer) else "")
    number = _number(code) or status
    meaning = _meaning(status, code, answer, msg)
    return Verdict(
        kind=meaning.kind,
        reason=meaning.reason,
        counts_against_recall=meaning.counts_against_recall
        and _NEVER_AGAINST_RECALL.isdisjoint((status, number)),
        may_stop_queue=meaning.may_stop_queue,
        status=status,
        code=code,
        msg=msg[:MSG_LIMIT] if answer is not _UNREADABLE else None,
        words="" if meaning is _ACCEPTED else (_without_data(msg) or f"CODE {number}")[:WORDS_LIMIT],
        retry_after_seconds=retry_after_seconds(headers, now),
        quiet=is_gateway(status) or is_gateway(number),
    )


def broken_off(status: int | None, reason: str) -> Verdict:
    """Return the verdict on a call that was sent and has no complete response.

    `status` is the response's status, or None if its head did not arrive.
    """
    counts_against_recall = status not in _NEVER_AGAINST_RECALL
    return Verdict(
        kind=VerdictKind.UNKNOWN,
        reason=reason,
        status=status,
        quiet=True,
        counts_against_recall=counts_against_recall,
    )


def not_sent(reason: str) -> Verdict:
    """Return the verdict on a call that was not sent."""
    return Verdict(kind=VerdictKind.NOT_SENT, reason=reason)


def is_gateway(status: int) -> bool:
    """Return True for the statuses of a gateway before wolkvox: 502, 504 and Cloudflare's 520 to 529.

    After such a response wolkvox may still be processing the call.
    """
    return status in {502, 504} or 520 <= status <= 529  # noqa: PLR2004  (the numbers are named above)


# --- reading an answer -----------------------------------------------------------------------

_UNREADABLE = object()
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _read(body: bytes) -> Any:
    """Return the JSON value of a body, or `_UNREADABLE`."""
    try:
        return orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        pass
    # Spanish texts may be encoded in a single-byte charset.
    try:
        return orjson.loads(body.decode("latin-1"))
    except orjson.JSONDecodeError:
        return _UNREADABLE


def _code_of(answer: Any) -> str | None:
    """Return `code` as text, or None.

    wolkvox' samples have a number, but one of its tables has the type String.
    """
    code = answer.get("code") if isinstance(answer, dict) else None
    if isinstance(code, float) and code.is_integer():
        code = int(code)
    if isinstance(code, bool) or not isinstance(code, int | float | str):
        return None
    return str(code).strip()[:CODE_LIMIT] or None


def _number(code: str | None) -> int | None:
    """Return the code as a number if it has the form of an HTTP status, else None."""
    return int(code) if code is not None and re.fullmatch(r"[1-5][0-9]{2}", code) else None


def _text(answer: Any, name: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # orjson parses deeper nesting than it writes
        return "NESTED TOO DEEP"


def _is_error(answer: Any) -> bool:
    # wolkvox has sent "no error" as null, as an empty text and as the text "null".
    return _text(answer, "error").strip().lower() not in {"", "null", "none", "false", "[]", "{}", "0"}


def _normalized(text: str) -> str:
    """Return a text's words in capitals, without punctuation and digits."""
    return " ".join(re.findall(r"[^\W\d_]+", text[: 4 * MSG_LIMIT].upper()))


def _without_data(text: str) -> str:
    """Return the words of a text as `_normalized` does, without words that contain digits.

    Words with digits may be customer data.
    """
    return _normalized(re.sub(r"\S*\d\S*", " ", text[: 4 * MSG_LIMIT]))


def _meaning(status: int, code: str | None, answer: Any, msg: str) -> _Meaning:
    if answer is _UNREADABLE:
        return _unreadable(status)
    if code == "202":
        if 200 <= status <= 299 and not _is_error(answer):  # noqa: PLR2004  (HTTP's successes)
            return _ACCEPTED
        return _UNCLEAR
    number = _number(code) or status
    text = _normalized(f"{msg} {_text(answer, 'error')}")
    for known_code, known_text, meaning in _BY_TEXT:
        if number == known_code and known_text in text:
            return meaning
    return _BY_CODE.get(number) or _BY_HUNDREDS.get(number // 100) or _UNCLEAR


def _unreadable(status: int) -> _Meaning:
    """Return the meaning of a response that is not JSON, by its status.

    Such a response is probably from a proxy or a firewall, so it neither rejects a recall nor stops a
    queue.
    """
    if status in {403, 408, 429}:
        return _BY_CODE[status]
    if status // 100 in {3, 5}:
        return _BY_HUNDREDS[status // 100]
    return _NOT_JSON
