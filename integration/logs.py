"""Where log lines go and what they never hold: one line on standard error for each thing that happened.

The last line of defence for secrets and customers: whoever writes a log line leaves them out; what
slips through is masked here, in our own lines, in those of libraries and in tracebacks.
"""

from __future__ import annotations

import contextlib
import json as json_format
import logging
import math
import re
import sys
import threading
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote
from uuid import UUID

import structlog
from pydantic import BaseModel, SecretStr

from integration.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MASK = "***"

# Libraries that bring handlers of their own: their lines go through ours.
_ADOPTED = ("celery", "celery.task", "celery.worker", "celery.redirected", "kombu", "flask.app", "werkzeug")
# httpx writes URLs at INFO and httpcore headers at DEBUG; neither says what is not in our own lines.
_QUIET = (
    *("httpx", "httpcore", "urllib3", "redis", "asyncio"),
    # A line or two per doorbell, on the hot path; what a turn did is logged by the turn.
    *("celery.worker.strategy", "celery.app.trace"),
)
_GRANIAN = ("_granian", "granian.access")


# --- what is a secret, whatever its value -----------------------------------------------------

# In a key, nothing after them is shown: these anywhere in it, those below as words of their own
# (`api_key`, `apiKey` and `key`, but not `monkey`). Spanish ones too: keys come from people's forms.
_SECRET_PART = re.compile(
    r"(?i)token|secret|passw|authoriz|credential|cookie|signature|phone|telef|celular|customer|apikey|urlkey"
)
_SECRET_WORDS = frozenset(
    {"key", "keys", "auth", "pwd", "session", "mobile", "cell", "tel", "fax", "whatsapp", "msg", "email"}
    | {"mail", "movil", "cedula", "documento"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# Numbers that are ours: never a telephone, however long.
_NUMBER_KEYS = re.compile(
    r"(?:.*_)?(?:ms|seconds|bytes|pid|port|line|lineno|count|generation|size|fence|step|seq)"
)
_ID_KEYS = frozenset(
    {"id", "ids", "recall", "recalls", "recall_id", "delivery", "delivery_id", "lane", "lane_id", "by"}
    | {"parked_id", "task", "task_id", "event_id", "trace_id", "span_id", "request_id", "digest", "nonce"}
)
# As we make them: rc_…, dl_…, and 16 to 64 hex digits of which one at least is a letter.
_ID = re.compile(r"(?=[^a-z]*[a-z])(?:[a-z]{2}_[a-z0-9]{4,64}|[0-9a-f]{16,64})")


@lru_cache(maxsize=4096)
def _is_secret_key(key: str) -> bool:
    if _SECRET_PART.search(key):
        return True
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(key))


# --- secrets that are known -------------------------------------------------------------------

_SHORTEST_SECRET = 6


class _Known:
    """The configured secrets, found in a text by their first letters: quick however many there are."""

    def __init__(self) -> None:
        self._by_start: dict[str, tuple[str, ...]] = {}
        self._lock = threading.Lock()
        self.generation = 0

    def add(self, secrets: Iterable[str]) -> None:
        with self._lock:
            found = {form for starts in self._by_start.values() for form in starts}
            for secret in secrets:
                found.update(form for form in _forms(secret) if len(form) >= _SHORTEST_SECRET)
            by_start: dict[str, list[str]] = {}
            for form in sorted(found, key=len, reverse=True):
                by_start.setdefault(form[:_SHORTEST_SECRET], []).append(form)
            self._by_start = {start: tuple(forms) for start, forms in by_start.items()}
            self.generation += 1

    def mask(self, text: str) -> str:
        by_start = self._by_start
        if not by_start:
            return text
        at = 0
        while at <= len(text) - _SHORTEST_SECRET:
            forms = by_start.get(text[at : at + _SHORTEST_SECRET], ())
            found = next((form for form in forms if text.startswith(form, at)), None)
            if found is not None:
                text = text[:at] + MASK + text[at + len(found) :]
                at += len(MASK)
            else:
                at += 1
        return text

    def forget(self) -> None:
        with self._lock:
            self._by_start = {}
            self.generation += 1


def _forms(secret: str) -> set[str]:
    """Give a secret as it may look inside other texts; of `user:password` also the password alone."""
    return {
        form
        for part in (secret, secret.partition(":")[2])
        for form in (part, quote(part), quote(part, safe=""), json_format.dumps(part)[1:-1], repr(part)[1:-1])
    }


_known = _Known()


def hide(secrets: Iterable[str]) -> None:
    """Mask these texts from now on wherever they occur in a log line; shorter than 6 letters is too short.

    Called again it adds: what was secret once stays so.
    """
    _known.add(secrets)


def secrets_of(value: object) -> frozenset[str]:
    """Give every secret of a configuration: each SecretStr in models, tables and lists."""
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

# Every repetition is bounded: what is masked may be long, and come from somebody who wants it slow.
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
    # Authorization: Bearer …; a value this short is a word of a sentence
    (re.compile(r"(?i)\b(bearer|basic)(\s{1,4})[^\s\"',;]{8,}"), rf"\1\2{MASK}"),
    # token=…, customer_id='…'; in queries, in the repr of objects
    (re.compile(rf"(?i)({_NAMED}=)(?:b?(?:{_QUOTED})|[^\s\"'&,;)}}\]]+)"), rf"\1{MASK}"),
    # "token": …, 'msg': …; in JSON and the repr of mappings
    (re.compile(rf"(?i)({_NAMED}[\"']\s{{0,4}}:\s{{0,4}})(?:b?(?:{_QUOTED})|[^\s,}}\]]+)"), rf"\1{MASK}"),
    # a header's line
    (
        re.compile(
            r"(?im)^([\w-]{0,40}(?:token|authorization|api-key|cookie|signature[\w-]{0,8}):[ \t]?)\S.*$"
        ),
        rf"\1{MASK}",
    ),
)

# One word of letters: the greater part of all keys and values, and nothing that a rule could match.
_PLAIN = re.compile(r"[A-Za-z_]{0,60}")
_OFFSET = r"(?:Z|\ ?[+-][0-9]{2}:?[0-9]{2}(?![0-9]))"
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]{1,6})?)?"
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
# Addresses of this machine and of private networks; any other could be a number with dots in it.
_NEAR = rf"(?:127\.{_BYTE}|10\.{_BYTE}|192\.168|172\.(?:1[6-9]|2[0-9]|3[01]))\.{_BYTE}\.{_BYTE}|0\.0\.0\.0"
# What stands in texts, has seven digits, and is no telephone: kept as it is.
_KEEP = (
    r"(?<![\w-])(?=[0-9-]*[a-f])[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}(?![\w-])"
    r"|(?<![0-9])(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
    rf"(?:[T ]{_CLOCK}{_OFFSET}?)?(?![0-9])"
    rf"|(?<![0-9.])(?:{_NEAR})(?![0-9.]*[0-9])"
)
# Between the digits of one number: what people write there, invisible characters, and their escapes.
_ESCAPED = r"\\{1,8}(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[tnr])"
_BETWEEN = rf"(?:[\s().\-/%+_\u00ad\u00b7\u2000-\u206f\u2212\ufeff]|{_ESCAPED}){{0,4}}"
_NUMBERS = re.compile(rf"(?P<keep>{_KEEP})|\+?\d(?:{_BETWEEN}\d){{6,}}")
_LONG_NUMBER = 10**6


def mask_text(text: str) -> str:
    """Give a text without secrets and without numbers that could be a telephone (seven digits or more)."""
    return _masked_short(text, _known.generation) if len(text) <= _SHORT else _masked(text)


# Levels, loggers, keys, names of sources: the same few words in every line.
_SHORT = 48


@lru_cache(maxsize=2048)
def _masked_short(text: str, _generation: int) -> str:
    return _masked(text)


def _masked(text: str) -> str:
    text = _known.mask(text)
    if _PLAIN.fullmatch(text):
        return text
    for pattern, instead in _TEXT_RULES:
        text = pattern.sub(instead, text)
    return _NUMBERS.sub(lambda found: found["keep"] or MASK, text)


# --- values -----------------------------------------------------------------------------------

_DEEPEST = 8
_WIDEST = 200


def mask_value(value: object, key: str = "", depth: int = 0) -> Any:
    """Give a value fit for a log line, of texts, numbers, lists and dicts only, under the key it has."""
    if value is None or isinstance(value, bool):
        return value
    if key and _is_secret_key(key):
        return MASK
    if isinstance(value, int | float) and not isinstance(value, Enum):
        return _mask_number(value, key)
    if isinstance(value, str) and not isinstance(value, Enum):
        return value if key in _ID_KEYS and _ID.fullmatch(value) else mask_text(value)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return _mask_dict(value, depth)
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_value(part, key, depth + 1) for part in list(value)[:_WIDEST]]
    return mask_text(_as_text(value))


def _mask_number(value: float, key: str) -> float | str:
    if not math.isfinite(value):
        return str(value)
    return value if abs(value) < _LONG_NUMBER or _NUMBER_KEYS.fullmatch(key) else MASK


def _mask_dict(value: dict[Any, Any], depth: int) -> dict[str, Any]:
    parts = list(value.items())[:_WIDEST]
    return {mask_text(_as_text(key)): mask_value(part, _as_text(key), depth + 1) for key, part in parts}


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


# What structlog and logging put beside the facts of a line, and take away again before it is written.
_MACHINERY = frozenset({"_record", "_from_structlog"})
_OWN = frozenset({"event", "exception", "stack", "level", "logger"})


def mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask all facts of a log line: a processor for structlog."""
    masked: EventDict = {}
    for key, value in event.items():
        if key in _MACHINERY:
            masked[key] = value
        elif key in _OWN:
            masked[key] = mask_text(_as_text(value))
        else:
            masked[mask_text(key)] = mask_value(value, key)
    return masked


# Without this, text from strangers could forge lines, steer the terminal and turn what is read around.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            pattern = _CONTROL_IN_LINES if key in {"exception", "stack"} else _CONTROL
            event[key] = pattern.sub(lambda found: repr(found[0])[1:-1], value)
    return event


def _escape_controls_of_json(_logger: WrappedLogger, _method: str, line: str) -> str:
    """Escape in a JSON line what JSON lets stand as it is."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


# --- set-up -----------------------------------------------------------------------------------

_TIME = structlog.processors.TimeStamper(fmt="iso", utc=True)
_FOREIGN: list[Processor] = [
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.format_exc_info,
    mask_event,
    _TIME,
]


# Made once: with options of its own `json.dumps` makes one for each line.
_ENCODER = json_format.JSONEncoder(ensure_ascii=False)
_JSON = structlog.processors.JSONRenderer(serializer=lambda event, **_: _ENCODER.encode(event))


_OURS: list[Processor] = [
    structlog.stdlib.filter_by_level,
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.StackInfoRenderer(),
    structlog.processors.format_exc_info,
    mask_event,
    _TIME,
    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
]


class StandardError(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now, and never shows a line that it cannot format."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # the base has it as an attribute
        """Standard error."""
        return sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the base's name)
        """Say that a line was lost, without its text: the base would print all its arguments."""
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(f"a log line of {mask_text(record.name)} could not be written\n")


def handler(*, json: bool) -> logging.Handler:
    """Make the handler through which every line goes."""
    if json:
        ending: list[Processor] = [
            _JSON,
            _escape_controls_of_json,  # type: ignore[list-item]  # it comes after the renderer
        ]
    else:
        colours = sys.stderr.isatty()
        plain = structlog.dev.plain_traceback
        ending = [_escape_controls, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
    made = StandardError()
    made.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_FOREIGN,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    return made


def configure(level: str = "INFO", *, json: bool | None = None) -> None:
    """Send the log lines of this process, ours and the libraries', to standard error.

    `json`: one JSON object a line, else key=value for people; None means JSON unless standard error is
    a terminal. Times are ISO 8601 in UTC. May be called again. Raises ConfigError for an unknown level.
    """
    chosen = level.strip().upper()
    if chosen not in LEVELS:
        found = f"a text of {len(level)} characters"
        raise ConfigError((Fault("environment", "LOG_LEVEL", found, ", ".join(LEVELS)),))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        if isinstance(old, StandardError) or type(old) is logging.StreamHandler:
            root.removeHandler(old)
    root.addHandler(handler(json=not sys.stderr.isatty() if json is None else json))
    root.setLevel(chosen)
    _adopt_libraries()
    _report_uncaught()
    structlog.configure(
        processors=_OURS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _adopt_libraries() -> None:
    for name in (*_ADOPTED, *_GRANIAN):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)  # noqa: FBT003  (positional in the standard library)


# --- what nobody caught -----------------------------------------------------------------------


def _report_uncaught() -> None:
    # Who came before (Sentry, a test runner) keeps its place.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("uncaught").critical("an error nobody caught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = "a thread" if args.thread is None else args.thread.name
    logging.getLogger("uncaught").critical(
        "an error nobody caught in %s", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )
