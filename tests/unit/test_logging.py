from __future__ import annotations

import io
import json
import logging
import logging.config
import re
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
import structlog
from granian.log import LogLevels, configure_logging
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr
from test_redaction import NOISE, Shape, shows, telephones

from integration.domain.errors import ConfigError
from integration.telemetry import logging as logs
from integration.telemetry.redaction import forget_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator


class Written(io.TextIOWrapper):
    """A standard error that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", newline="\n", write_through=True)

    def getvalue(self) -> str:
        return self.buffer.getvalue().decode()


@contextmanager
def set_up(level: str = "DEBUG", *, as_json: bool = True) -> Iterator[Written]:
    """Logging set up as a process does it, into a text; what was there before comes back."""
    root = logging.getLogger()
    before, level_before, stderr = list(root.handlers), root.level, sys.stderr
    loggers = {name: logging.getLogger(name) for name in (*logs._ADOPTED, *logs._QUIET)}
    state = {name: (list(one.handlers), one.propagate, one.level) for name, one in loggers.items()}
    sys.stderr = written = Written()
    # The test runner's own handlers would write what is not masked.
    root.handlers.clear()
    try:
        logs.configure(level, json=as_json)
        yield written
    finally:
        sys.stderr = stderr
        root.handlers[:], root.level = before, level_before
        for name, (handlers, propagate, own) in state.items():
            loggers[name].handlers[:] = handlers
            loggers[name].propagate = propagate
            loggers[name].setLevel(own)
        root.setLevel(level_before)
        logging.captureWarnings(False)
        structlog.reset_defaults()
        forget_secrets()


def logged(**facts: Any) -> dict[str, Any]:
    with set_up() as written:
        structlog.get_logger("test").info("said", **facts)
    return json.loads(written.getvalue())


# --- numbers ----------------------------------------------------------------------------------


@given(number=telephones(), noise=NOISE, as_json=st.booleans())
@example(number="000000000", noise="\x00\U000ed0ca\U000489a0", as_json=False)
def test_a_telephone_in_an_exception_comes_out_neither_in_its_message_nor_in_the_traceback(
    number, noise, as_json
):
    with set_up(as_json=as_json) as written:
        log = structlog.get_logger("test")
        try:
            try:
                raise KeyError(noise + number)
            except KeyError as error:
                raise ValueError(number) from error
        except ValueError:
            log.exception("first")
            logging.getLogger("celery.app").exception("second %s", number)
            log.info("third", exc_info=True, why=[number])
            log.info("fourth %r", number)
    lines = written.getvalue()
    assert all(word in lines for word in ("first", "second", "third", "fourth", "Traceback", "KeyError"))
    lines = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "", lines)
    assert not shows(number, lines)


def test_a_telephone_in_the_place_of_a_key_is_masked():
    assert logged(**{"call 3001112233": 1})["call ***"] == 1


# --- secrets ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        *("token", "wolkvox-token", "accessToken", "accesstoken", "TOKEN", "secret", "client_secrets"),
        *("authorization", "Proxy-Authorization", "password", "key", "api_key", "apiKey", "APIKey", "keys"),
        *("telephone", "recall_telephone", "phone", "mobilephone", "customer_id", "customerId", "msg"),
        *("url_key", "cookie", "x-hubspot-signature-v3", "numero_documento", "email"),
    ],
)
@pytest.mark.parametrize("value", ["abc", b"abc", ["abc"], {"a": "abc"}, 17, SecretStr("abc")])
def test_nothing_is_shown_under_a_key_that_sounds_secret(key, value):
    assert logged(**{key: value})[key] == "***"
    assert logged(deep=[{key: value}])["deep"] == [{key: "***"}]


# --- values -----------------------------------------------------------------------------------


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("3001112233")


def test_any_value_becomes_a_line():
    circle: list[Any] = []
    circle.append(circle)
    facts = logged(
        when=datetime(2026, 11, 23, 16, 3, tzinfo=UTC),
        day=date(2026, 11, 23),
        uuid=UUID("d3b07384-d113-4ec6-a1b0-1234567890ab"),
        shape=Shape.ONE,
        some={1},
        broken=Unprintable(),
        circle=circle,
        nothing=None,
        yes=True,
        infinite=float("inf"),
        surrogate="\ud800",
        raw=b"\xff",
    )
    assert facts["when"] == "2026-11-23T16:03:00+00:00"
    assert facts["day"] == "2026-11-23"
    assert facts["uuid"] == "d3b07384-d113-4ec6-a1b0-1234567890ab"
    assert (facts["shape"], facts["some"], facts["broken"]) == ("1", [1], "<Unprintable>")
    assert (facts["nothing"], facts["yes"], facts["infinite"]) == (None, True, "inf")
    assert facts["raw"] == "\\xff"
    assert "…" in str(facts["circle"])


# --- lines ------------------------------------------------------------------------------------


def test_a_json_line_has_its_time_in_utc_its_level_and_its_logger():
    line = logged(account="bogota")
    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset().total_seconds() == 0
    assert line == {"event": "said", "level": "info", "logger": "test", "account": "bogota"}


def test_a_line_for_people_is_key_value_on_one_line_whatever_strangers_sent():
    with set_up(as_json=False) as written:
        structlog.get_logger("test").warning("first\nforged\x1b[31m", name="a\r\nb\u2028c", n=1)
    (line,) = written.getvalue().splitlines()
    assert "first\\nforged\\x1b[31m" in line
    assert "n=1" in line
    assert "\x1b" not in line


@pytest.mark.parametrize("as_json", [True, False])
def test_no_line_can_steer_a_terminal_or_reverse_its_text(as_json):
    steering = "\x1b[2J\x9b\x7f\u202e\u2066\u200f\u061c\u2028"
    with set_up(as_json=as_json) as written:
        log = structlog.get_logger("test")
        log.warning(steering, name=f"name {steering}", parts=[steering])
        try:
            raise RuntimeError(f"error {steering}")
        except RuntimeError:
            log.exception("failed")
    assert not {sign for sign in steering if not sign.isprintable()} & set(written.getvalue())
    if as_json:
        assert json.loads(written.getvalue().splitlines()[0])["name"] == f"name {steering}"


def test_json_is_chosen_where_standard_error_is_no_terminal():
    code = "import structlog; from integration.telemetry import logging as logs; logs.configure(); structlog.get_logger('x').info('said')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr)["event"] == "said"
    assert done.stdout == ""


def test_a_line_holds_letters_as_they_are_and_a_number_too_long_for_json_as_text():
    line = logged(note="Ana María", count=2**70)
    assert (line["note"], line["count"]) == ("Ana María", str(2**70))


def test_lines_below_the_level_are_not_written():
    with set_up("warning") as written:
        structlog.get_logger("test").info("quiet")
        logging.getLogger("kombu").info("quiet")
    assert written.getvalue() == ""


def test_an_observer_is_told_of_every_line_and_one_that_fails_costs_none():
    told = []

    def observe(line):
        told.append(line["event"])
        raise RuntimeError

    logs.add_observer(observe)
    try:
        with set_up() as written:
            structlog.get_logger("test").info("ours")
            logging.getLogger("kombu").warning("theirs")
    finally:
        logs.remove_observer(observe)
    assert told == ["ours", "theirs"]
    assert len(written.getvalue().splitlines()) == 2


def test_an_unknown_level_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"LOG_LEVEL is a text of 4 characters. Use one of DEBUG, INFO"):
        logs.configure("loud")


@pytest.mark.parametrize(
    "name", ["celery", "celery.task", "kombu", "redis", "granian.access", "anything.else"]
)
def test_the_lines_of_libraries_go_through_the_same_masks(name):
    library = logging.getLogger(name)
    own = io.StringIO()
    library.addHandler(logging.StreamHandler(own))
    handlers = list(library.handlers)
    try:
        with set_up() as written:
            library.error("call %(tel)s", {"tel": "3001112233"})
        line = json.loads(written.getvalue())
        assert (line["event"], line["logger"], line["level"]) == ("call ***", name, "error")
        assert name in {"redis", "anything.else"} or own.getvalue() == ""
    finally:
        for handler in handlers:
            library.removeHandler(handler)


def test_the_chatter_of_http_libraries_is_left_out():
    with set_up() as written:
        logging.getLogger("httpx").info("HTTP Request: PUT …")
        logging.getLogger("httpcore.http11").debug("send_request_headers")
    assert written.getvalue() == ""


def test_set_up_twice_a_line_is_written_once():
    with set_up() as written:
        logs.configure("INFO", json=True)
        structlog.get_logger("test").info("said")
    assert len(written.getvalue().splitlines()) == 1


def test_the_handlers_of_others_stay():
    other = logging.NullHandler()
    with set_up():
        logging.getLogger().addHandler(other)
        logs.configure("INFO", json=True)
        assert other in logging.getLogger().handlers


def test_a_line_that_cannot_be_formatted_is_reported_without_its_arguments():
    with set_up() as written:
        logging.getLogger("library").error("%d", "3001112233")
    assert written.getvalue() == "a log line of library could not be written\n"


def test_a_warning_goes_through_the_masks():
    with set_up() as written, warnings.catch_warnings():
        logging.captureWarnings(False)
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("call 3001112233", stacklevel=1)
    assert "call ***" in written.getvalue()


def test_bound_and_context_facts_are_masked_too():
    with set_up() as written, structlog.contextvars.bound_contextvars(caller="3001112233"):
        structlog.get_logger("test").bind(note="3001112233").info("said")
    line = json.loads(written.getvalue())
    assert (line["caller"], line["note"]) == ("***", "***")


UNCAUGHT = """
import sys, threading
from integration.telemetry import logging as logs
logs.configure("INFO", json=True)
def fail():
    raise ValueError("call " + "300" + "1112233")
thread = threading.Thread(target=fail, name="pusher")
thread.start()
thread.join()
fail()
"""


def test_what_nobody_caught_is_a_masked_line_too():
    done = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)
    first, second = map(json.loads, done.stderr.splitlines())
    assert done.returncode == 1
    assert (first["event"], second["event"]) == (
        "uncaught exception in pusher",
        "uncaught exception",
    )
    assert first["exception"].endswith("ValueError: call ***")
    assert second["exception"].endswith("ValueError: call ***")


def test_a_hook_that_was_there_before_stays():
    def mine(args: threading.ExceptHookArgs) -> None: ...

    before, threading.excepthook = threading.excepthook, mine
    try:
        with set_up():
            assert threading.excepthook is mine
    finally:
        threading.excepthook = before


def test_granian_writes_its_lines_through_the_same_masks():
    configure_logging(LogLevels.info)
    with set_up() as written:
        logging.getLogger("granian.access").info("POST /hooks/salesforce/open-sesame 202")
    line = json.loads(written.getvalue())
    assert line["event"] == "POST /hooks/salesforce/*** 202"
