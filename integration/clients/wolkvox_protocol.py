"""How wolkvox is spoken to: a recall becomes one exact call, an answer becomes a verdict. Pure.

Promises: the same recall makes the same bytes, any bytes at all make a verdict, and neither `repr`
nor `reason` holds a token or a customer's data. Never opens a connection, never reads a clock.
What is known of wolkvox is from its API pages (https://www.wolkvox.com/en/apis-v2-2/…: "APIs Campaign",
"APIs Information"); where those are silent, an answer is taken as unclear, never as a success.
"""

from __future__ import annotations

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
    """One request to wolkvox, ready to be written. `repr` shows neither token nor body."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def public_headers(self) -> dict[str, str]:
        """The headers as they may be shown: without the token."""
        return {name: value for name, value in self.headers.items() if name != TOKEN_HEADER}


def build_call(
    account: Account, *, campaign_id: str, customer_id: str, recall_telephone: str, recall_date: datetime
) -> Call:
    """Give the call that asks wolkvox to call a customer back ("APIs Campaign", recall).

    `recall_date` must be aware; wolkvox gets it as the wall clock of the account's zone, to the
    second. `recall_telephone` is as the operation dials. Raises ValueError for a naive date.
    """
    if recall_date.utcoffset() is None:
        raise ValueError("recall_date: found a date without a zone; allowed: an aware datetime")
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


# Escaped to ASCII: any JSON reader takes it, whatever charset it assumes.
_AS_ASCII = json.JSONEncoder(separators=(",", ":"))


@lru_cache(maxsize=1024)
def _recall_url(endpoint: str, type_campaign: str, campaign_id: str) -> str:
    query = f"api=recall&type_campaign={type_campaign}" if type_campaign else "api=recall"
    return f"{endpoint}/api/v2/campaign.php?{query}&campaign_id={quote(campaign_id, safe='')}"


def build_campaigns_call(account: Account) -> Call:
    """Give the call that lists the campaigns ("APIs Information"): reads only, costs one call of the day."""
    return Call(
        method="GET",
        url=f"{account.endpoint}/api/v2/information.php?api=campaigns",
        headers=_headers(account),
    )


def _headers(account: Account) -> dict[str, str]:
    return {
        TOKEN_HEADER: account.token.get_secret_value(),
        "Accept": "application/json",
        # A packed answer of 64 KiB can unpack to a thousand times that.
        "Accept-Encoding": "identity",
        "User-Agent": "ringback",
    }


# --- the verdict -----------------------------------------------------------------------------


class VerdictKind(StrEnum):
    """What an answer means for the recall and its queue."""

    ACCEPTED = "accepted"
    """wolkvox has recorded the callback."""
    REFUSED = "refused"
    """It will not have this recall, whenever it is sent."""
    WAIT = "wait"
    """It will not have it now: maintenance, rate, a redirect."""
    CONCURRENCY = "concurrency"
    """The token is in use elsewhere."""
    QUOTA = "quota"
    """The token's calls of the day are used up."""
    STOPPED = "stopped"
    """The configuration is wrong: nothing can pass until it is mended."""
    NOT_SENT = "not_sent"
    """No byte of the request has left."""
    UNKNOWN = "unknown"
    """It may have been recorded or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one push.

    `reason` is plain words of ours and safe to log; `code` and `msg` are wolkvox's (or None), and
    `msg` repeats customer and telephone: customer data. `words` is, unless it was accepted, `msg` without
    what differs from customer to customer, so that two refusals for the same cause compare equal. `quiet`
    says that wolkvox may still be working on the call, `convicts` that the recall itself may be the cause,
    `may_stop_queue` that five such refusals in a row mean a cause outside the recalls.
    """

    kind: VerdictKind
    reason: str
    status: int | None = None
    code: str | None = None
    msg: str | None = field(default=None, repr=False)
    words: str = field(default="", repr=False)
    retry_after_seconds: float | None = None
    quiet: bool = False
    convicts: bool = False
    may_stop_queue: bool = False


class _Meaning(NamedTuple):
    kind: VerdictKind
    reason: str
    convicts: bool = False
    may_stop_queue: bool = False


_ACCEPTED = _Meaning(VerdictKind.ACCEPTED, "accepted")

_BAD_TOKEN = _Meaning(
    VerdictKind.STOPPED, "wolkvox does not take the token: check the account's token and server, then resume"
)

# On the left wolkvox's own words (the error table of its API), as `_letters` leaves them: capitals, no
# punctuation, no digits. They are looked for anywhere in `msg` and `error`.
_BY_WORDS: tuple[tuple[int, str, _Meaning], ...] = (
    (
        400,
        "THE API YOU WANT TO CONSULT DOES NOT EXIST",
        _Meaning(VerdictKind.STOPPED, "wolkvox knows no such API: check the account's server, then resume"),
    ),
    (
        400,
        "SOME PARAMETERS ARE REQUIRED",
        _Meaning(VerdictKind.REFUSED, "wolkvox misses parameters or cannot read them"),
    ),
    (401, "PLEASE ENTER THE WOLKVOX TOKEN", _BAD_TOKEN),
    (403, "PLEASE VALIDATE TOKEN", _BAD_TOKEN),
    (403, "TOKEN LIMIT EXCEEDED", _Meaning(VerdictKind.QUOTA, "the token's calls of the day are used up")),
    (
        403,
        "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN",
        _Meaning(VerdictKind.CONCURRENCY, "somebody else uses the token at this moment"),
    ),
)

# Where the words say nothing, the code's number does. Of these only 401 and 403 are documented.
_BY_CODE: dict[int, _Meaning] = {
    401: _BAD_TOKEN,
    403: _Meaning(VerdictKind.WAIT, "wolkvox forbids calls for now, as in maintenance"),
    408: _Meaning(VerdictKind.WAIT, "wolkvox gave up waiting for the request", convicts=True),
    429: _Meaning(VerdictKind.WAIT, "wolkvox asks for fewer calls"),
}

# These are about the token and its rate, whichever recall they meet.
_NEVER_CONVICT = frozenset({403, 429})

_BY_HUNDREDS: dict[int, _Meaning] = {
    2: _Meaning(VerdictKind.UNKNOWN, "a success that is not the one documented", convicts=True),
    3: _Meaning(VerdictKind.WAIT, "wolkvox points to another address", convicts=True),
    4: _Meaning(VerdictKind.REFUSED, "wolkvox refuses this recall", may_stop_queue=True),
    5: _Meaning(VerdictKind.UNKNOWN, "wolkvox reports a fault of its own", convicts=True),
}

_UNCLEAR = _Meaning(VerdictKind.UNKNOWN, "an answer that says neither yes nor no", convicts=True)
_NOT_JSON = _Meaning(VerdictKind.UNKNOWN, "an answer that is not JSON", convicts=True)


def decipher_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> Verdict:
    """Judge a complete answer.

    `headers` has lower-case names. `now` (aware) is what a `Retry-After` that is a date counts from;
    without it such a date counts for nothing. Never raises.
    """
    answer = _read(body)
    code = _code_of(answer)
    msg = _text(answer, "msg")
    number = _number(code) or status
    meaning = _meaning(status, code, answer, msg)
    return Verdict(
        kind=meaning.kind,
        reason=meaning.reason,
        convicts=meaning.convicts and _NEVER_CONVICT.isdisjoint((status, number)),
        may_stop_queue=meaning.may_stop_queue,
        status=status,
        code=code,
        msg=msg[:MSG_LIMIT] if answer is not _UNREADABLE else None,
        words="" if meaning is _ACCEPTED else (_words(msg) or f"CODE {number}")[:WORDS_LIMIT],
        retry_after_seconds=retry_after_seconds(headers, now),
        quiet=is_gateway(status) or is_gateway(number),
    )


def broken_off(status: int | None, reason: str) -> Verdict:
    """Judge a call that was sent and has no complete answer.

    `status` is the answer's when its head came, else None.
    """
    convicts = status not in _NEVER_CONVICT
    return Verdict(kind=VerdictKind.UNKNOWN, reason=reason, status=status, quiet=True, convicts=convicts)


def not_sent(reason: str) -> Verdict:
    """Judge a call of which no byte has left."""
    return Verdict(kind=VerdictKind.NOT_SENT, reason=reason)


def is_gateway(status: int) -> bool:
    """Tell whether something before wolkvox gave up waiting for it: 502, 504, 52x (Cloudflare's).

    Then wolkvox may still be working on the call, though the answer is complete.
    """
    return status in {502, 504} or 520 <= status <= 529  # noqa: PLR2004  (the numbers are named above)


# --- reading an answer -----------------------------------------------------------------------

_UNREADABLE = object()
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def _read(body: bytes) -> Any:
    """Give the JSON value of a body, `_UNREADABLE` if it has none."""
    try:
        return orjson.loads(body.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError:
        pass
    # Spanish words in an old single-byte charset are still an answer.
    try:
        return orjson.loads(body.decode("latin-1"))
    except orjson.JSONDecodeError:
        return _UNREADABLE


def _code_of(answer: Any) -> str | None:
    """Give `code` as text. The samples have a number, one table says String: both are taken."""
    found = answer.get("code") if isinstance(answer, dict) else None
    if isinstance(found, float) and found.is_integer():
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    return str(found).strip()[:CODE_LIMIT] or None


def _number(code: str | None) -> int | None:
    """Give a code that is an HTTP status by its form, else None."""
    return int(code) if code is not None and re.fullmatch(r"[1-5][0-9]{2}", code) else None


def _text(answer: Any, name: str) -> str:
    found = answer.get(name) if isinstance(answer, dict) else None
    if found is None or isinstance(found, str):
        return found or ""
    try:
        return orjson.dumps(found).decode()
    except orjson.JSONEncodeError:  # it reads more levels than it writes
        return "NESTED TOO DEEP"


def _is_error(answer: Any) -> bool:
    # "No error" has been seen as null, as an empty text and as the text "null".
    return _text(answer, "error").strip().lower() not in {"", "null", "none", "false", "[]", "{}", "0"}


def _letters(text: str) -> str:
    """Give a text's words in capitals, without punctuation and digits."""
    return " ".join(re.findall(r"[^\W\d_]+", text[: 4 * MSG_LIMIT].upper()))


def _words(text: str) -> str:
    """Give a text's words as `_letters` does, but none that hold a digit: those name a customer or a date."""
    return _letters(re.sub(r"\S*\d\S*", " ", text[: 4 * MSG_LIMIT]))


def _meaning(status: int, code: str | None, answer: Any, msg: str) -> _Meaning:
    if answer is _UNREADABLE:
        return _unreadable(status)
    if code == "202":
        if 200 <= status <= 299 and not _is_error(answer):  # noqa: PLR2004  (HTTP's successes)
            return _ACCEPTED
        return _UNCLEAR
    number = _number(code) or status
    words = _letters(f"{msg} {_text(answer, 'error')}")
    for its_code, its_words, meaning in _BY_WORDS:
        if number == its_code and its_words in words:
            return meaning
    return _BY_CODE.get(number) or _BY_HUNDREDS.get(number // 100) or _UNCLEAR


def _unreadable(status: int) -> _Meaning:
    """Judge by the status alone an answer that is not JSON, as proxies and firewalls give it.

    It is not wolkvox's word, so it refuses no recall and stops no queue.
    """
    if status in {403, 408, 429}:
        return _BY_CODE[status]
    if status // 100 in {3, 5}:
        return _BY_HUNDREDS[status // 100]
    return _NOT_JSON
