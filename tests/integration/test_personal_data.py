"""Erasing a person: no data of the person remains, and other customers keep theirs."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.recall import Filter, State
from integration.services.personal_data.matcher import PersonMatcher
from integration.store.token_queue import PushResult
from support import (
    SOURCES_AND_ROUTES,
    make_services,
    parked_events,
    two_accounts,
    url_of,
)
from support.cli_runner import Ringback
from support.dashboard_client import Pages
from support.hook_client import HookClient
from support.installation import Installation

NOW = datetime.now(UTC)
SOON = (NOW + timedelta(days=1)).replace(microsecond=0).isoformat()
CUSTOMER, NUMBER = "80123456", "3001112233"
OTHER, OTHER_NUMBER = "90999999", "3009998877"
LISTED = SOURCES_AND_ROUTES.replace(
    'kind = "json"', 'kind = "json"\nevents = "body.items"\ndedup_key = "{{ event.id }}"'
)


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, two_accounts() + LISTED)


class PersonalData(Installation):
    def __init__(self, services, run):
        super().__init__(services)
        self.run = run
        self.hooks = HookClient(services)
        self.sent = 0

    def send(self, *items, source="forms"):
        answer = self.hooks.post(source, {"items": list(items)})
        assert answer.status_code == 202, answer.text
        return answer.json

    def item(self, customer=CUSTOMER, phone=NUMBER, at=SOON, **more):
        self.sent += 1
        return {"id": f"e{self.sent}", "customer": customer, "phone": phone, "at": at, **more}

    def everything(self) -> str:
        """Return all values of the store as text, with decompressed bodies, without the code under test."""
        import zlib

        client, named = self.services.store.client, []
        for key in client.scan_iter("*"):
            named.append(key)
            kind = client.type(key)
            if kind == "hash":
                for name, value in client.hgetall(key).items():
                    named += [name, value]
                    if name == "body":
                        named.append(zlib.decompress(value.encode("utf-8", "surrogateescape")).decode())
            elif kind == "zset":
                named += client.zrange(key, 0, -1)
            elif kind == "stream":
                named += [
                    text for _, fields in client.xrange(key) for pair in fields.items() for text in pair
                ]
            elif kind == "string":
                named.append(client.get(key))
            elif kind == "set":
                named += client.smembers(key)
        return "\n".join(named)


@pytest.fixture
def installation(services, tmp_path, store):
    services.binding.bind()
    return PersonalData(services, Ringback(tmp_path / "ringback.toml", {"REDIS_URL": url_of(store)}))


def leave_traces_everywhere(installation):
    """Store data of the person and of another one in every kind of record."""
    installation.send(installation.item(), installation.item(OTHER, OTHER_NUMBER))
    claim = installation.claim()
    answer = f'{{"msg": "customer {CUSTOMER} at {NUMBER}"}}'
    installation.finish(
        claim, PushResult(kind="ended", state="dead", reason=f"refused {NUMBER}", answer=answer, passed=True)
    )
    installation.send(installation.item(campaign="20"), installation.item(OTHER, OTHER_NUMBER, campaign="20"))
    installation.send(
        installation.item(at="next week"), installation.item(OTHER, OTHER_NUMBER, at="next week")
    )
    installation.send(
        {"id": "e-ignored", "customer": CUSTOMER, "phone": "ignore me", "note": NUMBER},
        installation.item(OTHER, OTHER_NUMBER),
    )


def names_the_person(text, *, customer=True):
    found = [NUMBER in text, NUMBER[::-1][4:] in text]
    return any([*found, customer and CUSTOMER in text])


@pytest.mark.parametrize("how", [("--customer", CUSTOMER), ("--telephone", "+57 300 111 2233")])
def test_nothing_of_a_person_is_left_and_others_keep_their_recalls(installation, how):
    leave_traces_everywhere(installation)
    named = {"customer_id": CUSTOMER} if how[0] == "--customer" else {"telephones": (NUMBER,)}
    installation.services.bulk_jobs.begin("cancel", Filter(**named), who="ana", reason="no")
    assert names_the_person(installation.everything())
    others = {recall.id: recall.state for recall in installation.recalls(customer_id=OTHER)}
    assert others
    done = installation.run.json("forget", *how, "--yes")
    assert (done["pushing"], done["left"]) == ([], [])
    assert done["removed"]["recalls"] == 2
    text = installation.everything()
    assert [line for line in text.split("\n") if names_the_person(line)] == []
    assert {recall.id: recall.state for recall in installation.recalls()} == others
    parked = parked_events(installation.services)
    assert [OTHER in record["event"] for record in parked] == [True]
    (entry, *_) = installation.services.audit.page()[0]
    assert (entry.who, entry.what) == ("command line", "forget")
    assert not names_the_person(" ".join(entry.about))


def test_the_check_after_an_erasure_finds_remains(installation, monkeypatch):
    leave_traces_everywhere(installation)
    store = installation.services.store
    for key, write in (
        ("overlooked:text", lambda key: store.client.set(key, f"about {NUMBER}")),
        ("overlooked:list", lambda key: store.client.zadd(key, {f"x\0{CUSTOMER}": 1})),
        ("overlooked:hash", lambda key: store.client.hset(key, "tel", "+57 300-111 22.33")),
        ("overlooked:log", lambda key: store.client.xadd(key, {"who": NUMBER})),
        ("overlooked:set", lambda key: store.client.sadd(key, f"tel:{NUMBER}")),
    ):
        write(store.key(key))
    by_number = installation.run.json("forget", "--telephone", NUMBER, "--yes", status=1)
    assert sorted(by_number["left"]) == [f"overlooked:{n}" for n in ("hash", "log", "set", "text")]
    by_customer = installation.run.json("forget", "--customer", CUSTOMER, "--yes", status=1)
    assert by_customer["left"] == ["overlooked:list"]


def test_an_event_sent_again_after_its_customer_was_forgotten_is_still_the_same(installation):
    item = installation.item()
    first = installation.send(item)
    installation.run.json("forget", "--customer", CUSTOMER, "--yes")
    again = installation.send(item)
    assert again["recalls"] == first["recalls"]
    assert installation.recalls() == []


def test_an_older_request_of_a_forgotten_customer_is_not_pushed(tmp_path, store):
    text = LISTED.replace('kind = "json"', 'kind = "json"\nevent_time = "{{ event.said }}"')
    services = make_services(tmp_path, store, two_accounts() + text)
    services.binding.bind()
    installation = PersonalData(services, Ringback(tmp_path / "ringback.toml", {"REDIS_URL": url_of(store)}))

    def said(minutes):
        return (NOW - timedelta(minutes=minutes)).isoformat()

    installation.send(installation.item(said=said(5)))
    installation.run.json("forget", "--customer", CUSTOMER, "--yes")
    assert not names_the_person(installation.everything())
    installation.send(installation.item(said=said(9)))
    assert [recall.state for recall in installation.recalls()] == [State.CANCELLED]
    installation.send(installation.item(said=said(1)))
    assert [recall.state for recall in installation.recalls()] == [State.QUEUED, State.CANCELLED]


def test_the_marker_of_a_forgotten_customer_expires(installation):
    installation.send(installation.item())
    installation.run.json("forget", "--customer", CUSTOMER, "--yes")
    queue = installation.services.queues.bound()["bogota"]
    newest = installation.services.store.key(f"queue:{queue}:newest")
    assert installation.services.store.client.hlen(newest) == 1
    installation.services.deliveries.purge(before=NOW + timedelta(days=99))
    assert installation.services.store.client.hlen(newest) == 0


def test_a_queued_recall_is_not_sent_any_more_and_a_pushed_one_is_waited_for(installation, monkeypatch):
    from integration.cli import personal_data

    installation.send(installation.item(), installation.item(campaign="20"))
    claim = installation.claim()
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            installation.finish(claim, PushResult(kind="ended", state="accepted", reason="202", passed=True))

    monkeypatch.setattr(personal_data, "sleep", sleep)
    done = installation.run("forget", "--customer", CUSTOMER, "--yes")
    assert done.exit_code == 0, done.output
    assert len(waits) == 2
    assert re.search(r"2  recalls erased", done.output)
    assert installation.recalls() == []


def test_a_recall_that_is_pushed_for_too_long_is_reported(installation, monkeypatch):
    from integration.cli import personal_data

    monkeypatch.setattr(personal_data, "WAIT_SECONDS", 0)
    installation.send(installation.item())
    claim = installation.claim()
    done = installation.run.json("forget", "--customer", CUSTOMER, "--yes", status=1)
    assert done["pushing"] == [claim.recall_id]
    assert [recall.state for recall in installation.recalls()] == [State.PUSHING]


def test_forgetting_shows_the_counts_and_asks_for_confirmation(installation):
    installation.send(installation.item())
    asked = installation.run("forget", "--customer", CUSTOMER, standard_input=b"n\n")
    assert asked.exit_code == 1
    assert "1  recalls" in asked.output
    assert CUSTOMER not in asked.output
    assert len(installation.recalls()) == 1


@pytest.mark.parametrize(
    "args",
    [(), ("--customer", "1", "--telephone", NUMBER), ("--telephone", "2233"), ("--telephone", "hello")],
)
def test_forgetting_requires_a_customer_or_a_telephone(installation, args):
    assert installation.run("forget", *args, "--yes").exit_code == 2


def test_a_short_id_erases_no_events_of_others(installation):
    installation.send(
        installation.item("10"), installation.item(OTHER, OTHER_NUMBER, at="next week", campaign="10")
    )
    done = installation.run("forget", "--customer", "10", "--yes")
    assert done.exit_code == 0, done.output
    assert "fewer than 5 characters" in done.output
    assert len(parked_events(installation.services)) == 1


# --- giving out --------------------------------------------------------------------------------


def test_an_export_is_complete_and_has_no_data_of_others(installation):
    leave_traces_everywhere(installation)
    named = installation.run("export", "--customer", CUSTOMER)
    assert named.exit_code == 0, named.output
    assert OTHER not in named.stdout
    assert OTHER_NUMBER not in named.stdout
    import json

    history = json.loads(named.stdout)
    assert {recall["customer_id"] for recall in history["recalls"]} == {CUSTOMER}
    assert len(history["recalls"]) == 2
    assert [event["customer"] for one in history["deliveries"] for event in one["events"]] == [CUSTOMER] * 4
    assert [one["event"]["customer"] for one in history["parked"]] == [CUSTOMER]
    assert installation.services.audit.page()[0][0].what == "export"


def test_an_export_as_csv_has_no_formula(installation):
    installation.send(installation.item("=1+1", NUMBER, campaign="@SUM(1)"))
    named = installation.run("export", "--telephone", NUMBER, "--csv")
    (head, row) = csv.reader(io.StringIO(named.stdout))
    cells = dict(zip(head, row, strict=True))
    assert (cells["customer_id"], cells["campaign_id"]) == ("'=1+1", "'@SUM(1)")


# --- mentions ----------------------------------------------------------------------------------

RINGS = PersonMatcher(endings=(NUMBER,))
NAMES = PersonMatcher(customer=CUSTOMER)


@pytest.mark.parametrize(
    "text",
    [
        *(NUMBER, f"+57{NUMBER}", "+57 (300) 111-22.33", "tel=%2B57+300+111+2233", "300 111 2233 or so"),
        *("<Phone>300-111-2233</Phone>", '"300\\u00a0111\\u00a02233"', f"9{NUMBER}", "&#43;573001112233"),
    ],
)
def test_a_number_is_seen_however_it_is_written(text):
    assert RINGS.in_text(text)


@pytest.mark.parametrize(
    "text", ["3001112234", f"{NUMBER}4", "300111", "1234567890123456789" + NUMBER, "", "2233"]
)
def test_another_number_is_not_taken_for_it(text):
    assert not RINGS.in_text(text)


@given(st.text(st.sampled_from("0123456789 abc-_:"), max_size=40))
def test_an_id_is_seen_as_a_whole_word_only(text):
    words = re.findall(r"\w+", text)
    assert PersonMatcher(customer="c8012").in_text(text) == ("c8012" in words)
    customer = f"c{text.strip()}"
    assert replace(NAMES, customer=customer).in_text(f"[{customer}]") == (len(customer) >= 5)


SPELLINGS = ("52123456", "52.123.456", "52 123 456", "052123456", "00052.123.456", "52\u00a0123\u00a0456")


@pytest.mark.parametrize("asked", SPELLINGS)
@pytest.mark.parametrize("held", SPELLINGS)
def test_an_identity_number_is_seen_in_any_spelling(asked, held):
    person = PersonMatcher(customer=asked)
    assert person.is_customer(held)
    assert person.in_text(f"the customer {held}, again")
    assert person.in_value({"id": held})


@pytest.mark.parametrize(
    "text",
    [
        *(
            "521234567",
            "152123456",
            "52.123.456.789",
            "1.052.123.456",
            "52.1234.56",
            "52-123-456",
            "52,123,456",
        ),
        *("3.52123456", "52.123.4567", "5212345", "x52123456", "52123456.123"),
    ],
)
def test_another_identity_number_is_not_taken_for_it(text):
    assert not PersonMatcher(customer="52.123.456").in_text(text)


@pytest.mark.parametrize("asked", SPELLINGS)
def test_a_recall_is_found_and_erased_by_any_spelling_of_its_customer(installation, asked):
    for number, held in enumerate(SPELLINGS):
        installation.send(installation.item(held, f"30011122{number:02}"))
    installation.send(installation.item("52123457", OTHER_NUMBER))
    search = installation.services.recalls.records.search
    assert len(search.find(Filter(customer_id=asked), limit=50).ids) == len(SPELLINGS)
    assert len(search.find(Filter(about=asked, telephones=()), limit=50).ids) == len(SPELLINGS)
    done = installation.run.json("forget", "--customer", asked, "--yes")
    assert done["removed"]["recalls"] == len(SPELLINGS)
    assert [recall.customer_id for recall in installation.recalls()] == ["52123457"]


# --- on the dashboard --------------------------------------------------------------------------


def test_an_admin_exports_and_erases_on_the_dashboard(installation, services):
    leave_traces_everywhere(installation)
    admin = Pages(services, "admin")
    given_out = admin.post("/person/export", {"customer": CUSTOMER})
    assert given_out.headers["Content-Disposition"] == 'attachment; filename="history.json"'
    assert len(given_out.json["recalls"]) == 2
    assert OTHER not in given_out.text
    done = admin.post("/person/forget", {"telephone": "+57 300 111 2233"})
    assert "nothing is left" in done.text
    assert not names_the_person(done.text)
    assert [recall.customer_id for recall in installation.recalls()] == [OTHER] * 3
    assert [(entry.who, entry.what) for entry in services.audit.page()[0]] == [
        ("ana", "forget"),
        ("ana", "export"),
    ]


def test_the_dashboard_names_the_person_and_the_counts_before_it_erases(installation, services):
    leave_traces_everywhere(installation)
    admin = Pages(services, "admin")
    found = admin.post("/person", {"customer": f"0{CUSTOMER}"}).text
    question = re.search(r'data-ask="([^"]+)"', found)[1]
    assert f"0{CUSTOMER}: 2 recalls, " in question
    assert "1 parked event" in question
    assert re.search(r'<button type="submit" class="danger">', found)
    assert len(installation.recalls()) == 5, "nothing is erased by a search"
    assert [entry.what for entry in services.audit.page()[0]] == ["find person"]


@pytest.mark.parametrize("path", ["/person", "/person/forget"])
def test_finding_no_data_is_no_success(installation, services, path):
    leave_traces_everywhere(installation)
    text = Pages(services, "admin").post(path, {"customer": "52.123.456"}).text
    assert "No data of this person was found." in text
    assert "nothing is left" not in text
    assert 'class="danger"' not in text


@pytest.mark.parametrize("who", [{}, {"customer": "1", "telephone": NUMBER}, {"telephone": "2233"}])
@pytest.mark.parametrize("path", ["/person", "/person/export", "/person/forget"])
def test_the_dashboard_requires_a_customer_or_a_telephone(installation, services, who, path):
    assert Pages(services, "admin").post(path, who).status_code == 422
    assert services.audit.page()[0] == []


def test_only_admins_export_or_erase(installation, services):
    operator = Pages(services, "operator")
    assert operator.get("/person").status_code == 403
    for path in ("/person", "/person/export", "/person/forget"):
        assert operator.post(path, {"customer": CUSTOMER}).status_code == 403
