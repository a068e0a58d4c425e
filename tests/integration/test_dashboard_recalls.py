"""The pages about recalls: found, told whole, acted on, one and many; harmless whatever strangers sent."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace

import pytest
from werkzeug.test import Client

from integration.app import compose
from integration.domain.recall import Attempt, Filter, State
from integration.store.recalls import attempt_line
from integration.store.token_queue import Outcome, Terms
from support import ENVIRON, SOURCES_AND_ROUTES, NoRates, as_bytes, make_desk, signed, two_accounts
from support.dashboard_client import Pages, SignedIn
from support.seeded import fill

NOW = datetime.now(UTC)
SOON = (NOW + timedelta(days=1)).replace(microsecond=0)
NUMBER = "3001112233"
CUSTOMER = "80123456"
ROUTE = SOURCES_AND_ROUTES.replace('secrets = ["env:FORMS_SECRET"]', 'secrets = ["env:FORMS_SECRET"]')
TERMS = Terms(
    lease_seconds=67,
    quiet_seconds=62,
    daily_limit=None,
    day="2030-01-01",
    day_ends=datetime(2030, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def services(tmp_path, store):
    return make_desk(tmp_path, store, two_accounts() + ROUTE)


class World:
    def __init__(self, services):
        self.services = services
        self.pages = Pages(services)

    def form(self, customer=CUSTOMER, at=SOON, phone=NUMBER, **more):
        body = as_bytes({"customer": customer, "phone": phone, "at": at.isoformat(), **more})
        headers = signed(self.services, "forms", body, url="http://localhost/hooks/forms")
        app = compose(self.services, NoRates(), SignedIn())
        answer = Client(app).post("/hooks/forms", data=body, headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.json["recalls"], answer.json
        return answer.json["recalls"][0]

    def push(self, *outcomes):
        queue = self.services.queues.bound()["bogota"]
        claim = self.services.queues.acquire(queue, f"n{len(outcomes)}", TERMS).claim
        for step, outcome in enumerate(outcomes, start=1):
            self.services.queues.finish(queue, claim, step, outcome, more=False, terms=TERMS)

    def dead(self, **more):
        recall = self.form(**more)
        attempt = Attempt(
            started_at=NOW,
            seconds=0.2,
            http_status=400,
            code="400",
            msg=f"customer {CUSTOMER} with {NUMBER} is no good",
            outcome="refused",
        )
        self.push(
            Outcome(
                kind="ended",
                state="dead",
                reason="wolkvox refuses this recall",
                attempt=attempt_line(attempt),
                answer='{"msg": "no good", "customer_id": "80123456"}',
                passed=True,
            )
        )
        return recall

    def get(self, address):
        answer = self.pages.get(address)
        assert answer.status_code == 200, answer.text
        return unescape(answer.text)

    def audited(self):
        return [(entry.who, entry.what, entry.about) for entry in self.services.audit.page()[0]]


@pytest.fixture
def world(services):
    return World(services)


def ids_in(text):
    return re.findall(r'<tr id="(rc_\w+)"', text)


# --- the list ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    ["+57 300 111 2233", "300-111-2233", "2233", "0057 3001112233", CUSTOMER, "{id}", "{start}"],
)
def test_a_recall_is_found_by_whatever_people_know_of_it(world, typed):
    recall = world.form()
    world.form(customer="99", phone="3009998877")
    typed = typed.format(id=recall, start=recall[:11])
    assert ids_in(world.get("/recalls?q=" + typed.replace("+", "%2B"))) == [recall]


def test_the_crms_record_id_finds_its_recall(world, services):
    body = as_bytes({"customer": CUSTOMER, "phone": NUMBER, "at": SOON.isoformat()})
    headers = signed(services, "forms", body, url="http://localhost/hooks/forms", message_id="lead-4711")
    Client(compose(services, NoRates(), SignedIn())).post("/hooks/forms", data=body, headers=headers)
    assert len(ids_in(world.get("/recalls?q=lead-4711"))) == 1


def test_filters_live_in_the_address_and_combine(world):
    fill(world.services.store, 500, states=(State.DEAD, State.ACCEPTED))
    text = world.get("/recalls?state=dead&account=bogota&campaign=10&source=forms")
    found = ids_in(text)
    assert found
    for recall in world.services.recalls.records.read(found):
        assert (recall.state, recall.account, recall.campaign_id, recall.source) == (
            *(State.DEAD, "bogota", "10", "forms"),
        )
    assert '<option value="dead" selected>' in text
    assert 'value="10"' in text


def test_pages_go_on_with_their_filters(world):
    fill(world.services.store, 200, states=(State.DEAD,))
    first = world.get("/recalls?state=dead")
    older = re.search(r'rel="next" href="([^"]+)"', first)[1]
    assert "state=dead" in older
    assert len(ids_in(first)) == 50
    assert not set(ids_in(first)) & set(ids_in(world.get(older)))


def test_what_cannot_be_read_finds_nothing_and_says_so(world):
    world.form()
    text = world.get("/recalls?from=yesterday&state=lost")
    assert ids_in(text) == []
    assert "from, state" in text
    assert world.pages.get("/recalls?cursor=elsewhere").status_code == 400


def test_a_list_shows_nobodys_number(world):
    world.form()
    text = world.get("/recalls")
    assert NUMBER not in text
    assert CUSTOMER not in text


# --- one recall --------------------------------------------------------------------------------


def test_the_whole_story_is_on_one_page_without_saying_who_it_is(world):
    text = world.get(f"/recalls/{world.dead()}")
    for words in (
        *("dead", "wolkvox refuses this recall", "Attempt 1: refused", "HTTP 400", "standard-webhooks"),
        *("form", "{{ event.customer }}", "They are the same", "1 of 1", "campaign.php"),
    ):
        assert words in text
    assert NUMBER not in text
    assert CUSTOMER not in text
    for secret in ENVIRON.values():
        assert secret not in text


@pytest.mark.parametrize(
    ("what", "shows"),
    [
        *(("telephone", NUMBER), ("customer", CUSTOMER), ("event", NUMBER), ("body", CUSTOMER)),
        *(("curl", "$WOLKVOX_TOKEN"), ("request-1", NUMBER), ("answer-1", CUSTOMER), ("headers", "host")),
    ],
)
def test_a_reveal_shows_one_thing_and_is_written_down(world, what, shows):
    recall = world.dead()
    answer = world.pages.post(f"/recalls/{recall}/reveal/{what}", htmx=True)
    assert shows in unescape(answer.text)
    assert ("ana", f"reveal {what}", (recall,)) in world.audited()
    for secret in ENVIRON.values():
        assert secret not in answer.text


@pytest.mark.parametrize("what", ["secrets", "request-2", "request-0", "request-x", "answer"])
def test_what_is_not_there_is_not_revealed(world, what):
    recall = world.dead()
    assert world.pages.post(f"/recalls/{recall}/reveal/{what}").status_code == 404
    assert world.audited() == []


def test_a_viewer_reveals_and_changes_nothing(world, services):
    recall = world.dead()
    viewer = Pages(services, "viewer")
    for address in ("reveal/telephone", "retry", "cancel"):
        assert viewer.post(f"/recalls/{recall}/{address}").status_code == 403
    assert viewer.get("/recalls/bulk?kind=retry").status_code == 403
    assert "Retry" not in viewer.get(f"/recalls/{recall}").text.split("<main")[1]


def test_a_mapping_by_another_configuration_says_so(world, tmp_path, store):
    recall = world.form()
    assert "has changed since" not in world.get(f"/recalls/{recall}")
    other = World(make_desk(tmp_path, store, two_accounts(more="min_lead_minutes = 5") + ROUTE))
    assert "has changed since" in other.get(f"/recalls/{recall}")


def test_a_date_that_was_moved_says_why(world):
    text = world.get(f"/recalls/{world.form(at=NOW - timedelta(hours=2))}")
    assert "the date was past, late = asap: moved to 30 minutes from now" in text


def test_a_queued_recall_says_what_it_waits_for(world):
    world.form(customer="1", at=SOON)
    second = world.form(customer="2", at=SOON + timedelta(hours=1))
    world.services.accounts.pause("bogota", "the campaign is being changed")
    text = world.get(f"/recalls/{second}")
    assert "the campaign is being changed" in text
    assert re.search(r"Before it in the queue</dt><dd>1<", text)


def test_superseded_and_superseding_lead_to_each_other(world):
    older, newer = world.form(), world.form()
    assert f'/recalls/{newer}"' in world.get(f"/recalls/{older}")
    text = world.get(f"/recalls/{newer}")
    assert "It took the place of" in text
    assert f'/recalls/{older}"' in text


def test_retry_and_cancel_do_it_and_say_so(world):
    recall = world.dead()
    assert "Queued again." in world.pages.post(f"/recalls/{recall}/retry").text
    assert world.services.recalls.records.get(recall).reason == "retried by ana"
    assert "Taken back" in world.pages.post(f"/recalls/{recall}/cancel").text
    assert world.services.recalls.records.get(recall).state is State.CANCELLED
    assert [what for _, what, _ in world.audited()] == ["cancel", "retry"]


def test_an_action_on_what_changed_meanwhile_says_what_it_is_now(world):
    recall = world.dead()
    world.services.recalls.retry(recall, "by somebody else", NOW)
    answer = world.pages.post(f"/recalls/{recall}/retry")
    assert answer.status_code == 409
    assert "queued" in answer.text
    assert world.audited() == []


def test_a_purged_recalls_page_says_so(world):
    recall = world.dead()
    world.services.deliveries.purge(before=datetime(2100, 1, 1, tzinfo=UTC))
    answer = world.pages.get(f"/recalls/{recall}")
    assert answer.status_code == 404
    assert "purged" in answer.text


def test_a_recall_whose_delivery_is_not_kept_is_shown_all_the_same(world, store):
    recall = world.dead()
    store.delete(*store.scan_iter("{ringback}:delivery:*"))
    text = world.get(f"/recalls/{recall}")
    assert "not kept any more" in text
    assert "Attempt 1: refused" in text


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "bidi": "abc\u202egnp.exe",
    "long": "x" * 10_000,
    "emoji": "👩‍👩‍👧 ☎️",
    "nul": "a\x00b\x1b[31mc",
    "quote": '" onmouseover="alert(1)\' &lt;',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_in_any_field_is_shown_harmlessly(world, name):
    text = HOSTILE[name]
    recall = world.form(note=text, **{text[:200]: text})
    for address in (f"/recalls/{recall}", "/recalls", "/calendar"):
        raw = world.pages.get(address).text
        assert "<script>alert" not in raw
        assert "\u202e" not in raw
        assert "\x00" not in raw
        assert "\x1b" not in raw
        assert ' onmouseover="alert' not in raw
    for what in ("event", "body"):
        raw = world.pages.post(f"/recalls/{recall}/reveal/{what}", htmx=True).text
        assert "<script>alert" not in raw
        assert not set("\u202e\x00\x1b") & set(raw)


def test_hostile_customers_and_campaigns_are_shown_harmlessly(world):
    evil = "<img src=x onerror=alert(1)>\u202e"
    recall = world.form(customer=evil, campaign=evil)
    for address in (f"/recalls/{recall}", "/recalls", "/calendar", f"/calendar?day={SOON.date()}"):
        raw = world.pages.get(address).text
        assert "<img" not in raw
        assert "\u202e" not in raw


# --- many --------------------------------------------------------------------------------------


def test_many_are_counted_then_retried_with_progress(world):
    fill(world.services.store, 300, states=(State.DEAD,))
    counted = world.get("/recalls/bulk?kind=retry&campaign=10")
    number = world.services.recalls.records.search.count(Filter(campaign_id="10"), budget_seconds=None).number
    assert f"<b>{number}</b>" in counted
    page = world.pages.post("/recalls/bulk", {"kind": "retry", "campaign": "10", "total": number})
    assert page.status_code == 200
    (job,) = world.services.bulk_jobs.latest()
    assert (job.who, job.total, job.which.campaign_id) == ("ana", number, "10")
    while world.services.bulk_jobs.advance(job.id, "w1", world.services.config.accounts, NOW):
        pass
    text = world.get(f"/jobs/{job.id}")
    assert f"<b>{number}</b>" in text
    assert job.id in world.get("/jobs")
    assert ("ana", "begin retry of many", (job.id,)) in world.audited()


def test_counting_goes_on_where_it_stopped(world, monkeypatch):
    from integration.store import search

    fill(world.services.store, 300, states=(State.DEAD,))
    monkeypatch.setattr(search, "STEP", 50)
    search_ = world.services.recalls.records.search
    seconds = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        search_, "_clock", lambda: seconds.__setattr__("now", seconds.now + 0.1) or seconds.now
    )
    text, rounds = world.get("/recalls/bulk?kind=retry&campaign=10"), 1
    while going_on := re.search(r'hx-get="(/recalls/bulk[^"]+)"', text):
        text, rounds = world.get(going_on[1]), rounds + 1
    monkeypatch.undo()
    number = search_.count(Filter(campaign_id="10"), budget_seconds=None).number
    assert rounds > 2
    assert f"<b>{number}</b>" in text


def test_a_running_job_can_be_stopped(world):
    fill(world.services.store, 50, states=(State.DEAD,))
    world.pages.post("/recalls/bulk", {"kind": "retry", "total": "50"})
    (job,) = world.services.bulk_jobs.latest()
    assert "Stopped" in world.pages.post(f"/jobs/{job.id}/stop").text
    assert world.services.bulk_jobs.get(job.id).state == "stopped"
    assert "had ended already" in world.pages.post(f"/jobs/{job.id}/stop").text


@pytest.mark.parametrize("kind", ["", "delete"])
def test_only_what_there_is_can_be_done_to_many(world, kind):
    assert world.pages.post("/recalls/bulk", {"kind": kind}).status_code == 400


# --- the calendar ------------------------------------------------------------------------------


def test_the_calendar_counts_by_hour_and_campaign_and_leads_to_the_recalls(world):
    at = (NOW + timedelta(days=1)).replace(minute=10, second=0, microsecond=0)
    mine = {world.form(customer=f"c{n}", at=at, campaign="20") for n in range(3)}
    world.form(customer="other", at=at + timedelta(hours=1), campaign="30")
    zone = world.services.config.accounts["bogota"].timezone
    day = at.astimezone(zone).date()
    text = world.get(f"/calendar?account=bogota&day={day}")
    cell = re.search(r'<a href="(/recalls\?[^"]*campaign=20[^"]*)"[^>]*>3</a>', text)
    assert set(ids_in(world.get(cell[1]))) == mine


def test_past_due_and_out_of_hours_are_marked(tmp_path, store):
    hours = 'calling_hours = { every_day = ["00:00-00:01"] }'
    world = World(make_desk(tmp_path, store, two_accounts(more="min_lead_minutes = 0") + ROUTE))
    world.form(at=NOW + timedelta(hours=2))
    shut = World(make_desk(tmp_path, store, two_accounts(more=hours) + ROUTE))
    assert "closed" in re.search(r'<td class="heat heat-[1-5] ([^"]*)"', shut.get("/calendar"))[1]
    fill(world.services.store, 30, states=(State.QUEUED,), ending=NOW - timedelta(days=20), days=1)
    text = world.get("/calendar")
    assert re.search(r"Past due</a></dt>\s*<dd><b>\d+</b>", text)
