"""Masks secrets and customers' data in log lines, Sentry events, alerts and dashboard pages.

This is a second safeguard: callers should leave such data out of their texts. The module does no I/O.
`remember_secrets` keeps the configured secrets in memory.
"""

from __future__ import annotations

import json
import math
import re
import threading
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from uuid import UUID

from pydantic import BaseModel, SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MASK: Final = "***"
# Shown to users instead of MASK, before the last characters.
DOTS: Final = "••••"


# --- keys of secrets --------------------------------------------------------------------------

# The value of a key is masked if the key contains one of these anywhere, or one of the words below as a whole
# word (`api_key`, `apiKey` and `key`, but not `monkey`). Keys may be Spanish, because they come from forms.
_SECRET_PART = re.compile(
    r"(?i)token|secret|passw|authoriz|credential|cookie|signature|phone|telef|celular|customer|apikey|urlkey"
)
_SECRET_WORDS = frozenset(
    {"key", "keys", "auth", "pwd", "session", "mobile", "cell", "tel", "fax", "whatsapp", "msg", "email"}
    | {"mail", "movil", "cedula", "documento"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# Keys whose values are Ringback's own numbers and never telephone numbers.
_NUMBER_KEYS = re.compile(
    r"(?:.*_)?(?:ms|seconds|bytes|pid|port|line|lineno|count|generation|size|fence|step|seq)"
)
_ID_KEYS = frozenset(
    {"id", "ids", "recall", "recalls", "recall_id", "delivery", "delivery_id", "queue", "queue_id", "by"}
    | {"parked_id", "task", "task_id", "event_id", "trace_id", "span_id", "request_id", "digest", "nonce"}
)
# The format of Ringback's ids: rc_…, dl_…, or 16 to 64 hex digits with at least one letter.
_ID = re.compile(r"(?=[^a-z]*[a-z])(?:[a-z]{2}_[a-z0-9]{4,64}|[0-9a-f]{16,64})")


class _Key(Enum):
    PRIVATE = "the value is always masked"
    OUR_ID = "an id of ours"
    OUR_NUMBER = "a number of ours"
    OTHER = "other"


@lru_cache(maxsize=4096)
def _kind_of_key(key: str) -> _Key:
    if _SECRET_PART.search(key) or any(word.lower() in _SECRET_WORDS for word in _WORD.findall(key)):
        return _Key.PRIVATE
    if key in _ID_KEYS:
        return _Key.OUR_ID
    return _Key.OUR_NUMBER if _NUMBER_KEYS.fullmatch(key) else _Key.OTHER


# --- configured secrets -----------------------------------------------------------------------

# A shorter secret could be part of any word. It is masked only in outbound texts, and only as a whole word.
_SHORTEST_SECRET: Final = 6


class _Secrets:
    """The configured secrets, indexed by their first characters to make masking fast."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Counts changes of the secrets, and is part of the key of the caches below.
        self.generation = 0
        self._by_start: dict[str, tuple[str, ...]] = {}
        self._short: frozenset[str] = frozenset()
        self._short_pattern: re.Pattern[str] | None = None

    def clear(self) -> None:
        with self._lock:
            self._by_start, self._short, self._short_pattern = {}, frozenset(), None
            self.generation += 1

    def add(self, secrets: Iterable[str]) -> None:
        with self._lock:
            long = {form for forms in self._by_start.values() for form in forms}
            added = set(filter(None, secrets))
            for secret in added:
                long.update(form for form in _forms(secret) if len(form) >= _SHORTEST_SECRET)
            by_start: dict[str, list[str]] = {}
            for form in sorted(long, key=len, reverse=True):
                by_start.setdefault(form[:_SHORTEST_SECRET], []).append(form)
            self._by_start = {start: tuple(forms) for start, forms in by_start.items()}
            self._short |= {secret for secret in added if len(secret) < _SHORTEST_SECRET}
            self._short_pattern = _standing_alone(self._short)
            self.generation += 1

    def mask(self, text: str) -> str:
        by_start = self._by_start
        if not by_start:
            return text
        at = 0
        while at <= len(text) - _SHORTEST_SECRET:
            forms = by_start.get(text[at : at + _SHORTEST_SECRET], ())
            match = next((form for form in forms if text.startswith(form, at)), None)
            if match is not None:
                text = text[:at] + MASK + text[at + len(match) :]
                at += len(MASK)
            else:
                at += 1
        return text

    def mask_short(self, text: str) -> str:
        return self._short_pattern.sub(MASK, text) if self._short_pattern else text


_secrets = _Secrets()


def _forms(secret: str) -> set[str]:
    """Return the spellings of a secret in URLs, JSON and reprs.

    For `user:password`, the spellings of the password alone are included.
    """
    return {
        form
        for part in (secret, secret.partition(":")[2])
        for form in (part, quote(part), quote(part, safe=""), json.dumps(part)[1:-1], repr(part)[1:-1])
    }


def _standing_alone(words: Iterable[str]) -> re.Pattern[str] | None:
    longest_first = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
    return re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)") if longest_first else None


def remember_secrets(secrets: Iterable[str]) -> None:
    """Add texts to those that are masked. Only `mask_outbound` masks texts under 6 characters."""
    _secrets.add(secrets)


def forget_secrets() -> None:
    """Forget all remembered secrets. For tests."""
    _secrets.clear()


def secrets_of(value: object) -> frozenset[str]:
    """Return all secrets of a configuration: each SecretStr in its models, tables and lists."""
    if isinstance(value, SecretStr):
        return frozenset({value.get_secret_value()})
    if isinstance(value, BaseModel):
        return frozenset().union(*(secrets_of(part) for _, part in value))
    if isinstance(value, dict):
        return frozenset().union(*map(secrets_of, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return frozenset().union(*map(secrets_of, value))
    return frozenset()


# --- texts ------------------------------------------------------------------------------------

# Every repetition is bounded, so that a long hostile text cannot make matching slow.
_NAMED = (
    r"(?:token|secret|passw(?:or)?d|authorization|api[_-]?key|url[_-]?key|credential|cookie|session[_-]?id"
    r"|signature|telephone|phone|mobile|customer[_-]?id|\bmsg)[\w-]{0,40}"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"?|'(?:[^'\\]|\\.)*'?"

_TEXT_RULES = (
    # redis://user:pass@host, also with an @ or a slash in the password
    (re.compile(r"(://)[^\s\"'<>]{0,500}@"), rf"\1{MASK}@"),
    # /hooks/{source}/{url_key}
    (re.compile(r"(/hooks/[^/\s\"'?]{1,64}/)[^\s\"'?#]+"), rf"\1{MASK}"),
    # Authorization: Bearer …; values under 8 characters are probably words of a sentence
    (re.compile(r"(?i)\b(bearer|basic)(\s{1,4})[^\s\"',;]{8,}"), rf"\1\2{MASK}"),
    # token=…, customer_id='…'; in queries, in the repr of objects
    (re.compile(rf"(?i)({_NAMED}=)(?:b?(?:{_QUOTED})|[^\s\"'&,;)}}\]]+)"), rf"\1{MASK}"),
    # "token": …, 'msg': …; in JSON and the repr of mappings
    (re.compile(rf"(?i)({_NAMED}[\"']\s{{0,4}}:\s{{0,4}})(?:b?(?:{_QUOTED})|[^\s,}}\]]+)"), rf"\1{MASK}"),
    # a header line
    (
        re.compile(
            r"(?im)^([\w-]{0,40}(?:token|authorization|api-key|cookie|signature[\w-]{0,8}):[ \t]?)\S.*$"
        ),
        rf"\1{MASK}",
    ),
)

# A text that a rule matches contains at least one of these.
_IN_TEXT_RULES: Final = (
    *("://", "/hooks/", "bearer", "basic", "token", "secret", "passw", "authorization", "key", "credential"),
    *("cookie", "session", "signature", "phone", "mobile", "customer", "msg"),
)
_OFFSET = r"(?:Z|\ ?[+-][0-9]{2}:?[0-9]{2}(?![0-9]))"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,6})?)?"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# Loopback and private addresses. Other addresses could be a telephone number with dots.
_NEAR = rf"(?:127\.{_BYTE}|10\.{_BYTE}|192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))\.{_BYTE}\.{_BYTE}|0\.0\.0\.0"
_DATE = (
    r"(?<![0-9])(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    rf"(?:[T ]{_CLOCK}{_OFFSET}?)?(?![0-9])"
)
# Texts with seven digits or more that are not telephone numbers: UUIDs, dates, private addresses.
_KEEP = (
    r"(?<![\w-])(?=[0-9-]*[a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![\w-])"
    rf"|{_DATE}"
    rf"|(?<![0-9.])(?:{_NEAR})(?![0-9.]*[0-9])"
)
# Separators between the digits of one number, including invisible characters and escape sequences.
_ESCAPED = r"\\{1,8}(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[tnr])"
_BETWEEN = rf"(?:[\s().\-/%+_\u00ad\u00b7\u2000-\u206f\u2212\ufeff]|{_ESCAPED}){{0,4}}"
_NUMBERS = re.compile(rf"(?P<keep>{_KEEP})|\+?\d(?:{_BETWEEN}\d){{6,}}")
_DIGITS_OF_A_NUMBER: Final = 7

# Texts up to this length are cached: levels, loggers, keys and reasons repeat in most lines.
_SHORT: Final = 64


def mask_text(text: str) -> str:
    """Return a text with secrets and possible telephone numbers (seven digits or more) masked.

    UUIDs, dates and private addresses are kept. Lone surrogates are escaped.
    """
    return _mask_short(text, _secrets.generation) if len(text) <= _SHORT else _mask(text)


@lru_cache(maxsize=2048)
def _mask_short(text: str, _generation: int) -> str:
    return _mask(text)


def _mask(text: str) -> str:
    text = _secrets.mask(text)
    if _may_name_a_secret(text):
        for pattern, replacement in _TEXT_RULES:
            text = pattern.sub(replacement, text)
    if _may_hold_a_number(text):
        text = _NUMBERS.sub(lambda match: match["keep"] or MASK, text)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _may_name_a_secret(text: str) -> bool:
    """Return False only if no rule can match the text. The check is much cheaper than the rules."""
    if not text.isascii():
        return True
    folded = text.lower()
    return any(part in folded for part in _IN_TEXT_RULES)


def _may_hold_a_number(text: str) -> bool:
    return not text.isascii() or sum(map(text.count, "0123456789")) >= _DIGITS_OF_A_NUMBER


# --- values -----------------------------------------------------------------------------------

_DEEPEST: Final = 8
_WIDEST: Final = 200
_LONG_NUMBER: Final = 10**6
_LARGEST_NUMBER: Final = 2**63


def mask_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a log line with secrets masked in names and values.

    Values become texts, numbers, lists, dicts, booleans or None.
    """
    generation = _secrets.generation
    masked = {}
    for name, value in facts.items():
        masked_name, kind = _mask_key(name, generation)
        masked[masked_name] = _mask_under(kind, value, 0)
    return masked


@lru_cache(maxsize=2048)
def _mask_key(key: str, _generation: int) -> tuple[str, _Key]:
    return _mask(key), _kind_of_key(key)


def _mask_under(kind: _Key, value: object, depth: int) -> Any:
    if value is None or value is True or value is False:
        return value
    if kind is _Key.PRIVATE:
        return MASK
    # `type` instead of `isinstance`: an Enum member may also be an int or a str.
    if type(value) is int or type(value) is float:
        return value if -_LONG_NUMBER < value < _LONG_NUMBER else _mask_long_number(value, kind)
    if type(value) is str:
        return value if kind is _Key.OUR_ID and _ID.fullmatch(value) else mask_text(value)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        parts = [(_as_text(name), part) for name, part in list(value.items())[:_WIDEST]]
        return {mask_text(name): _mask_under(_kind_of_key(name), part, depth + 1) for name, part in parts}
    if isinstance(value, list | tuple | set | frozenset):
        return [_mask_under(kind, part, depth + 1) for part in list(value)[:_WIDEST]]
    return mask_text(_as_text(value))


def _mask_long_number(value: float, kind: _Key) -> float | str:
    if not math.isfinite(value):
        return str(value)
    if kind is not _Key.OUR_NUMBER:
        return MASK
    return value if abs(value) < _LARGEST_NUMBER else str(value)


def _as_text(value: object) -> str:
    if isinstance(value, str) and not isinstance(value, Enum):
        return value
    try:
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value).decode("utf-8", "backslashreplace")
        if isinstance(value, datetime | date | time):
            return value.isoformat()
        if isinstance(value, Enum):
            return str(value.value)
        return str(value) if isinstance(value, UUID | PurePath | BaseException) else repr(value)
    except Exception:  # noqa: BLE001  (a log line must not fail because a stranger's repr does)
        return f"<{type(value).__name__}>"


# --- outbound texts: Sentry, alerts -------------------------------------------------------------

# Customers' ids and documents may be shorter than telephone numbers.
_DIGITS = re.compile(r"\d{5,}")
# A path may contain a url_key, and a query customer data.
_AFTER_HOST = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/?#'\"<>]*)[^\s'\"<>]*")
_EMAIL = re.compile(r"[^\s@'\"<>()=,;:]+@[^\s@'\"<>()=,;]+")
_SHORTEST_NAME: Final = 3


def mask_outbound(text: str) -> str:
    """Return a text for other systems, with more masked than by `mask_text`.

    Short secrets, URL paths, e-mail addresses and numbers of five digits or more are masked in addition.
    """
    if len(text) <= _SHORT:
        return _mask_outbound_short(text, _secrets.generation)
    return _mask_outbound(text)


@lru_cache(maxsize=2048)
def _mask_outbound_short(text: str, _generation: int) -> str:
    return _mask_outbound(text)


def _mask_outbound(text: str) -> str:
    masked = mask_text(_secrets.mask_short(text))
    for pattern, replacement in ((_AFTER_HOST, rf"\1/{MASK}"), (_EMAIL, MASK), (_DIGITS, MASK)):
        masked = pattern.sub(replacement, masked)
    return masked


def mask_names(text: str, names: Iterable[str]) -> str:
    """Return a text with these customer values masked. Values of 1 or 2 characters match whole words only."""
    for name in filter(None, names):
        text = re.sub(_name_pattern(name), MASK, text)
    return text


def _name_pattern(name: str) -> str:
    return re.escape(name) if len(name) >= _SHORTEST_NAME else rf"(?<!\w){re.escape(name)}(?!\w)"


# --- values on screens until they are revealed --------------------------------------------------

_SHOWN: Final = 2
_SHORTEST_SHOWN: Final = 5
_MOST_MEMBERS: Final = 200
_LONGEST_MEMBER_NAME: Final = 80
# wolkvox takes and repeats a date as YYYYMMDDhhmmss.
_WOLKVOX_DATE = (
    r"(?<![0-9+])20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
    r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){2}(?![0-9])"
)
# Ringback's ids and dates consist mostly of digits, but are not masked.
_OPEN = rf"(?P<open>\b(?:rc|pk|lk)_[0-9a-z]{{12}}\b|{_DATE}|{_WOLKVOX_DATE})"
_NUMBER = r"\d(?:[ ().-]{0,3}\d){5,}"


def mask_but_end(text: str) -> str:
    """Return a text masked except for its last two characters.

    A text of up to 4 characters, without surrounding blanks, is masked entirely.
    """
    plain = text.strip()
    return f"{DOTS} {plain[-_SHOWN:]}" if len(plain) >= _SHORTEST_SHOWN else DOTS


def mask_numbers(text: str, names: Iterable[str] = ()) -> str:
    """Return a text with possible telephone and customer numbers masked except for their ends.

    `names` are other values of a customer, which are masked in the same way. Dates and Ringback's ids are
    kept.
    """
    known = sorted(filter(None, names), key=len, reverse=True)
    pattern = "|".join((_OPEN, _NUMBER, *map(_name_pattern, known)))
    return re.sub(pattern, lambda match: match["open"] or mask_but_end(match[0]), text)


def mask_data(value: Any) -> Any:
    """Return a JSON value with each text and number masked except for its end.

    Lists and objects are cut after 200 members. Member names are kept up to 80 characters, because routes
    use them. Numbers in member names are masked, because a form's question may contain one. Names of
    event types are kept: they contain no personal data.
    """
    if isinstance(value, dict):
        members = list(value.items())[:_MOST_MEMBERS]
        return {
            mask_numbers(str(name)[:_LONGEST_MEMBER_NAME]): part if _is_type(name, part) else mask_data(part)
            for name, part in members
        }
    if isinstance(value, list):
        return [mask_data(part) for part in value[:_MOST_MEMBERS]]
    if value is None or isinstance(value, bool):
        return value
    return mask_but_end(str(value)) if str(value) else ""


# Members of webhooks that name the kind of an event, as HubSpot and others spell them.
_TYPES: Final = frozenset(
    {"subscriptionType", "propertyName", "objectTypeId", "changeSource", "event_type", "eventType"}
)
_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z_.-]{0,39}(?:[0-9]{1,2})?")


def _is_type(name: Any, value: Any) -> bool:
    return name in _TYPES and isinstance(value, str) and _TYPE.fullmatch(value) is not None


def masked(value: Any) -> Any:
    """Return a text as one masked line of at most 300 characters, for other systems.

    Values of other types, and times of the form "2026-01-31 09:00 UTC", are returned unchanged.
    """
    if not isinstance(value, str):
        return value
    # Ringback's timestamps are the only long numbers that are kept.
    if re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", value):
        return value
    return " ".join(mask_outbound(value).split())[:300]
