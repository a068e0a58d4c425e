"""Configures structlog: one line on standard error for each thing that happened, secrets masked.

Lines of libraries, which log through `logging`, and what nobody caught take the same way.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import threading
import unicodedata
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog

from integration.domain.errors import ConfigError, Fault
from integration.telemetry.redaction import mask_facts, mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any

    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Libraries that bring handlers of their own: their lines go through ours.
_ADOPTED: Final = (
    *("celery", "celery.task", "celery.worker", "celery.redirected", "kombu", "flask.app", "werkzeug"),
    *("_granian", "granian.access"),
)
# httpx writes URLs at INFO and httpcore headers at DEBUG; neither says what is not in our own lines.
_QUIET: Final = (
    *("httpx", "httpcore", "urllib3", "redis", "asyncio"),
    # A line or two per wake-up, on the hot path; what a drain did is logged by the drain.
    *("celery.worker.strategy", "celery.app.trace"),
)


# --- processors -------------------------------------------------------------------------------

_observers: list[Callable[[Mapping[str, Any]], None]] = []


def add_observer(observer: Callable[[Mapping[str, Any]], None]) -> None:
    """Call `observer` with every line before it is masked: `event`, `level`, `logger`, facts, `exc_info`."""
    if observer not in _observers:
        _observers.append(observer)


def remove_observer(observer: Callable[[Mapping[str, Any]], None]) -> None:
    """Undo `add_observer`."""
    if observer in _observers:
        _observers.remove(observer)


def _observe(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for observer in _observers:
        # A line is written though nobody could be told of it.
        with contextlib.suppress(Exception):
            observer(event)
    return event


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return mask_facts(event)


# Without this, text from strangers could forge lines, steer the terminal and turn what is read around.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            pattern = _CONTROL_IN_LINES if key in {"exception", "stack"} else _CONTROL
            event[key] = pattern.sub(lambda found: repr(found[0])[1:-1], value)
    return event


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    line = orjson.dumps(event)
    if line.isascii() and b"\x7f" not in line:
        return line
    # JSON lets these stand as they are.
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line.decode()).encode()


def _as_bytes(_logger: WrappedLogger, _method: str, line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")


# One list for the life of the process: loggers that are cached keep it.
_PROCESSORS: list[Processor] = []


def _processors(*, json: bool) -> list[Processor]:
    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    # They come after the renderer, and are given its line instead of an event.
    for_people: list[Any] = [_escape_controls, plain, _as_bytes]
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        _observe,
        structlog.processors.format_exc_info,
        _mask,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_as_json] if json else for_people),
    ]


# --- where lines go ---------------------------------------------------------------------------


class _StandardError:
    """Writes to what `sys.stderr` is now; a line that cannot be written is lost, and stops nobody."""

    def write(self, line: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.flush()


_STANDARD_ERROR: Final = _StandardError()


class LibraryLines(logging.Handler):
    """Writes the lines of libraries as ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; never show one that cannot be formatted."""
        try:
            level = min(record.levelno // 10 * 10, logging.CRITICAL)
            facts = {"exc_info": record.exc_info} if record.exc_info else {}
            structlog.get_logger(record.name).log(level, record.getMessage(), **facts)
        except Exception:  # noqa: BLE001  (a library's line must not stop the library)
            lost = f"a log line of {mask_text(record.name)} could not be written\n"
            _STANDARD_ERROR.write(lost.encode())
            _STANDARD_ERROR.flush()


# --- set-up -----------------------------------------------------------------------------------


def configure(level: str = "INFO", *, json: bool | None = None) -> None:
    """Send the log lines of this process, ours and the libraries', to standard error.

    `json`: one JSON object a line, else key=value for people; None means JSON unless standard error is
    a terminal. Times are ISO 8601 in UTC. May be called again, but a logger that was used keeps its level.
    Raise ConfigError for an unknown level.
    """
    chosen = level.strip().upper()
    if chosen not in LEVELS:
        found = f"a text of {len(level)} characters"
        raise ConfigError((Fault("environment", "LOG_LEVEL", found, ", ".join(LEVELS)),))
    _PROCESSORS[:] = _processors(json=not sys.stderr.isatty() if json is None else json)
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.BytesLoggerFactory(_STANDARD_ERROR),  # type: ignore[arg-type]
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for old in tuple(root.handlers):
        if isinstance(old, LibraryLines) or type(old) is logging.StreamHandler:
            root.removeHandler(old)
    root.addHandler(LibraryLines())
    root.setLevel(chosen)
    _adopt_libraries()
    _report_uncaught()


def _adopt_libraries() -> None:
    for name in _ADOPTED:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)  # noqa: FBT003  (positional in the standard library)


# --- what nobody caught -----------------------------------------------------------------------

_uncaught_log = structlog.get_logger("uncaught")


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
    _uncaught_log.critical("an error nobody caught", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = "a thread" if args.thread is None else args.thread.name
    _uncaught_log.critical(
        f"an error nobody caught in {name}", exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )


_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(value: object) -> str:
    """Give a value as one line of text that a terminal can only show; None is empty."""
    if value is None:
        return ""
    return "".join(" " if unicodedata.category(sign) in _STEERING else sign for sign in str(value))


def readable(line: str) -> str:
    """Give a line of a child's output for people: its JSON log lines as words, all others as they are."""
    name, bar, text = line.partition("| ")
    if not text.startswith("{"):
        return line
    try:
        told = json.loads(text)
    except ValueError:
        return line
    trace = told.pop("exception", "")
    first = [printable(told.pop(key, "")) for key in ("timestamp", "level", "event")]
    rest = " ".join(f"{key}={printable(value)}" for key, value in told.items() if key != "logger")
    shown = f"{first[0]} {first[1]:<7} {first[2]}  {rest}".rstrip()
    traced = (printable(part) for part in str(trace).splitlines())
    return "\n".join(f"{name}{bar}{part}" for part in (shown, *traced))
