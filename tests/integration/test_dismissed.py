"""Parked events are dismissed with a reason; they stay findable, and can be parked again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from integration.domain.timestamps import epoch_ms
from integration.services import bulk_jobs
from integration.services.parked import ParkedFilter
from support import SOURCES_AND_ROUTES, make_services, parked_events, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import HookClient
from support.jobs import dismiss_all, run_jobs, step


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


def park(services, number=3):
    for customer in range(number):
        answer = HookClient(services).post(
            "forms", {"customer": f"c{customer}", "phone": "none", "at": "none"}
        )
        assert answer.json["parked"] == 1
    (group,) = services.parked.records.groups()
    assert group.count == number
    return group.id


def test_a_group_is_dismissed_with_a_reason_and_leaves_the_list(services):
    group, pages = park(services), Pages(services)
    answer = pages.post("/parked/dismiss", {"group": group, "reason": " a test\n of the form "})
    (job,) = services.bulk_jobs.latest()
    assert job.id in answer.text
    assert services.parked.records.count() == 3
    run_jobs(services)
    done = services.bulk_jobs.get(job.id)
    assert (done.state, done.done, done.total, done.skipped) == ("done", 3, 3, {})
    assert 'href="/parked/dismissed"' in pages.get(f"/jobs/{job.id}").text
    assert ("dismiss parked", (group, job.id)) in [(one.what, one.about) for one in services.audit.page()[0]]
    assert (services.parked.records.count(), services.parked.records.groups()) == (0, [])
    text = text_of(pages.get("/parked/dismissed"))
    assert text.count("a test of the form") == 3
    assert text.count("by ana") == 3
    assert '<a href="/parked/dismissed">3 dismissed events</a>' in pages.get("/parked").text


@pytest.mark.parametrize("reason", ["", " \n "])
def test_nothing_is_dismissed_without_a_reason(services, reason):
    group = park(services)
    assert "the reason is missing" in text_of(
        Pages(services).post("/parked/dismiss", {"group": group, "reason": reason})
    )
    assert services.parked.records.count() == 3


def test_a_dismissed_event_is_parked_again_in_its_group(services):
    group, pages = park(services, 1), Pages(services)
    pages.post("/parked/dismiss", {"group": group, "reason": "x"})
    run_jobs(services)
    (address,) = re.findall(r'action="(/parked/[^"]+/put-back)"', pages.get("/parked/dismissed").text)
    assert "The event is parked again." in text_of(pages.post(address))
    (found,) = services.parked.records.groups()
    assert (found.id, found.count) == (group, 1)
    assert services.parked.records.dismissed_count() == 0
    assert "Nothing was changed" in text_of(pages.post(address))


def test_a_copy_of_a_dismissed_event_is_known(services):
    form, client = {"customer": "c0", "phone": "none", "at": "none"}, HookClient(services)
    client.post("forms", form, message_id="msg_1")
    (group,) = services.parked.records.groups()
    dismiss_all(services.store, group.id)
    assert client.post("forms", form, message_id="msg_1").json["parked"] == 1
    assert (services.parked.records.count(), services.parked.records.dismissed_count()) == (0, 1)


def test_dismissed_events_are_purged_as_parked_ones_are(services):
    dismiss_all(services.store, park(services))
    assert services.deliveries.purge(before=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert services.deliveries.purge(before=datetime.now(UTC) + timedelta(hours=1)) == 4, "with the job"
    assert services.parked.records.dismissed_count() == 0
    assert not services.store.client.keys("*parked*")


def test_only_operators_dismiss_and_each_dismissal_is_audited(services):
    group, viewer = park(services), Pages(services, "viewer")
    assert "/parked/dismiss" not in viewer.get("/parked").text.replace("/parked/dismissed", "")
    assert viewer.post("/parked/dismiss", {"group": group, "reason": "x"}).status_code == 403
    Pages(services).post("/parked/dismiss", {"group": group, "reason": "x"})
    entries, _ = services.audit.page(limit=1)
    assert (entries[0].who, entries[0].what, entries[0].about[0]) == ("ana", "dismiss parked", group)


def test_a_large_group_is_dismissed_in_steps_and_a_stopped_dismissal_leaves_the_rest(services, monkeypatch):
    monkeypatch.setattr(bulk_jobs, "STEP", 2)
    group, pages = park(services, 5), Pages(services)
    pages.post("/parked/dismiss", {"group": group, "reason": "x"})
    (job,) = services.bulk_jobs.latest()
    assert step(services, job.id)
    assert services.parked.records.count() == 3
    pages.post(f"/jobs/{job.id}/stop")
    run_jobs(services)
    assert not step(services, job.id)
    assert (services.parked.records.count(), services.parked.records.dismissed_count()) == (3, 2)


def test_events_parked_after_a_dismissal_began_stay_parked(services):
    group = park(services, 2)
    Pages(services).post("/parked/dismiss", {"group": group, "reason": "x"})
    (job,) = services.bulk_jobs.latest()
    # The time of the third one is later, however coarse the clock is.
    began = services.bulk_jobs.get(job.id).created_at
    HookClient(services).post("forms", {"customer": "late", "phone": "none", "at": "none"})
    (late,) = [one for one in parked_events(services) if "late" in one["event"]]
    later = epoch_ms(began) + 1
    services.store.client.zadd(services.store.key(f"parked_in:{group}"), {late["id"]: later})
    services.store.client.hset(services.store.key(f"parked:{late['id']}"), "at", later)
    run_jobs(services)
    assert [one["id"] for one in parked_events(services)] == [late["id"]]
    assert services.bulk_jobs.get(job.id).done == 2


def test_an_event_that_is_no_longer_parked_is_left_out(services, monkeypatch):
    group = park(services, 3)
    job = services.bulk_jobs.begin("dismiss", ParkedFilter(group=group), who="ana", reason="x")
    ids = [one["id"] for one in parked_events(services)]
    assert services.store.call("take_job", job.id, "w1") == 1
    acts = orjson.dumps([{"id": id_} for id_ in (ids[0], ids[0], "pk_none", ids[1])])
    services.store.call("job_step", job.id, "w1", "", "", acts)
    done = services.bulk_jobs.get(job.id)
    assert (done.done, done.skipped) == (2, {"no longer parked": 2})
    assert "no longer parked: 2" in text_of(Pages(services).get(f"/jobs/{job.id}"))
