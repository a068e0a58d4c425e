"""What is masked, wherever it stands, and what stays readable."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from integration.telemetry import redaction
from integration.telemetry.redaction import (
    forget_secrets,
    mask_facts,
    mask_text,
    remember_secrets,
    secrets_of,
)


def mask_value(value, key=""):
    """A value of a log line as it is written."""
    (masked,) = mask_facts({key: value}).values()
    return masked


DIGITS = st.text("0123456789", min_size=9, max_size=15)
BETWEEN = st.sampled_from(
    ["", " ", "-", ".", " - ", ") ", "\u00a0", "\u2011", "\u200b", "/", "\\xa0", "\\u200b", "\\t"]
)


@st.composite
def telephones(draw: st.DrawFn) -> str:
    """A number as people write it: in groups, or in one piece, with or without what comes before."""
    digits, between = draw(DIGITS), draw(BETWEEN)
    cut = sorted({3, 6, draw(st.integers(1, 8))})
    groups = [digits[a:b] for a, b in zip([0, *cut], [*cut, None], strict=True)]
    number = draw(st.sampled_from(["", "+", "00", "tel:", "("])) + between.join(groups)
    assume(not is_near(number))
    return number


def is_near(text: str) -> bool:
    """Whether a text is the address of a machine near by, which log lines may show."""
    try:
        return ip_address(text).is_private
    except ValueError:
        return False


def shows(number: str, text: str) -> bool:
    """Whether the digits of a number stand in a text in their order, whatever little is between them."""
    digits = re.sub(r"\\(x..|u....)|\D", "", number)
    return re.search(r"(?:\D|\\x..|\\u....){0,8}".join(digits), text) is not None


@dataclass
class NamedValue:
    note: str


class Shape(Enum):
    ONE = 1


NOISE = st.text(st.characters(codec="utf-8", exclude_categories=["Nd"]), max_size=12)
KEYS = st.sampled_from(["note", "reason", "url", "recall", "delivery", "id", "why", "nested", "detail"])


def holding(leaf: Any) -> st.SearchStrategy[Any]:
    """The value, anywhere in what a log line may carry."""

    def inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return st.one_of(
            st.lists(inner, min_size=1, max_size=3),
            st.dictionaries(KEYS, inner, min_size=1, max_size=2),
            inner.map(lambda value: (1, value)),
            inner.map(lambda value: {"other": None, "value": value}),
            inner.map(lambda value: NamedValue(str(value))),
            inner.map(lambda value: ValueError(str(value))),
        )

    texts = st.builds("{}{}{}".format, NOISE, st.just(leaf), NOISE)
    start = st.one_of(texts, texts.map(str.encode), texts.map(lambda text: {text: 1}), st.just(leaf))
    return st.recursive(start, inside, max_leaves=4)


@given(st.data(), telephones(), KEYS)
def test_a_telephone_anywhere_in_a_lines_facts_never_comes_out(data, number, key):
    value = mask_value(data.draw(holding(number)), key)
    assert not shows(number, json.dumps(value, ensure_ascii=False))
    assert not shows(number, repr(value))


@given(st.data(), st.from_regex(r"[A-Za-z0-9+/=_.~-]{8,64}", fullmatch=True), KEYS)
def test_a_configured_secret_anywhere_in_a_lines_facts_never_comes_out(data, secret, key):
    remember_secrets([secret])
    try:
        value = mask_value(data.draw(holding(secret)), key)
        assert secret not in json.dumps(value, ensure_ascii=False)
        assert secret not in repr(value)
    finally:
        forget_secrets()


@given(st.integers(1_000_000, 10**20))
def test_a_number_of_seven_digits_is_masked_also_where_it_is_no_text(number):
    assert mask_value(number, "note") == "***"
    assert mask_value(-number, "note") == "***"
    assert mask_value(float(number), "note") == "***"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23",
        "2026-11-23T16:03:42Z",
        "2026-11-23T16:03:42.123456-05:00",
        "2026-11-23 16:03:42 +0000",
        "127.0.0.1:8080",
        "0.0.0.0:8080 and 192.168.100.200 and 172.31.255.1 and 10.20.30.40.",
        "Task workers.tasks.take_drain[d3b07384-d113-4ec6-a1b0-1234567890ab] received",
        "wolkvox answered 202 in 1.25 s",
        "accounts.bogota.token is a text of 12 characters. Use one that is not empty.",
        "signature v3: no secret matches",
        "http://127.0.0.1:43121/healthz",
        "basic or bearer only",
        "monkey=7",
    ],
)
def test_what_an_operator_needs_stays_readable(text):
    assert mask_text(text) == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("recall", "rc_3f1234567890"),
        ("delivery", "dl_0123456789abcdef"),
        ("queue", "12345678901234567890abcdef012345"),
        ("duration_ms", 12_345_678),
        ("size_bytes", 10_485_760),
        ("seconds", 0.0312345678),
        ("pid", 4_194_304),
        ("port", 8080),
        ("monkey", "banana"),
        ("author", "somebody"),
    ],
)
def test_our_own_ids_and_measures_stay_readable(key, value):
    assert mask_value(value, key) == value


@pytest.mark.parametrize("key", ["recall", "queue", "id"])
@pytest.mark.parametrize("value", ["3001112233", "1234567890123456", "+57 300 111 2233", "tel_300 1112233"])
def test_a_number_that_takes_an_ids_place_is_masked(key, value):
    assert not shows(value, mask_value(value, key))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:open-sesame@host:6379/0", "redis://***@host:6379/0"),
        ("rediss://:open@sesa/me@host", "rediss://***@host"),
        ("POST /hooks/salesforce/open-sesame?a=1", "POST /hooks/salesforce/***?a=1"),
        ("Authorization: Bearer open-sesame", "Authorization: ***"),
        ("sent Bearer open-sesame to it", "sent Bearer *** to it"),
        ("?a=1&token=open-sesame&b=2", "?a=1&token=***&b=2"),
        ("Call(customer_id='C \\'1', n=2)", "Call(customer_id=***, n=2)"),
        ('{"access_token": "open\\"sesame", "n": 2}', '{"access_token": ***, "n": 2}'),
        ("{'msg': b'the customer', 'n': 2}", "{'msg': ***, 'n': 2}"),
        ("wolkvox-token: open sesame\r\nAccept: */*", "wolkvox-token: ***\nAccept: */*"),
        ("password='never closed", "password=***"),
    ],
)
def test_secrets_in_texts_are_masked_where_their_name_stands_beside_them(text, shown):
    assert mask_text(text) == shown


def test_a_secret_is_masked_in_every_form_it_may_take():
    remember_secrets(['se"cr/et ñ'])
    try:
        for text in ('se"cr/et ñ', "se%22cr/et%20%C3%B1", "se%22cr%2Fet%20%C3%B1", 'x se\\"cr/et \\u00f1 y'):
            masked = mask_text(text)
            assert "***" in masked
            assert "cr" not in masked
    finally:
        forget_secrets()


def test_the_password_of_a_login_is_hidden_also_alone_and_short_texts_are_not_hidden():
    remember_secrets(["user:open-sesame", "on", "a"])
    try:
        assert mask_text("open-sesame is on a list") == "*** is on a list"
    finally:
        forget_secrets()


def test_a_longer_secret_is_masked_whole_though_a_shorter_one_begins_like_it():
    remember_secrets(["abcdef", "abcdefgh"])
    remember_secrets(["abcdefghij"])
    try:
        assert mask_text("<abcdefghij abcdefgh abcdef>") == "<*** *** ***>"
    finally:
        forget_secrets()


def test_every_secret_of_a_configuration_is_found():
    class Inner(BaseModel):
        token: SecretStr

    class Outer(BaseModel):
        accounts: dict[str, Inner]
        secrets: tuple[SecretStr, ...]
        name: str

    outer = Outer(accounts={"a": Inner(token="one")}, secrets=("two", "three"), name="four")
    assert secrets_of(outer) == {"one", "two", "three"}


@pytest.mark.parametrize(
    "evil",
    [
        *("a" * 200_000, "1 " * 100_000, "://" * 50_000, "token" * 40_000, "\n" * 200_000),
        *(
            "token='" + "\\" * 200_000,
            "1.1." * 50_000,
            "2026-11-" * 20_000,
            "abcdef-" * 30_000,
            '"' * 200_000,
        ),
        *("\\xa0" * 40_000, "1" + "\\x2" * 50_000, "/hooks/" * 30_000, "bearer " * 30_000),
    ],
    ids=lambda evil: repr(evil[:8]),
)
def test_a_long_text_made_to_be_slow_is_not(evil):
    begun = time.process_time()
    mask_text(evil)
    # Two seconds of this process's own work: a hundred times what it takes, and far from quadratic.
    assert time.process_time() - begun < 2


PIECES = st.sampled_from(
    [
        *(
            "token",
            "Secret",
            "passwd",
            "PASSWORD",
            "Authorization",
            "api_key",
            "url-key",
            "credential",
            "cookie",
        ),
        *(
            "session_id",
            "signature",
            "telephone",
            "mobile",
            "customer_id",
            "msg",
            "Bearer ",
            "basic ",
            "://u:p@",
        ),
        *(
            "/hooks/a/b",
            "=",
            ": ",
            '": ',
            "'x'",
            "longer-than-8",
            "\n",
            "\u017f",
            "\u0131",
            "\u212a",
            "1",
            "2-3",
        ),
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=8).map("".join))
def test_a_text_that_is_not_searched_by_the_rules_matches_none(text):
    if not redaction._may_name_a_secret(text):
        assert not any(pattern.search(text) for pattern, _ in redaction._TEXT_RULES)
    if not redaction._may_hold_a_number(text):
        assert redaction._NUMBERS.sub(lambda found: found["keep"] or "***", text) == text


@given(st.text(max_size=30), st.text("0123456789", min_size=1, max_size=15))
def test_a_name_of_a_customer_is_masked_in_words(words, name):
    assert not re.search(rf"(?<!\w){name}(?!\w)", redaction.mask_names(f"{words} {name} {words}", [name]))
