"""`ringback map`: the whole way of one sample, and nothing sent, stored or opened."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from integration.cli.context import CliContext
from integration.webhooks.providers import SOURCES
from support import ENVIRON, SOURCES_AND_ROUTES, hubspot_event, two_accounts, write_config
from support.cli_runner import Ringback

AT = "2026-03-01T15:00:00Z"
SALESFORCE = "tests/samples/salesforce/two_leads.xml"


@pytest.fixture
def run(tmp_path, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    return Ringback(write_config(tmp_path))


@pytest.fixture
def body(tmp_path):
    def body(value, name="body.json"):
        path = tmp_path / name
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return str(path)

    return body


def form(**more):
    return {"customer": "80123456", "phone": "+57 300 111 2233", "at": "2026-03-02T09:30:00", **more}


def sign(run, source, body, *, url="http://127.0.0.1:8080/hooks/forms", at=AT):
    """The headers that the source's sender would send, by the configuration of the test."""
    session = CliContext({**ENVIRON, "RINGBACK_CONFIG": str(run.config)})
    settings = session.source(source)
    now = datetime.fromisoformat(at)
    raw = json.dumps(body).encode()
    return SOURCES[settings.kind].sign(raw, settings, url=url, method="POST", message_id="msg_1", now=now)


# --- one event's way ---------------------------------------------------------------------------


def test_the_whole_way_of_a_recall_is_shown(run, body):
    way = run.json("map", "forms", body(form()), "--at", AT)
    (event,) = way["events"]
    assert event["outcome"] == "recall"
    assert (event["account"], event["route"]) == ("bogota", "form")
    assert event["routes"] == [{"route": "form", "matched": True, "why": "its `when` is true"}]
    assert [(f["name"], f["rendered"], f["value"]) for f in event["fields"]] == [
        ("campaign_id", "10", "10"),
        ("customer_id", "80123456", "80123456"),
        ("recall_telephone", "+57 300 111 2233", "3001112233"),
        ("recall_date", "2026-03-02T09:30:00", "2026-03-02T09:30:00-05:00"),
    ]
    assert event["schedule"] == {
        "requested_date": "2026-03-02T09:30:00-05:00",
        "recall_date": "2026-03-02T09:30:00-05:00",
        "notes": [],
    }
    assert way["good"] is True


def test_the_call_is_the_exact_one_without_the_token(run, body):
    shown = run.json("map", "forms", body(form()), "--at", AT)["events"][0]["call"]
    assert shown["method"] == "PUT"
    assert shown["url"] == (
        "http://127.0.0.1:9/api/v2/campaign.php?api=recall&type_campaign=predictive&campaign_id=10"
    )
    assert json.loads(shown["body"]) == {
        "recall_date": "20260302093000",
        "recall_telephone": "3001112233",
        "customer_id": "80123456",
    }
    assert "wolkvox-token" not in {name.lower() for name in shown["headers"]}


@pytest.mark.parametrize("how", [(), ("--json",)])
def test_no_secret_is_shown(run, body, how):
    shown = run("map", "forms", body(form()), *how).output + run("map", "salesforce", SALESFORCE, *how).output
    for secret in ENVIRON.values():
        assert secret not in shown


def test_the_words_for_people_tell_every_step(run, body):
    shown = run("map", "forms", body(form()), "--at", AT).stdout
    for words in (
        "verified  not checked; give the headers",
        "route 'form': takes it",
        "{{ event.phone }}  ->  '+57 300 111 2233'  ->  3001112233",
        "PUT http://127.0.0.1:9/api/v2/campaign.php",
        '"recall_telephone":"3001112233"',
        "1 recall. Nothing was sent.",
    ):
        assert words in shown


def test_a_date_that_is_moved_says_why(run, body):
    planned = run.json("map", "forms", body(form(at="2026-03-01T10:01:00")), "--at", AT)["events"][0][
        "schedule"
    ]
    assert planned["requested_date"] == "2026-03-01T10:01:00-05:00"
    assert planned["recall_date"] == "2026-03-01T10:30:00-05:00"
    assert "30 minutes" in planned["notes"][0]


def test_every_event_goes_its_own_way(run, body):
    events = [
        hubspot_event(77, "2026-03-02T15:00:00-05:00"),
        hubspot_event(78, "soon"),
        hubspot_event(79, ""),
        hubspot_event(80, "x", name="other"),
    ]
    way = run.json("map", "hubspot", body(events), "--at", AT, status=1)
    assert [event["outcome"] for event in way["events"]] == ["recall", "parked", "cancel", "ignored"]
    assert way["counts"] == {"recall": 1, "parked": 1, "cancel": 1, "ignored": 1}
    assert way["events"][1]["parked"]["field"] == "recall_date"
    assert way["events"][2]["cancel"] == {"campaign_id": "10", "customer_id": "79"}
    assert [route["matched"] for route in way["events"][3]["routes"]] == [False, False]
    assert all("false" in route["why"] for route in way["events"][3]["routes"])


def test_something_to_be_parked_is_status_1_and_named(run, body):
    done = run("map", "forms", body(form(phone="12")))
    assert done.exit_code == 1
    assert "would be PARKED\n" in done.stdout
    assert "parked: recall_telephone is" in done.stdout


def test_a_dry_run_says_that_the_call_would_not_be_made(run, body, tmp_path):
    write_config(tmp_path, two_accounts(more='mode = "dry-run"') + SOURCES_AND_ROUTES)
    path = body(form())
    assert run.json("map", "forms", path)["events"][0]["call"]["made"] is False
    assert "would not be made" in run("map", "forms", path).stdout


def test_a_late_event_is_shown_as_expired(run, body, tmp_path):
    write_config(tmp_path, two_accounts(more='late = "drop"') + SOURCES_AND_ROUTES)
    event = run.json("map", "forms", body(form(at="2020-01-01T10:00:00")))["events"][0]
    assert event["outcome"] == "expired"
    assert "call" not in event


# --- what it reads -----------------------------------------------------------------------------


def test_a_body_comes_from_standard_input_too(run):
    done = run("map", "forms", "-", "--json", standard_input=json.dumps(form()).encode())
    assert json.loads(done.stdout)["counts"] == {"recall": 1}


def test_salesforce_needs_no_headers_to_be_read(run):
    way = run.json("map", "salesforce", SALESFORCE, status=1)
    assert way["content_type"] == "text/xml"
    assert len(way["events"]) == 2


def test_a_form_body_is_reported_from_json_by_itself(run, body):
    path = body(b"customer=1&phone=3001112233&at=2030-01-01T10:00:00", "body")
    way = run.json("map", "forms", path)
    assert way["content_type"] == "application/x-www-form-urlencoded"
    assert way["counts"] == {"recall": 1}


def test_the_file_s_name_tells_its_type_where_the_body_does_not(run, body):
    assert run.json("map", "forms", body(b"12", "body.json"), status=1)["content_type"] == "application/json"


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b'{"a":' + b"[" * 5000])
def test_a_body_that_cannot_be_read_is_refused_and_status_1(run, body, raw):
    done = run("map", "forms", body(raw))
    assert done.exit_code == 1
    assert "refused" in done.stdout
    assert "Traceback" not in done.output


def test_a_body_over_the_limit_is_not_looked_at(run, body):
    assert run("map", "forms", body(b" " * (1024 * 1024 + 1))).exit_code == 2


def test_an_unknown_source_is_status_1_and_names_the_known_ones(run, body):
    done = run("map", "zoho", body({}))
    assert done.exit_code == 1
    assert "'zoho'. Known: forms, hubspot, salesforce" in done.stderr


def test_control_characters_of_a_sample_do_not_reach_the_terminal(run, body):
    assert "\x1b" not in run("map", "forms", body(form(customer="\x1b[2J"))).output


# --- verified ----------------------------------------------------------------------------------


def as_object(headers):
    return json.dumps(headers).encode()


def as_lines(headers):
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def as_request(headers):
    return b"POST /hooks/forms HTTP/1.1\r\n" + as_lines(headers)


@pytest.mark.parametrize("written", [as_object, as_lines, as_request])
def test_headers_are_really_verified(run, body, written):
    headers = body(written(sign(run, "forms", form())), "headers")
    way = run.json("map", "forms", body(form()), "--headers", headers, "--at", AT)
    assert way["verified"] == {"checked": True, "ok": True, "check": None, "why": None}


def test_a_forged_body_is_not_verified_and_status_1(run, body):
    headers = body(as_object(sign(run, "forms", form())), "headers")
    way = run.json("map", "forms", body(form(customer="2")), "--headers", headers, "--at", AT, status=1)
    assert way["verified"]["ok"] is False
    assert way["verified"]["check"] == "standard-webhooks"


def test_an_old_sample_is_stale_now_and_good_as_of_then(run, body):
    headers, path = body(as_object(sign(run, "forms", form())), "headers"), body(form())
    assert run.json("map", "forms", path, "--headers", headers, status=1)["verified"]["check"] == "timestamp"
    assert run.json("map", "forms", path, "--headers", headers, "--at", AT)["verified"]["ok"] is True


def test_the_signed_address_is_taken_from_the_headers_like_the_receiver_does(run, body):
    events = [hubspot_event(77, "2026-03-02T15:00:00-05:00")]
    signed = sign(run, "hubspot", events, url="https://hooks.example.com/hooks/hubspot")
    forwarded = {**signed, "X-Forwarded-Proto": "https", "X-Forwarded-Host": "hooks.example.com"}
    headers = body(as_object(forwarded), "headers")
    assert (
        run.json("map", "hubspot", body(events), "--headers", headers, "--at", AT)["verified"]["ok"] is True
    )


def test_the_signed_address_may_be_given(run, body):
    events = [hubspot_event(77, "2026-03-02T15:00:00-05:00")]
    url = "https://other.example.com/hooks/hubspot?x=1"
    headers = body(as_object(sign(run, "hubspot", events, url=url)), "headers")
    args = ("map", "hubspot", body(events), "--headers", headers, "--at", AT)
    assert run.json(*args, "--url", url)["verified"]["ok"] is True
    assert run.json(*args, status=1)["verified"]["ok"] is False


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/hooks/salesforce/" + ENVIRON["URL_KEY"], True),
        ("/hooks/salesforce/wrong-key-0123456789", False),
        ("/", False),
    ],
)
def test_the_key_in_a_given_address_is_compared(run, body, path, good):
    headers = body(as_object({"Content-Type": "text/xml"}), "headers")
    ours = Path(SALESFORCE).read_bytes().replace(b"00D5f000000AbCdEAK", b"00Dxx0000000000EAA")
    args = ("map", "salesforce", body(ours), "--headers", headers, "--url", f"https://h.example.com{path}")
    assert run.json(*args, status=1)["verified"]["ok"] is good


@pytest.mark.parametrize("written", [b"no colon here", b'{"a": ', b"Name: x\nrubbish"])
def test_headers_that_are_none_are_wrong_usage(run, body, written):
    done = run("map", "forms", body(form()), "--headers", body(written, "headers"))
    assert done.exit_code == 2


@pytest.mark.parametrize("at", ["yesterday", "2026-03-01", "2026-03-01T10:00:00"])
def test_a_moment_without_a_zone_is_wrong_usage(run, body, at):
    assert run("map", "forms", body(form()), "--at", at).exit_code == 2


# --- lookups -----------------------------------------------------------------------------------

LOOKUP = (
    SOURCES_AND_ROUTES.replace(
        'secrets = ["env:HUBSPOT_SECRET"]',
        'secrets = ["env:HUBSPOT_SECRET"]\n[sources.hubspot.lookup]\ntoken = "t-0"\nproperties = ["phone"]',
    )
    .replace('recall_telephone = "3001112233"', 'recall_telephone = "{{ contact.properties.phone }}"')
    .replace(
        "when = \"event.propertyName == 'callback_at' and", "when = \"event.propertyName == 'callback_at' and"
    )
)


@pytest.fixture
def looking_up(run, tmp_path):
    write_config(tmp_path, two_accounts() + LOOKUP)
    return run


def test_without_a_contact_the_event_waits_for_the_lookup(looking_up, body):
    way = looking_up.json("map", "hubspot", body([hubspot_event(77, "2030-03-02T15:00:00")]))
    assert way["counts"] == {"pending": 1}
    assert way["events"][0]["lookup_id"] == "77"


@pytest.mark.parametrize(
    "contact",
    [
        {"id": "77", "properties": {"phone": "3009998877"}},
        {"results": [{"id": "77", "properties": {"phone": "3009998877"}}, {"id": "5", "properties": {}}]},
    ],
)
def test_a_contact_stands_in_for_the_lookup(looking_up, body, contact):
    path = body([hubspot_event(77, "2030-03-02T15:00:00")])
    way = looking_up.json("map", "hubspot", path, "--contact", body(contact, "contact.json"))
    assert json.loads(way["events"][0]["call"]["body"])["recall_telephone"] == "3009998877"


def test_a_contact_that_is_not_json_is_wrong_usage(looking_up, body):
    assert looking_up("map", "hubspot", body([]), "--contact", body(b"{", "c.json")).exit_code == 2


def test_the_time_now_is_used_when_none_is_given(run, body):
    soon = datetime.now(UTC).isoformat(timespec="seconds")
    planned = run.json("map", "forms", body(form(at=soon)))["events"][0]["schedule"]
    moved = datetime.fromisoformat(planned["recall_date"]) - datetime.fromisoformat(planned["requested_date"])
    assert 29 * 60 < moved.total_seconds() < 31 * 60
