"""The pages about recalls: found, told whole, acted on, one and many; harmless whatever strangers sent."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from integration.clients.wolkvox_protocol import VerdictKind
from integration.domain.recall import Attempt, Filter, State
from integration.store.recalls import encoded_attempt
from integration.store.token_queue import PushResult
from support import ENVIRON, SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import HookClient
from support.installation import Installation
from support.seeded import fill

NOW = datetime.now(UTC)
SOON = (NOW + timedelta(days=1)).replace(microsecond=0)
NUMBER = "3001112233"
CUSTOMER = "80123456"
ROUTE = SOURCES_AND_ROUTES.replace('secrets = ["env:FORMS_SECRET"]', 'secrets = ["env:FORMS_SECRET"]')


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, two_accounts() + ROUTE)


class RecallPages(Installation):
    def __init__(self, services):
        super().__init__(services)
        self.pages = Pages(services)

    def form(self, customer=CUSTOMER, at=SOON, phone=NUMBER, **more):
        form = {"customer": customer, "phone": phone, "at": at.isoformat(), **more}
        answer = HookClient(self.services).post("forms", form)
        assert answer.status_code == 202, answer.text
        assert answer.json["recalls"], answer.json
        return answer.json["recalls"][0]

    def dead(self, words="0000", **more):
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
            PushResult(
                kind="ended",
                state="dead",
                reason="wolkvox rejected the callback; its answer gives the reason",
                attempt=encoded_attempt(attempt),
                answer='{"msg": "no good", "customer_id": "80123456"}',
                words=words,
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
def installation(services):
    return RecallPages(services)


def ids_in(text):
    return re.findall(r'<tr id="(rc_\w+)"', text)


# --- the list ----------------------------------------------------------------------------------


def test_filters_live_in_the_address_and_combine(installation):
    fill(installation.services.store, 500, states=(State.DEAD, State.ACCEPTED))
    text = installation.get("/recalls?state=dead&account=bogota&campaign=10&source=forms")
    found = ids_in(text)
    assert found
    for recall in installation.services.recalls.records.read(found):
        assert (recall.state, recall.account, recall.campaign_id, recall.source) == (
            *(State.DEAD, "bogota", "10", "forms"),
        )
    assert '<option value="dead" selected>' in text
    assert 'value="10"' in text


def test_pages_go_on_with_their_filters(installation):
    fill(installation.services.store, 200, states=(State.DEAD,))
    first = installation.get("/recalls?state=dead")
    older = re.search(r'rel="next" href="([^"]+)"', first)[1]
    assert "state=dead" in older
    assert len(ids_in(first)) == 50
    assert not set(ids_in(first)) & set(ids_in(installation.get(older)))


def test_what_cannot_be_read_finds_nothing_and_says_so(installation):
    installation.form()
    text = installation.get("/recalls?from=yesterday&state=lost")
    assert ids_in(text) == []
    assert "from, state" in text
    assert installation.pages.get("/recalls?cursor=elsewhere").status_code == 400


def test_a_list_shows_nobodys_number(installation):
    installation.form()
    text = installation.get("/recalls")
    assert NUMBER not in text
    assert CUSTOMER not in text


# --- one recall --------------------------------------------------------------------------------


def test_the_whole_story_is_on_one_page_without_saying_who_it_is(installation):
    text = installation.get(f"/recalls/{installation.dead()}")
    for words in (
        *(
            "dead",
            "wolkvox rejected the callback; its answer gives the reason",
            "Attempt 1: rejected",
            "HTTP 400",
            "standard-webhooks",
        ),
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
def test_a_reveal_shows_one_thing_and_is_written_down(installation, what, shows):
    recall = installation.dead()
    answer = installation.pages.post(f"/recalls/{recall}/reveal/{what}", htmx=True)
    assert shows in unescape(answer.text)
    assert ("ana", f"reveal {what}", (recall,)) in installation.audited()
    for secret in ENVIRON.values():
        assert secret not in answer.text


@pytest.mark.parametrize("what", ["secrets", "request-2", "request-0", "request-x", "answer"])
def test_what_is_not_there_is_not_revealed(installation, what):
    recall = installation.dead()
    assert installation.pages.post(f"/recalls/{recall}/reveal/{what}").status_code == 404
    assert installation.audited() == []


def test_a_viewer_reveals_and_changes_nothing(installation, services):
    recall = installation.dead()
    viewer = Pages(services, "viewer")
    for address in ("reveal/telephone", "retry", "cancel"):
        assert viewer.post(f"/recalls/{recall}/{address}").status_code == 403
    assert viewer.get("/recalls/bulk?kind=retry").status_code == 403
    assert "Retry" not in viewer.get(f"/recalls/{recall}").text.split("<main")[1]


def test_a_mapping_by_another_configuration_says_so(installation, tmp_path, store):
    recall = installation.form()
    assert "has changed since" not in installation.get(f"/recalls/{recall}")
    other = RecallPages(make_services(tmp_path, store, two_accounts(more="min_lead_minutes = 5") + ROUTE))
    assert "has changed since" in other.get(f"/recalls/{recall}")


def test_a_date_that_was_moved_says_why(installation):
    text = installation.get(f"/recalls/{installation.form(at=NOW - timedelta(hours=2))}")
    assert "the date was in the past, late = asap: moved to 30 minutes from now" in text


def test_a_queued_recall_says_what_it_waits_for(installation):
    installation.form(customer="1", at=SOON)
    second = installation.form(customer="2", at=SOON + timedelta(hours=1))
    installation.services.accounts.pause("bogota", "the campaign is being changed")
    text = installation.get(f"/recalls/{second}")
    assert "the campaign is being changed" in text
    assert re.search(r"Before it in the queue</dt><dd>1<", text)


def test_superseded_and_superseding_lead_to_each_other(installation):
    older, newer = installation.form(), installation.form()
    assert f'/recalls/{newer}"' in installation.get(f"/recalls/{older}")
    text = installation.get(f"/recalls/{newer}")
    assert "Supersedes" in text
    assert f'/recalls/{older}"' in text


def test_retry_and_cancel_do_it_and_say_so(installation):
    recall = installation.dead()
    assert "The recall is queued again." in installation.pages.post(f"/recalls/{recall}/retry").text
    assert installation.services.recalls.records.get(recall).reason == "retried by ana"
    assert "Cancelled; the recall" in installation.pages.post(f"/recalls/{recall}/cancel").text
    assert installation.services.recalls.records.get(recall).state is State.CANCELLED
    assert [what for _, what, _ in installation.audited()] == ["cancel", "retry"]


def test_an_action_on_what_changed_meanwhile_says_what_it_is_now(installation):
    recall = installation.dead()
    installation.services.recalls.retry(recall, "by somebody else", NOW)
    answer = installation.pages.post(f"/recalls/{recall}/retry")
    assert answer.status_code == 409
    assert "queued" in answer.text
    assert installation.audited() == []


def test_a_purged_recalls_page_says_so(installation):
    recall = installation.dead()
    installation.services.deliveries.purge(before=datetime(2100, 1, 1, tzinfo=UTC))
    answer = installation.pages.get(f"/recalls/{recall}")
    assert answer.status_code == 404
    assert "deleted after its retention" in answer.text


def test_a_recall_whose_delivery_is_not_kept_is_shown_all_the_same(installation, store):
    recall = installation.dead()
    store.delete(*store.scan_iter("{ringback}:delivery:*"))
    text = installation.get(f"/recalls/{recall}")
    assert "not kept any more" in text
    assert "Attempt 1: rejected" in text


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "bidi": "abc\u202egnp.exe",
    "long": "x" * 10_000,
    "emoji": "👩‍👩‍👧 ☎️",
    "nul": "a\x00b\x1b[31mc",
    "quote": '" onmouseover="alert(1)\' &lt;',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_in_any_field_is_shown_harmlessly(installation, name):
    text = HOSTILE[name]
    recall = installation.form(note=text, **{text[:200]: text})
    for address in (f"/recalls/{recall}", "/recalls", "/calendar"):
        raw = installation.pages.get(address).text
        assert "<script>alert" not in raw
        assert "\u202e" not in raw
        assert "\x00" not in raw
        assert "\x1b" not in raw
        assert ' onmouseover="alert' not in raw
    for what in ("event", "body"):
        raw = installation.pages.post(f"/recalls/{recall}/reveal/{what}", htmx=True).text
        assert "<script>alert" not in raw
        assert not set("\u202e\x00\x1b") & set(raw)


def test_hostile_customers_and_campaigns_are_shown_harmlessly(installation):
    evil = "<img src=x onerror=alert(1)>\u202e"
    recall = installation.form(customer=evil, campaign=evil)
    for address in (f"/recalls/{recall}", "/recalls", "/calendar", f"/calendar?day={SOON.date()}"):
        raw = installation.pages.get(address).text
        assert "<img" not in raw
        assert "\u202e" not in raw


# --- many --------------------------------------------------------------------------------------


def test_many_are_counted_then_retried_with_progress(installation):
    fill(installation.services.store, 300, states=(State.DEAD,))
    counted = installation.get("/recalls/bulk?kind=retry&campaign=10")
    number = installation.services.recalls.records.search.count(
        Filter(campaign_id="10"), budget_seconds=None
    ).number
    assert f"<b>{number}</b>" in counted
    page = installation.pages.post("/recalls/bulk", {"kind": "retry", "campaign": "10", "total": number})
    assert page.status_code == 200
    (job,) = installation.services.bulk_jobs.latest()
    assert (job.who, job.total, job.which.campaign_id) == ("ana", number, "10")
    while installation.services.bulk_jobs.advance(job.id, "w1", installation.services.config.accounts, NOW):
        pass
    text = installation.get(f"/jobs/{job.id}")
    assert f"<b>{number}</b>" in text
    assert job.id in installation.get("/jobs")
    dead = next(installation.services.recalls.records.every(Filter(state=State.QUEUED, campaign_id="10")))
    installation.services.recalls.cancel(dead.id, "by hand")
    page = installation.pages.get(f"/jobs/{job.id}").text
    links = {unescape(href) for href in re.findall(r'<li><a href="(/recalls\?outcome=[^"]+)"', page)}
    assert len(links) == 2
    (cancelled,) = (href for href in links if "state=cancelled" in href)
    found = installation.get(cancelled)
    assert dead.id in found
    assert "1 recall" in found
    assert f"{number - 1} recalls" in installation.get((links - {cancelled}).pop())
    assert ("ana", "begin retry of many", (job.id,)) in installation.audited()


def test_counting_goes_on_where_it_stopped(installation, monkeypatch):
    from integration.store.search import recalls as search

    fill(installation.services.store, 300, states=(State.DEAD,))
    monkeypatch.setattr(search, "STEP", 50)
    search_ = installation.services.recalls.records.search
    seconds = SimpleNamespace(now=0.0)
    monkeypatch.setattr(
        search_, "_clock", lambda: seconds.__setattr__("now", seconds.now + 0.1) or seconds.now
    )
    text, rounds = installation.get("/recalls/bulk?kind=retry&campaign=10"), 1
    while going_on := re.search(r'hx-get="(/recalls/bulk[^"]+)"', text):
        text, rounds = installation.get(going_on[1]), rounds + 1
    monkeypatch.undo()
    number = search_.count(Filter(campaign_id="10"), budget_seconds=None).number
    assert rounds > 2
    assert f"<b>{number}</b>" in text


def test_a_running_job_can_be_stopped(installation):
    fill(installation.services.store, 50, states=(State.DEAD,))
    installation.pages.post("/recalls/bulk", {"kind": "retry", "total": "50"})
    (job,) = installation.services.bulk_jobs.latest()
    assert "Stopped" in installation.pages.post(f"/jobs/{job.id}/stop").text
    assert installation.services.bulk_jobs.get(job.id).state == "stopped"
    assert "had already ended" in installation.pages.post(f"/jobs/{job.id}/stop").text


@pytest.mark.parametrize("filters", [{}, {"state": "queued"}])
@pytest.mark.parametrize("typed", ["", "2", "yes", "30"])
def test_every_queued_recall_is_cancelled_only_by_typing_their_number(installation, filters, typed):
    recalls = [installation.form(customer=f"8012345{number}") for number in range(3)]
    asked = "&".join(f"{name}={value}" for name, value in {"kind": "cancel", **filters}.items())
    assert 'name="typed"' in installation.get(f"/recalls/bulk?{asked}")
    form = {"kind": "cancel", "total": "3", **filters}
    refused = installation.pages.post("/recalls/bulk", {**form, "typed": typed})
    assert "Nothing was cancelled" in unescape(refused.text)
    assert installation.services.bulk_jobs.latest() == []
    installation.pages.post("/recalls/bulk", {**form, "typed": "3"})
    (job,) = installation.services.bulk_jobs.latest()
    while installation.services.bulk_jobs.advance(job.id, "w1", installation.services.config.accounts, NOW):
        pass
    assert {installation.recall(recall).state for recall in recalls} == {State.CANCELLED}


@pytest.mark.parametrize("filters", [{"account": "bogota"}, {"campaign": "10"}, {"search": None}])
def test_a_filtered_cancel_needs_no_number(installation, filters):
    installation.form()
    stored = {
        name: value or installation.services.searches.add("ana", CUSTOMER) for name, value in filters.items()
    }
    installation.pages.post("/recalls/bulk", {"kind": "cancel", "total": "1", **stored})
    assert len(installation.services.bulk_jobs.latest()) == 1


@pytest.mark.parametrize("kind", ["", "delete"])
def test_only_what_there_is_can_be_done_to_many(installation, kind):
    assert installation.pages.post("/recalls/bulk", {"kind": kind}).status_code == 400


# --- the calendar ------------------------------------------------------------------------------


def test_the_calendar_counts_by_hour_and_campaign_and_leads_to_the_recalls(installation):
    at = (NOW + timedelta(days=1)).replace(minute=10, second=0, microsecond=0)
    mine = {installation.form(customer=f"c{n}", at=at, campaign="20") for n in range(3)}
    installation.form(customer="other", at=at + timedelta(hours=1), campaign="30")
    zone = installation.services.config.accounts["bogota"].timezone
    day = at.astimezone(zone).date()
    text = installation.get(f"/calendar?account=bogota&day={day}")
    cell = re.search(
        r'<a class="queued" href="(/recalls\?[^"]*campaign=20[^"]*)"[^>]*><span aria-hidden="true">3</span>',
        text,
    )
    assert set(ids_in(installation.get(cell[1]))) == mine


def test_past_due_and_out_of_hours_are_marked(tmp_path, store):
    closed_at = (NOW + timedelta(hours=2)).astimezone(ZoneInfo("America/Bogota"))
    opens = (closed_at.hour + 12) % 24
    hours = f'calling_hours = {{ every_day = ["{opens:02}:00-{opens:02}:01"] }}'
    installation = RecallPages(
        make_services(tmp_path, store, two_accounts(more="min_lead_minutes = 0") + ROUTE)
    )
    installation.form(at=NOW + timedelta(hours=2))
    shut = RecallPages(make_services(tmp_path, store, two_accounts(more=hours) + ROUTE))
    assert "closed" in re.search(r'<td class="heat heat-[1-5] ([^"]*)"', shut.get("/calendar"))[1]
    fill(installation.services.store, 30, states=(State.QUEUED,), ending=NOW - timedelta(days=20), days=1)
    text = installation.get("/calendar")
    assert re.search(r"Past due</a></dt>\s*<dd><b>\d+</b>", text)


# --- wolkvox' answers ----------------------------------------------------------------------------


def test_dead_recalls_are_grouped_and_found_by_the_words_of_wolkvox(installation):
    same = [installation.dead(customer=f"8012345{number}", words="aaaa") for number in range(3)]
    other = installation.dead(customer="80123459", words="bbbb")
    text = installation.get("/recalls?state=dead")
    assert "is no good</bdi>: 3" in text
    assert "is no good</bdi>: 1" in text
    assert NUMBER not in text
    assert sorted(ids_in(installation.get("/recalls?state=dead&words=aaaa"))) == sorted(same)
    assert ids_in(installation.get("/recalls?state=dead&words=bbbb")) == [other]
    assert 'id="answers"' not in installation.get("/recalls")


def test_the_answers_of_the_first_and_the_latest_attempts_stay_with_the_recall(installation):
    recall = installation.form()
    for number in range(1, 31):
        attempt = Attempt(
            started_at=NOW, seconds=0.1, http_status=500, code=None, msg=f"error {number}", outcome="wait"
        )
        outcome = PushResult(
            kind="again", reason="x", attempt=encoded_attempt(attempt), answer=f"answer {number}"
        )
        installation.push(outcome)
    attempts = installation.recall(recall).attempts
    kept = [attempt.number for attempt in attempts if attempt.answer == f"answer {attempt.number}"]
    assert kept == [1, 2, 3, *range(11, 31)]
    assert all(attempt.answer is None for attempt in attempts if attempt.number not in kept)
    revealed = installation.pages.post(f"/recalls/{recall}/reveal/answer-2", htmx=True)
    assert "answer 2" in revealed.text
    assert "answer 2" not in installation.get(f"/recalls/{recall}")


def test_an_account_links_the_latest_refusal_of_wolkvox(installation):
    recall = installation.dead()
    text = installation.get("/accounts/bogota")
    assert re.search(rf'Latest rejection by wolkvox: <a href="/recalls/{recall}"><q>.* is no good', text)
    assert NUMBER not in text


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", "Latest dead recall: X; last fault: no complete answer within 5 s"),
        ("es", "Última rellamada fallida: X; último error: no llegó una respuesta completa en 5 s"),
    ],
)
def test_an_account_says_in_words_that_no_answer_arrived(services, language, words):
    installation = RecallPages(services)
    recall = installation.form()
    attempt = Attempt(
        started_at=NOW, seconds=5, http_status=None, code=None, msg=None, outcome=VerdictKind.UNKNOWN
    )
    fault = "no complete answer within 5 s"
    reason = f"the recall failed repeatedly while other recalls passed; last fault: {fault}"
    installation.push(
        PushResult(kind="ended", state="dead", reason=reason, attempt=encoded_attempt(attempt), passed=False)
    )
    text = text_of(Pages(services, language=language).get("/accounts/bogota"))
    first, last = words.split("X")
    assert re.search(f"{first}[^;:]+{last}", text), text
    for address in ("/accounts/bogota", "/recalls?state=dead", f"/recalls/{recall}"):
        assert "None" not in text_of(Pages(services, language=language).get(address))


def test_the_filters_of_a_bulk_action_name_the_state_in_the_language_of_the_page(installation):
    pages = Pages(installation.services, language="es")
    text = text_of(pages.get("/recalls/bulk?kind=retry&state=dead"))
    assert "Estado: fallida" in text
    assert "dead" not in text
