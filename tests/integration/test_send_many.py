"""Sending all stored deliveries of a filter again, as a bulk job."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest

from integration.domain.recall import Filter, State
from integration.domain.timestamps import epoch_ms
from integration.webhooks import resend_many
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import HookClient
from support.installation import Installation
from support.jobs import run_jobs, step

SOON = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
ACCOUNTS = two_accounts(more="min_lead_minutes = 0")
FEWER = SOURCES_AND_ROUTES.replace(
    'recall_telephone = "{{ event.phone }}"', 'recall_telephone = "3001112233"'
)


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store, ACCOUNTS + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


@pytest.fixture
def pages(services):
    return Pages(services)


def form(services, customer, **more):
    answer = HookClient(services).post(
        "forms", {"customer": customer, "phone": "3001112233", "at": SOON.isoformat(), **more}
    )
    assert answer.status_code == 202
    return answer.json


def started(services, pages, **form):
    pages.post("/deliveries/send-many", form)
    (job,) = services.bulk_jobs.latest()
    return job


def test_the_preview_counts_stored_deliveries_and_stores_nothing(services, pages):
    form(services, "80000001")
    form(services, "80000002", phone="none")
    for each in ("refused", "again"):
        assert "No stored delivery matches the filters." in text_of(
            pages.get(f"/deliveries/send-many?result={each}")
        )
    answer = pages.get("/deliveries/send-many?source=forms")
    assert "<b>2</b>" in answer.text
    assert "would be queued : 1" in text_of(answer).replace("queued:", "queued :")
    assert "would be parked : 1" in text_of(answer).replace("parked:", "parked :")
    assert "80000001" not in answer.text
    assert "<b>1</b>" in pages.get("/deliveries/send-many?result=parked").text
    assert "/deliveries/send-many?result=parked" in pages.get("/deliveries?result=parked").text
    assert len(Installation(services).recalls()) == 1
    assert services.bulk_jobs.latest() == []


def test_all_that_a_filter_finds_is_sent_again_and_the_outcome_links_the_recalls(services, pages):
    old = form(services, "80000001")["recalls"][0]
    form(services, "80000002", phone="none")
    job = started(services, pages, source="forms", total="2")
    run_jobs(services)
    done = services.bulk_jobs.get(job.id)
    assert (done.state, done.total, done.done, done.skipped) == ("done", 2, 2, {})
    assert done.results == {"recall": 1, "parked": 1}
    (new,) = services.recalls.records.every(Filter(state=State.QUEUED))
    assert new.id != old
    assert new.proof == "sent again by ana"
    assert Installation(services).recall(old).state is State.SUPERSEDED
    page = pages.get(f"/jobs/{job.id}")
    (address,) = re.findall(r'<li><a href="(/recalls\?outcome=[^"]+)"', page.text)
    listed = pages.get(unescape(address)).text
    assert new.id in listed
    assert old not in listed
    (parked,) = re.findall(r'<a href="(/deliveries/dl_[^"]+)"', page.text)
    assert "parked" in text_of(pages.get(parked))
    assert "begin send again of many" in [entry.what for entry in services.audit.page()[0]]


def test_a_resent_event_keeps_its_own_time_so_that_a_newer_request_wins(services, pages):
    form(services, "80000001", at=SOON.isoformat())
    newer = form(services, "80000001", at=(SOON + timedelta(hours=1)).isoformat())["recalls"][0]
    started(services, pages, source="forms")
    run_jobs(services)
    queued = list(services.recalls.records.every(Filter(state=State.QUEUED)))
    assert [recall.recall_date for recall in queued] == [SOON + timedelta(hours=1)]
    assert Installation(services).recall(newer).state in {State.QUEUED, State.SUPERSEDED}


def test_the_routes_of_today_map_what_was_parked(tmp_path, store, services, pages):
    form(services, "80000001", phone="none")
    mended = make_services(tmp_path, store, ACCOUNTS + FEWER)
    job = started(mended, Pages(mended), result="parked")
    run_jobs(mended)
    assert mended.bulk_jobs.get(job.id).results == {"recall": 1}


def test_a_step_repeated_by_another_worker_sends_nothing_twice(services, pages, monkeypatch):
    monkeypatch.setattr(resend_many, "STEP", 2)
    for number in range(5):
        form(services, f"8000000{number}")
    job = started(services, pages, source="forms")
    # The first worker dies after it has sent, before the step is recorded.
    resend_many.resend_step(services, services.bulk_jobs.get(job.id), datetime.now(UTC))
    assert len(Installation(services).recalls()) == 7
    run_jobs(services)
    done = services.bulk_jobs.get(job.id)
    assert (done.done, done.results) == (5, {"recall": 5})
    assert len(Installation(services).recalls()) == 10


def test_a_stopped_job_sends_no_more_and_counts_what_it_has_sent(services, pages, monkeypatch):
    monkeypatch.setattr(resend_many, "STEP", 2)
    for number in range(6):
        form(services, f"8000000{number}")
    job = started(services, pages, source="forms")
    assert step(services, job.id)
    send = resend_many.resend_step

    def stop_meanwhile(*args):
        assert services.bulk_jobs.stop(job.id)
        return send(services, *args)

    accounts, now = services.config.accounts, datetime.now(UTC)
    services.bulk_jobs.advance(job.id, "w1", accounts, now, stop_meanwhile)
    run_jobs(services)
    assert not step(services, job.id)
    done = services.bulk_jobs.get(job.id)
    assert (done.state, done.done, done.results) == ("stopped", 4, {"recall": 4})
    assert len(Installation(services).recalls()) == 10


def test_deliveries_that_arrive_after_the_job_began_are_not_sent(services, pages):
    form(services, "80000001")
    job = started(services, pages, source="forms")
    # The job's time is that of the first delivery, and the second one arrives in a later millisecond.
    (first,) = services.delivery_log.page(["forms"]).items
    created = epoch_ms(first.at)
    while services.store.now_ms() <= created:
        pass
    services.store.client.hset(services.store.key(f"job:{job.id}"), "created", created)
    form(services, "80000002")
    run_jobs(services)
    assert services.bulk_jobs.get(job.id).done == 1
    assert len(Installation(services).recalls()) == 3


def test_a_delivery_that_cannot_be_sent_is_left_out_with_the_reason(services, pages):
    gone, kept = form(services, "80000001")["delivery"], form(services, "80000002")["delivery"]
    services.store.client.delete(services.store.key(f"delivery:{gone}"))
    job = started(services, pages, source="forms")
    run_jobs(services)
    done = services.bulk_jobs.get(job.id)
    assert (done.done, done.skipped) == (1, {"no longer stored": 1})
    assert services.bulk_jobs.ids_of(job.id, "done", 10) == [kept]
    assert "its body is no longer stored: 1" in text_of(pages.get(f"/jobs/{job.id}"))


@pytest.mark.parametrize("typed", ["", "1", "yes"])
def test_without_a_filter_the_number_is_typed(services, pages, typed):
    form(services, "80000001")
    form(services, "80000002")
    assert 'name="typed"' in pages.get("/deliveries/send-many").text
    assert 'name="typed"' not in pages.get("/deliveries/send-many?source=forms").text
    answer = pages.post("/deliveries/send-many", {"total": "2", "typed": typed})
    assert "Nothing was sent" in text_of(answer)
    assert services.bulk_jobs.latest() == []
    pages.post("/deliveries/send-many", {"total": "2", "typed": "2"})
    assert len(services.bulk_jobs.latest()) == 1


def test_an_until_that_cannot_be_read_sends_nothing(services, pages):
    form(services, "80000001")
    assert pages.get("/deliveries/send-many?until=never").status_code == 400
    assert pages.post("/deliveries/send-many", {"until": "never"}).status_code == 400
    assert services.bulk_jobs.latest() == []


def test_a_viewer_sends_nothing_again(services):
    viewer = Pages(services, "viewer")
    assert viewer.get("/deliveries/send-many").status_code == 403
    assert viewer.post("/deliveries/send-many", {"source": "forms"}).status_code == 403
    assert "send-many" not in viewer.get("/deliveries").text
