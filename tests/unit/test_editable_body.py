"""Which stored bodies are edited as text, and that an unchanged text is the same bytes."""

from __future__ import annotations

import pytest
from flask import Flask
from flask_babel import Babel

from integration.dashboard.presenting.editable_body import LONGEST_BYTES, edited, why_not

XML = b'<?xml version="1.0"?>\r\n<a>\r\n  <b>1</b>\r\n</a>\r\n'


@pytest.fixture(autouse=True)
def request_context():
    app = Flask("test")
    Babel(app)
    with app.test_request_context():
        yield


def as_a_browser_sends(raw):
    return raw.decode().replace("\r\n", "\n").replace("\n", "\r\n")


@pytest.mark.parametrize("raw", [XML, XML.replace(b"\r\n", b"\n"), b"", b'{"n":12345678901234567890123}'])
def test_a_text_that_is_not_changed_is_the_same_bytes(raw):
    assert why_not({}, raw) == ""
    assert edited(raw, as_a_browser_sends(raw)) == raw


@pytest.mark.parametrize(
    ("raw", "content_type", "reason"),
    [
        ("a\u200db".encode(), "", "invisible"),
        (b"\xef\xbb\xbf{}", "", "invisible"),
        (b"a\r\nb\nc", "", "invisible"),
        (b"a\rb", "", "invisible"),
        (b"a\0b", "", "invisible"),
        (b"Jos\xe9", "text/plain; charset=latin-1", "not UTF-8"),
        (b"ab", "text/plain; charset=utf-16-le", "not UTF-8"),
        (b"--x\r\n", "Multipart/form-data; boundary=x", "multipart"),
        (b"x" * (LONGEST_BYTES + 1), "", "too long"),
    ],
)
def test_a_text_that_an_edit_could_change_has_a_reason(raw, content_type, reason):
    assert reason in why_not({"content-type": content_type}, raw)
