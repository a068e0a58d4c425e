"""The rules of all kinds of sources: verify what the sender signed, reject changes, read the events."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from integration.domain.delivery import Delivery, ErrorAnswer
from integration.domain.errors import UnreadableError, UnsupportedTypeError
from integration.webhooks.providers import SOURCES
from integration.webhooks.verification import TOLERANCE
from support.provider_deliveries import cases, refused
from support.source_cases import (
    CASES,
    NOW,
    URL_KEY,
    Expected,
    SourceCase,
)

signed = pytest.mark.parametrize("case", [c for c in CASES if c.covers_body], ids=lambda case: case.id)


dated = pytest.mark.parametrize("case", [c for c in CASES if c.covers_time], ids=lambda case: case.id)


keyed = pytest.mark.parametrize("case", [c for c in CASES if c.url_key], ids=lambda case: case.id)


proofs = pytest.mark.parametrize(
    ("case", "header"),
    [pytest.param(c, h, id=f"{c.id}-{h}") for c in CASES for h in c.proof_headers],
)


def with_header(case: SourceCase, name: str, value: str | None) -> Delivery:
    delivery = case.delivery()
    headers = {key: kept for key, kept in delivery.headers.items() if key != name}
    return replace(delivery, headers=headers if value is None else {**headers, name: value})


def test_every_kind_of_source_has_a_case():
    assert {case.settings.kind for case in CASES} == set(SOURCES)


def test_every_sample_file_has_a_case():
    from support.source_cases import SAMPLES

    files = {f"{path.parent.name}/{path.name}" for kind in SOURCES for path in (SAMPLES / kind).iterdir()}
    assert files == {f"{case.settings.kind}/{case.file}" for case in CASES}


@cases
def test_what_the_sender_signed_is_verified(case):
    case.kind.verify(case.delivery(), case.settings, NOW)


@cases
def test_each_event_is_read_in_its_order(case):
    events = case.kind.read(case.delivery(), case.settings)

    assert len(events) == len(case.events)
    for event, expected in zip(events, case.events, strict=True):
        seen = event.data
        if isinstance(expected.data, dict):
            seen = {name: event.data[name] for name in expected.data}
        assert Expected(seen, event.dedup_key, event.occurred_at, event.lookup_id) == expected


@cases
def test_what_is_read_is_json(case):
    for event in case.kind.read(case.delivery(), case.settings):
        assert orjson.loads(orjson.dumps(event.data)) == event.data


@cases
def test_the_body_that_may_be_stored_reads_into_the_same_events(case):
    delivery = case.delivery()
    kept = replace(delivery, body=case.kind.stored_body(delivery, case.settings))
    assert case.kind.read(kept, case.settings) == case.kind.read(delivery, case.settings)


@signed
def test_a_body_changed_by_one_byte_is_refused(case):
    for place in (0, len(case.body) // 2, len(case.body) - 1):
        changed = bytearray(case.body)
        changed[place] ^= 1
        refused(case, case.delivery(body=bytes(changed)))


@signed
def test_an_empty_body_is_refused_where_the_proof_covers_it(case):
    refused(case, case.delivery(body=b""))


@pytest.mark.parametrize("case", [c for c in CASES if c.proof_headers], ids=lambda case: case.id)
def test_a_proof_made_with_another_secret_is_refused(case):
    other = case.settings.model_validate(case.settings.model_dump() | {"secrets": ("whsec_YW5vdGhlcg==",)})
    made = case.signed(settings=other)
    refused(case, case.delivery(headers=made))


@pytest.mark.parametrize("case", [c for c in CASES if c.proof_headers], ids=lambda case: case.id)
def test_any_of_several_secrets_is_accepted(case):
    rotated = case.settings.model_validate(
        case.settings.model_dump() | {"secrets": ("whsec_YW5vdGhlcg==", *case.settings.secrets)}
    )
    case.kind.verify(case.delivery(), rotated, NOW)


@proofs
def test_a_proof_that_is_absent_is_refused(case, header):
    refused(case, with_header(case, header, None))


@proofs
@pytest.mark.parametrize("value", ["", " ", "é", "\x00", "x\u2028y", "ﬀ" * 44], ids=ascii)
def test_a_proof_that_is_empty_or_no_ascii_is_refused(case, header, value):
    refused(case, with_header(case, header, value))


@proofs
def test_a_proof_sent_twice_is_refused(case, header):
    value = case.delivery().headers[header]
    refused(case, with_header(case, header, f"{value},{value}"))


@proofs
def test_a_proof_cut_short_is_refused(case, header):
    # The version of an old HubSpot signature cut to `v` names no version.
    refused(case, with_header(case, header, case.delivery().headers[header][:-1]))


@dated
@pytest.mark.parametrize("side", [1, -1], ids=["stale", "future"])
def test_a_timestamp_more_than_five_minutes_off_is_refused(case, side):
    assert (
        refused(case, case.delivery(), NOW + side * (TOLERANCE + timedelta(seconds=2))).check == "timestamp"
    )


@dated
@pytest.mark.parametrize("side", [1, -1], ids=["past", "future"])
def test_a_timestamp_exactly_five_minutes_off_passes(case, side):
    on_the_second = NOW.replace(microsecond=0)
    delivery = case.delivery(headers=case.signed(now=on_the_second))
    case.kind.verify(delivery, case.settings, on_the_second + side * TOLERANCE)


@keyed
@pytest.mark.parametrize(
    "url_key", [None, "", URL_KEY[:-1], URL_KEY + "x", URL_KEY.upper(), "é", "\ud800"], ids=ascii
)
def test_another_url_key_is_refused(case, url_key):
    assert refused(case, case.delivery(url_key=url_key)).check == "url_key"


@pytest.mark.parametrize("case", [c for c in CASES if not c.url_key], ids=lambda case: case.id)
def test_a_url_key_is_checked_wherever_one_is_configured(case):
    keyed_settings = case.settings.model_validate(case.settings.model_dump() | {"url_key": URL_KEY})
    case.kind.verify(case.delivery(url_key=URL_KEY), keyed_settings, NOW)
    refused(replace(case, settings=keyed_settings), case.delivery())


@pytest.mark.parametrize("case", [c for c in CASES if not c.url_key], ids=lambda case: case.id)
def test_a_url_key_that_nobody_configured_is_refused(case):
    assert refused(case, case.delivery(url_key=URL_KEY)).check == "url_key"


@cases
def test_a_content_type_the_source_does_not_read_is_unsupported(case):
    for wrong in ("image/png", "application/octet-stream", "application/jsonp"):
        delivery = with_header(case, "content-type", wrong)
        with pytest.raises(UnsupportedTypeError):
            case.kind.read(delivery, case.settings)


@cases
def test_a_body_is_read_in_the_charset_that_it_declares(case):
    bare = case.delivery().content_type
    expected = case.kind.read(case.delivery(), case.settings)
    for charset in ("UTF-8", "ISO-8859-1", "utf-16", "x-unknown"):
        codec = "utf-8" if charset == "x-unknown" else charset
        body = case.body.decode().encode(codec, "xmlcharrefreplace")
        delivery = replace(with_header(case, "content-type", f'{bare}; charset="{charset}"'), body=body)
        assert case.kind.read(delivery, case.settings) == expected
        assert (
            case.kind.read(
                replace(delivery, body=case.kind.stored_body(delivery, case.settings)), case.settings
            )
            == expected
        )


@cases
def test_a_body_cut_short_or_empty_is_unreadable_or_reads_without_a_crash(case):
    for body in (b"", b" ", b"\xff\xfe", b"{"):
        with pytest.raises(UnreadableError):
            case.kind.read(case.delivery(body=body), case.settings)
    try:
        case.kind.read(case.delivery(body=case.body[: len(case.body) // 2]), case.settings)
    except UnreadableError:
        assert not case.file.endswith(".form")


@cases
def test_an_error_keeps_its_status_and_retry_after(case):
    for status in (400, 401, 404, 413, 415, 503):
        refusal = ErrorAnswer(
            status=status, title="Not taken", detail="Say <why> & how", retry_after_seconds=5
        )
        answer = case.kind.acknowledge(case.delivery(), case.settings, refusal)
        assert answer.status == status
        assert answer.headers["Retry-After"] == "5"
        assert (b"&lt;why&gt;" in answer.body) or orjson.loads(answer.body) == {
            "type": "about:blank",
            "title": "Not taken",
            "status": status,
            "detail": "Say <why> & how",
        }
