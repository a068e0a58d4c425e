"""Deliveries answered without the application: the same answers, and nothing that it should have seen first."""

from __future__ import annotations

import asyncio
import json
import re
import threading

import pytest
import sentry_sdk

from integration import app as web
from integration.app import compose
from integration.asgi import SMALL_BYTES, Gate
from integration.direct import Direct, headers_of
from integration.intake import Intake
from integration.problems import MAX_BODY_BYTES
from integration.receiver import receiver_blueprint
from support import ENVIRON, SOURCES_AND_ROUTES, NoRates, as_bytes, make_desk, signed, two_accounts

AT = "2030-01-01T10:00:00-05:00"
FORM = as_bytes({"customer": "c1", "phone": "3001112233", "at": AT})
KEY = ENVIRON["URL_KEY"]


class Webs:
    """One desk, behind the gate with the short way and without it."""

    def __init__(self, folder, store, text=None):
        self.desk = make_desk(folder, store, text)
        self.desk.bind()
        self.came = []
        app = compose(self.desk, NoRates())

        def seen(environ, start_response):
            self.came.append(environ["PATH_INFO"])
            return app(environ, start_response)

        self.intake = Intake(self.desk, NoRates())
        self.short = Gate(seen, direct=Direct(self.intake))
        self.long = Gate(app)

    def headers(self, source, body, path, message_id=None):
        told = signed(self.desk, source, body, url=f"http://hooks.example.com{path}", message_id=message_id)
        named = {name.lower().encode(): value.encode() for name, value in told.items()}
        return {b"host": b"hooks.example.com", b"content-length": b"%d" % len(body), **named}


@pytest.fixture
def webs(tmp_path, store):
    return Webs(tmp_path, store)


def ask(gate, path, headers, body, *, method="POST", raw_path=None):
    """Give status, headers and body of the answer to a request."""
    sent = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode() if raw_path is None else raw_path,
        "query_string": b"",
        "headers": list(headers.items()) if isinstance(headers, dict) else headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 5000),
    }

    async def receive():
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(gate(scope, receive, send))
    start, end = sent
    return start["status"], dict(start["headers"]), end["body"]


def without_names(body):
    """An answer's body without the ids that are new each time."""
    return re.sub(rb"\b(dl|rc|pk)_[0-9a-z]+", rb"\1_", body)


def same(webs, path, headers, body, **more):
    """Ask both ways; their answers must not differ but for new names. Gives the one of the short way."""
    short, long = (ask(gate, path, headers, body, **more) for gate in (webs.short, webs.long))
    assert short[0] == long[0]
    assert short[1] == long[1]
    assert without_names(short[2]) == without_names(long[2])
    return short


def test_a_plain_delivery_is_answered_as_by_the_application_without_it(webs):
    for number in range(2):
        headers = webs.headers("forms", FORM, "/hooks/forms", message_id=f"msg_{number}")
        status, _, body = ask(webs.short, "/hooks/forms", headers, FORM)
        assert status == 202
        assert len(json.loads(body)["recalls"]) == 1
        # Sent again it is the same delivery, whichever way it comes.
        assert ask(webs.long, "/hooks/forms", headers, FORM)[2] == body
    assert webs.came == []


DIRECT = {
    "not signed": ("/hooks/forms", {b"webhook-signature": None}, FORM),
    "signed for another body": ("/hooks/forms", {}, FORM.replace(b"c1", b"c2")),
    "not JSON": ("/hooks/forms", {}, b"{"),
    "another type": ("/hooks/forms", {b"content-type": b"text/plain"}, FORM),
    "another charset": ("/hooks/forms", {b"content-type": b"application/json; charset=utf-16"}, FORM),
    "no type": ("/hooks/forms", {b"content-type": b""}, FORM),
    "a form": ("/hooks/forms", {b"content-type": b"application/x-www-form-urlencoded"}, b"customer=c1"),
    "nothing that can be mapped": ("/hooks/forms", {}, as_bytes({"customer": "c1"})),
    "HubSpot": ("/hooks/hubspot", {}, b"[]"),
    "not XML": (f"/hooks/salesforce/{KEY}", {b"content-type": b"text/xml"}, b"<"),
    "a wrong key": ("/hooks/salesforce/wrong", {b"content-type": b"text/xml"}, b"<a/>"),
    "no key": ("/hooks/salesforce", {b"content-type": b"text/xml"}, b"<a/>"),
    "not packed, and says so": ("/hooks/forms", {b"content-encoding": b"identity"}, FORM),
}
APPLICATION = {
    "no such source": ("/hooks/nobody", {}, FORM, {}),
    "a key where there is none": ("/hooks/forms/key", {}, FORM, {}),
    "a further part": (f"/hooks/salesforce/{KEY}/more", {}, FORM, {}),
    "a slash at the end": ("/hooks/forms/", {}, FORM, {}),
    "an escaped address": ("/hooks/forms", {}, FORM, {"raw_path": b"/hooks/f%6frms"}),
    "an escaped key": ("/hooks/salesforce/a+b", {}, FORM, {"raw_path": b"/hooks/salesforce/a%2Bb"}),
    "read, not sent": ("/hooks/forms", {}, b"", {"method": "GET"}),
    "packed": ("/hooks/forms", {b"content-encoding": b"gzip"}, FORM, {}),
    "shorter than announced": ("/hooks/forms", {b"content-length": b"9999"}, FORM, {}),
    "too long": ("/hooks/forms", {}, b" " * (MAX_BODY_BYTES + 1), {}),
    "too long, and does not say so": (
        "/hooks/forms",
        {b"content-length": None},
        b" " * (MAX_BODY_BYTES + 1),
        {},
    ),
    "another address": ("/v1/recalls", {}, FORM, {}),
}


def changed(headers, changes):
    merged = {**headers, **changes}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize("case", DIRECT)
def test_what_is_not_taken_is_answered_as_by_the_application(webs, case):
    path, changes, body = DIRECT[case]
    source = path.split("/")[2]
    proved = FORM if case == "signed for another body" else body
    headers = {**webs.headers(source, proved, path), b"content-length": b"%d" % len(body)}
    same(webs, path, changed(headers, changes), body)
    assert webs.came == []


@pytest.mark.parametrize("case", APPLICATION)
def test_what_is_not_plain_is_left_to_the_application(webs, case):
    path, changes, body, more = APPLICATION[case]
    same(webs, path, changed(webs.headers("forms", body, "/hooks/forms"), changes), body, **more)
    assert len(webs.came) == (case != "an escaped address")


def test_a_source_with_a_limit_is_asked_about_where_that_may_wait(tmp_path, store):
    limited = SOURCES_AND_ROUTES.replace("[sources.forms]", "[sources.forms]\nrate_per_minute = 60")
    webs = Webs(tmp_path, store, two_accounts() + limited)
    headers = webs.headers("forms", FORM, "/hooks/forms")
    assert ask(webs.short, "/hooks/forms", headers, FORM)[0] == 202
    assert webs.came == ["/hooks/forms"]


def test_with_accounts_not_bound_the_application_binds_them(webs):
    webs.desk._bound = None
    headers = webs.headers("forms", FORM, "/hooks/forms")
    assert ask(webs.short, "/hooks/forms", headers, FORM)[0] == 202
    assert webs.came == ["/hooks/forms"]
    again = webs.headers("forms", FORM, "/hooks/forms", message_id="another")
    assert ask(webs.short, "/hooks/forms", again, FORM)[0] == 202
    assert len(webs.came) == 1


def test_where_sentry_listens_the_application_gets_all(webs, monkeypatch):
    class Listening:
        def is_active(self):
            return True

    assert compose(webs.desk, NoRates()).extensions[web.DIRECT] is not None
    monkeypatch.setattr(sentry_sdk, "get_client", Listening)
    assert compose(webs.desk, NoRates()).extensions[web.DIRECT] is None


def test_a_fault_of_ours_is_told_as_one_and_without_its_words(webs, monkeypatch):
    def fail(*_):
        raise ValueError("3001112233")

    monkeypatch.setattr("integration.intake.plan_delivery", fail)
    headers = webs.headers("forms", FORM, "/hooks/forms")
    status, told, body = same(webs, "/hooks/forms", headers, FORM)
    assert (status, told[b"content-type"]) == (500, b"application/problem+json")
    assert b"3001112233" not in body


@pytest.mark.parametrize(("size", "here"), [(10, True), (SMALL_BYTES, False)])
def test_a_small_delivery_is_thought_about_on_the_loop_and_a_large_one_is_not(webs, monkeypatch, size, here):
    threads, prepare = [], Intake.prepare

    def watched(self, settings, incoming):
        threads.append(threading.current_thread())
        return prepare(self, settings, incoming)

    monkeypatch.setattr(Intake, "prepare", watched)
    body = FORM + b" " * size
    assert ask(webs.short, "/hooks/forms", webs.headers("forms", body, "/hooks/forms"), body)[0] == 202
    assert (threads == [threading.current_thread()]) is here
    assert webs.came == []


def test_headers_have_the_names_that_the_application_gives_them(webs):
    pairs = [
        (b"x-two", b"a"),
        (b"x_two", b"b"),
        (b"content-type", b""),
        (b"x-empty", b""),
        (b"x-odd", b"\xe9"),
    ]
    assert headers_of(pairs) == {"x-two": "a,b", "x-empty": "", "x-odd": "\u00e9"}
    from flask import Flask

    kept, app = {}, Flask("test")

    class Keeping(Intake):
        def receive(self, settings, incoming):
            kept.update(incoming.headers)
            return super().receive(settings, incoming)

    app.register_blueprint(receiver_blueprint(Keeping(webs.desk, NoRates())))
    ask(Gate(app), "/hooks/forms", [(b"host", b"h"), *pairs], b"{}")
    assert {name: value for name, value in kept.items() if name.startswith("x-")} == {
        "x-two": "a,b",
        "x-empty": "",
        "x-odd": "\u00e9",
    }
