"""Configures structlog to write log events to standard error, with secrets masked.

A JSON event is one line. Records of the standard library's `logging` and uncaught exceptions are written
in the same way.
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

from integration.domain.errors import ENVIRONMENT, ConfigError, Fault
from integration.telemetry.redaction import mask_facts, mask_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Any

    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

# Libraries that install handlers of their own. These handlers are removed.
_ADOPTED: Final = (
    *("celery", "celery.task", "celery.worker", "celery.redirected", "kombu", "flask.app", "werkzeug"),
    *("_granian", "granian.access"),
)
# httpx logs URLs at INFO, httpcore logs headers at DEBUG.
_QUIET: Final = (
    *("httpx", "httpcore", "urllib3", "redis", "asyncio"),
    # Celery logs one or two lines per wake-up on the hot path. The drain logs its result itself.
    *("celery.worker.strategy", "celery.app.trace"),
)


# --- processors -------------------------------------------------------------------------------

_observers: list[Callable[[Mapping[str, Any]], None]] = []


def add_observer(observer: Callable[[Mapping[str, Any]], None]) -> None:
    """Register a callback for each log line that is written. It receives the event before masking.

    The event has the keys `event`, `level` and `logger`, `exc_info` if there is an exception, and the
    facts of the line.
    """
    if observer not in _observers:
        _observers.append(observer)


def remove_observer(observer: Callable[[Mapping[str, Any]], None]) -> None:
    """Remove a callback registered with `add_observer`."""
    if observer in _observers:
        _observers.remove(observer)


def _observe(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for observer in _observers:
        # A failing observer must not lose the line.
        with contextlib.suppress(Exception):
            observer(event)
    return event


def _mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return mask_facts(event)


# Control characters in untrusted text could forge lines, control the terminal or reverse the text direction.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL_IN_LINES = re.compile(_CONTROL.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))


def _escape_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            pattern = _CONTROL_IN_LINES if key in {"exception", "stack"} else _CONTROL
            event[key] = pattern.sub(lambda match: repr(match[0])[1:-1], value)
    return event


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    line = orjson.dumps(event)
    if line.isascii() and b"\x7f" not in line:
        return line
    # JSON does not require these characters to be escaped.
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


def _as_bytes(_logger: WrappedLogger, _method: str, line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")


# A single list object that is changed in place, because cached loggers keep a reference to it.
_PROCESSORS: list[Processor] = []


def _processors(*, json: bool) -> list[Processor]:
    plain = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    # The processors after the renderer receive its line instead of an event.
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


# --- output ----------------------------------------------------------------------------------


class _StandardError:
    """A file that writes to the current `sys.stderr`. A line that cannot be written is silently dropped."""

    def write(self, line: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.buffer.flush()


_STANDARD_ERROR: Final = _StandardError()


class LibraryLines(logging.Handler):
    """A `logging` handler that passes records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record. If the record cannot be formatted, log a line without its content."""
        try:
            level = min(record.levelno // 10 * 10, logging.CRITICAL)
            facts = {"exc_info": record.exc_info} if record.exc_info else {}
            structlog.get_logger(record.name).log(level, record.getMessage(), **facts)
        except Exception:  # noqa: BLE001  (a library's line must not stop the library)
            notice = f"a log line of {mask_text(record.name)} could not be written\n"
            _STANDARD_ERROR.write(notice.encode())
            _STANDARD_ERROR.flush()


# --- set-up -----------------------------------------------------------------------------------


def configure(level: str = "INFO", *, json: bool | None = None) -> None:
    """Configure the log output of this process and its libraries, on standard error.

    With `json` each line is a JSON object, otherwise key=value text. None selects JSON unless standard error
    is a terminal. Times are ISO 8601 in UTC. A second call changes the output, but loggers that were used
    before keep their level. Raise ConfigError if the level is unknown.
    """
    chosen = level.strip().upper()
    if chosen not in LEVELS:
        found = f"a text of {len(level)} characters"
        raise ConfigError((Fault(ENVIRONMENT, "LOG_LEVEL", found, f"one of {', '.join(LEVELS)}"),))
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


# --- uncaught exceptions ----------------------------------------------------------------------

_uncaught_log = structlog.get_logger("uncaught")


def _report_uncaught() -> None:
    # Hooks that were installed before (by Sentry or a test runner) stay.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    _uncaught_log.critical("uncaught exception", exc_info=(kind, error, trace))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is None or issubclass(args.exc_type, SystemExit):
        return
    name = "a thread" if args.thread is None else args.thread.name
    _uncaught_log.critical(
        f"uncaught exception in {name}", exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )


_CONTROL_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(value: object) -> str:
    """Return a value as one line of text, with control characters replaced by spaces. None becomes ""."""
    if value is None:
        return ""
    return "".join(" " if unicodedata.category(c) in _CONTROL_CATEGORIES else c for c in str(value))


def readable(line: str) -> str:
    """Return a line of a child process's output for people. `line` has the form "NAME| TEXT".

    A JSON log line is formatted as text, with its traceback on further lines. Other lines are returned
    unchanged.
    """
    name, bar, text = line.partition("| ")
    if not text.startswith("{"):
        return line
    try:
        event = json.loads(text)
    except ValueError:
        return line
    traceback = event.pop("exception", "")
    timestamp, level, message = (printable(event.pop(key, "")) for key in ("timestamp", "level", "event"))
    facts = " ".join(f"{key}={printable(value)}" for key, value in event.items() if key != "logger")
    summary = f"{timestamp} {level:<7} {message}  {facts}".rstrip()
    trace_lines = (printable(part) for part in str(traceback).splitlines())
    return "\n".join(f"{name}{bar}{part}" for part in (summary, *trace_lines))
