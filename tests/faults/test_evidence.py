"""What a fault run reads at its end: no message of a broker can keep it from its verdict, and none hides a leak."""

from __future__ import annotations

import base64
import json

import pytest

from faults.chaos.evidence import leaks_in, message_text
from faults.chaos.settings import SECRETS

LEAK = '[["queue-1"], {"customer": "cust-s1", "phone": "3001112233"}, {}]'


def message(body, **properties):
    return json.dumps({"body": body, "properties": properties}).encode()


@pytest.mark.parametrize(
    "sent",
    [
        message(base64.b64encode(LEAK.encode()).decode(), body_encoding="base64"),
        message(LEAK, body_encoding=None),
        message({"args": LEAK}),
        json.dumps([LEAK]).encode(),
        LEAK.encode(),
        b"\xff\x00" + LEAK.encode(),
    ],
)
def test_a_leak_is_found_in_a_message_of_any_form(sent):
    leaks = list(leaks_in("a broker message", [message_text(sent)]))
    assert {leak.what for leak in leaks} == {"a customer", "a telephone"}
    assert all("3001112233" not in leak.line for leak in leaks if leak.what == "a telephone")


@pytest.mark.parametrize(
    "sent", [b"", b"null", b"{}", b"7", b'{"body": 7}', b'{"body": "\xc3\xa9"}', b"\xff"]
)
def test_any_bytes_are_read(sent):
    assert list(leaks_in("a broker message", [message_text(sent)])) == []


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_a_log_is_found(name):
    assert [leak.what for leak in leaks_in("web's log", ["all is well", f"key={SECRETS[name]}"])] == [
        f"the secret {name}"
    ]
