"""What other servers and people's fields may hold: numbers, dates, answers of wolkvox and HubSpot, log lines.

A hostile server is a stranger too: whatever it answers makes a verdict, or is refused in plain words.
"""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.clients.lookups import LookupFailedError, hubspot
from integration.clients.wolkvox_protocol import VerdictKind, decipher_response
from integration.domain import phone_numbers
from integration.domain.dates import parse_day, parse_format, parse_time_on
from integration.domain.errors import UnmappableError
from integration.domain.schedule import read_date
from integration.domain.schedule.calling_hours import PRESETS
from integration.mapping.routes import read_field
from integration.telemetry.redaction import mask_facts, mask_text
from support import ENVIRON, two_accounts, write_config
from support.fuzzing import bounded, examples, gone_bad

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
ANY_CHARACTERS = st.text(max_size=80) | st.text(
    st.characters(categories=["Nd", "Cf", "Zs", "Pd"]), max_size=80
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_CHARACTERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


# --- fields ----------------------------------------------------------------------------------

NUMBERS = ["3001112233", "+57 300 111 2233", "0057 (300) 111-2233", "tel:+573001112233", "044 55 1234 5678"]
DATES = [
    "2026-03-02T10:00:00-05:00",
    "20260302100000",
    "1772463600123",
    "2026-03-02",
    "02/03/2026 10:00 a. m.",
    "Mon, 02 Mar 2026 10:00:00 -0500",
    "2026-03-02T10:00:00-05:00[America/Bogota]",
    "/Date(1772463600123)/",
    "10:00:00.000Z",
]


@pytest.mark.parametrize("country", ["CO", "PE", "MX", "US", "AR", "ZZ"])
@examples(80)
@given(data=st.data())
def test_any_text_is_a_number_or_unmappable_without_its_digits(country, data):
    good = data.draw(st.sampled_from(NUMBERS))
    written = data.draw(ANY_CHARACTERS | gone_bad(good.encode()).map(lambda b: b.decode("utf-8", "replace")))
    with bounded(2.0):
        try:
            number = phone_numbers.read(written, country)
        except UnmappableError as error:
            told = str(error)
            assert len(written.strip()) < 7 or written.strip() not in told
            return
    dialled = phone_numbers.write("9{national}", number)
    assert dialled.isascii()
    assert dialled.isdecimal()


@examples(200)
@given(data=st.data())
def test_any_value_is_a_date_or_unmappable_without_its_text(data, accounts):
    good = data.draw(st.sampled_from(DATES))
    value = data.draw(JSON_VALUES | gone_bad(good.encode()).map(lambda b: b.decode("utf-8", "replace")))
    zone = ZoneInfo(data.draw(st.sampled_from(["America/Bogota", "America/Santiago", "Asia/Kathmandu"])))
    hours = data.draw(st.sampled_from([None, *PRESETS.values()]))
    account = accounts["bogota"].model_copy(update={"timezone": zone, "calling_hours": hours})
    for read in (
        lambda: read_date(account, value, NOW),
        lambda: parse_day(value),
        lambda: parse_format(value, "%d/%m/%Y %I:%M %p"),
        lambda: parse_time_on("2026-03-02", value),
    ):
        with bounded(2.0), contextlib.suppress(UnmappableError):
            moment = read()
            assert 1999 <= moment.year <= 2101


@pytest.mark.parametrize("name", ["campaign_id", "customer_id", "recall_telephone", "recall_date"])
@examples(100)
@given(value=JSON_VALUES)
def test_any_value_of_a_field_is_one_line_to_be_sent_or_unmappable(name, value, accounts):
    with contextlib.suppress(UnmappableError):
        made = read_field(name, value, accounts["bogota"], NOW)
        if isinstance(made, str):
            assert made == made.strip() != ""
            assert not set(made) & set("\0\r\n\x1b\x7f\x85\u2028\u2029")
            made.encode()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    from integration.services.configuration import watch_config

    path = write_config(tmp_path_factory.mktemp("accounts"), two_accounts())
    return watch_config(path, ENVIRON).current.accounts


# --- wolkvox ---------------------------------------------------------------------------------

ANSWERS = [
    b'{"code":202,"error":null,"msg":"Recall 80123456 3001112233 recorded"}',
    b'{"code":"403","error":"","msg":"Token limit exceeded"}',
    b"\xef\xbb\xbf<html><title>502</title></html>",
]
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "date", "content-type", "x"]),
    st.sampled_from(
        [
            *("60", "-1", "1e9", "999999999", "9999999999", "0.5", "", " ", "Mon, 02 Mar 2026 15:00:30 GMT"),
            *(
                "Mon, 02 Mar 2026 15:00:30 +9999",
                "1 Jan 0001 00:00:00 +2359",
                "31 Dec 9999 23:59:59 -2359",
                "soon",
            ),
        ]
    )
    | st.text(max_size=40),
)


def nested(levels):
    return b'{"code":202,"msg":' + b"[" * levels + b"]" * levels + b"}"


@examples(300)
@given(data=st.data())
def test_any_answer_of_wolkvox_makes_a_verdict(data):
    body = data.draw(
        gone_bad(data.draw(st.sampled_from(ANSWERS)))
        | st.binary(max_size=200)
        | st.integers(1, 3000).map(nested)
        | st.fixed_dictionaries({}, optional=dict.fromkeys(["code", "error", "msg"], JSON_VALUES)).map(
            lambda value: json.dumps(value).encode()
        )
    )
    status = data.draw(st.integers(0, 999))
    with bounded(2.0):
        verdict = decipher_response(
            status, data.draw(HEADERS), body, now=data.draw(st.sampled_from([NOW, None]))
        )
    assert verdict.kind in VerdictKind
    assert verdict.retry_after_seconds is None or 0 <= verdict.retry_after_seconds <= 3600
    if verdict.kind == VerdictKind.ACCEPTED:
        assert 200 <= status <= 299
        code = json.loads(body.removeprefix(b"\xef\xbb\xbf").decode("latin-1"))["code"]
        assert str(code).strip() in {"202", "202.0"}
    assert "3001112233" not in repr(verdict)


@pytest.mark.parametrize(
    "body",
    [
        *(nested(30_000), b'{"code":202,"msg":"' + b"a1 " * 21_000 + b'"}', b"{" * 65_536, b"9" * 65_536),
        *(b'{"msg":"' + b"\\u0041" * 10_000 + b'"}', b'{"code":"' + b"2" * 65_000 + b'"}', b"\xff" * 65_536),
    ],
    ids=range(7),
)
def test_the_longest_answer_of_wolkvox_takes_little_time(body):
    with bounded(2.0):
        decipher_response(200, {}, body, now=NOW)


# --- HubSpot ---------------------------------------------------------------------------------

CONTACTS = [
    b'{"status":"COMPLETE","results":[{"id":"51201","properties":{"phone":"+573001112233"}}]}',
    b'{"status":"error","category":"RATE_LIMITS","policyName":"DAILY","errors":[]}',
    b'{"results":[],"errors":[{"category":"OBJECT_NOT_FOUND","context":{"ids":["1","2"]}}]}',
]
LIMIT_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            *("retry-after", "x-hubspot-ratelimit-daily-remaining", "x-hubspot-ratelimit-remaining"),
            "x-hubspot-ratelimit-interval-milliseconds",
        ]
    ),
    st.sampled_from(
        ["0", "-1", "10000", "99999999", "Mon, 02 Mar 2026 15:00:30 GMT", "31 Dec 9999 23:59:59 -2359"]
    )
    | st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=30),
)


@examples(200)
@given(data=st.data())
def test_any_answer_of_hubspot_is_contacts_or_a_reason_to_ask_again_later(data):
    body = data.draw(gone_bad(data.draw(st.sampled_from(CONTACTS))) | st.binary(max_size=100) | JSON_VALUES.map(
        lambda value: json.dumps(value).encode()
    ))  # fmt: skip
    answer = httpx.Response(data.draw(st.integers(100, 599)), headers=data.draw(LIMIT_HEADERS), content=body)
    with bounded(2.0):
        gate = hubspot._TokenLimits()
        gate.update_from(answer, 0.0, NOW)
        assert gate._blocked[0] <= hubspot.DAILY_WAIT_SECONDS
        with contextlib.suppress(LookupFailedError):
            hubspot._raise_for_status(answer, ("contacts",))
        with contextlib.suppress(LookupFailedError):
            page = hubspot._page(answer, hubspot._is_record)
            assert all(isinstance(record["properties"], dict) for record in page.results)


# --- log lines -------------------------------------------------------------------------------


@examples(200)
@given(value=JSON_VALUES, key=st.text(max_size=12))
def test_any_value_can_be_masked_and_none_is_longer_than_its_parts(value, key):
    with bounded(2.0):
        orjson.dumps(mask_facts({key: value}), option=orjson.OPT_NON_STR_KEYS)


@pytest.mark.parametrize(
    "text",
    [
        *("1 " * 200_000, "token=" * 100_000, '"token":' * 100_000, "://" * 200_000, "/hooks/" * 100_000),
        *(
            "bearer " * 100_000,
            "a" * 1_000_000,
            "-" * 1_000_000,
            "\\x00" * 200_000,
            "'" * 500_000,
            "token='" * 99_999,
        ),
        *("1-" * 300_000, "2026-03-02 " * 90_000, "(" * 500_000 + ")" * 500_000, "x-api-key:\n" * 80_000),
    ],
    ids=range(15),
)
def test_the_longest_text_is_masked_in_little_time(text):
    with bounded(5.0):
        mask_text(text)
