"""The services of the web and the command line, with a configuration and a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Delivery, Event
from integration.domain.errors import ConflictError, NotFoundError, StoreAwayError, UnboundError
from integration.domain.recall import State
from integration.mapping.planner import Parked, plan_delivery
from integration.services.binding import accounts_by_queue
from integration.services.configuration import watch_config
from integration.services.consumer_health import STALLED_DRAINS, STALLED_SECONDS
from integration.services.container import Services
from integration.services.heartbeat import Heartbeat
from integration.services.parked import ParkedFilter
from integration.store.client import Store, connect
from integration.store.monitoring.counter_flusher import totals
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.token_queue import QUIET, UNTAKEN, PushResult
from support import ENVIRON, SOURCES_AND_ROUTES, account, parked_events, two_accounts, url_of, write_config
from support.installation import Installation
from support.reporters import SilentReporter
from support.wake_ups import WakeUps
from workers.sweeper import purge

DEAD = PushResult(kind="ended", state="dead", reason="refused", passed=True, sent_ms=5)
UNKNOWN = PushResult(kind="again", reason="no answer", quiet=True, sent_ms=0, wait_ms=1000)
LATE_DROPS = account("bogota", more='late = "drop"\nmin_lead_minutes = 0\n')
LIMA = account("lima", zone="Lima", country="PE")


class ClockedInstallation(Installation):
    """Services with their wake-ups, and a clock that the test sets."""

    def __init__(self, folder, client, text=None):
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.folder = folder
        self.wake_ups = WakeUps()
        self.path = write_config(folder, text)
        self.client = connect(url_of(client))
        super().__init__(self.other_services())

    def time(self):
        return self.now

    def other_services(self):
        store = Store(self.client, clock=lambda: round(self.now.timestamp() * 1000))
        return Services(watch_config(self.path, ENVIRON), store, self.wake_ups)

    def reconfigure(self, text):
        """Return the services of another process, which reads the changed file."""
        write_config(self.folder, text)
        self.services = self.other_services()

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)

    def form(self, body, source="forms"):
        delivery = Delivery(
            id="dl_1", source=source, method="POST", url="", headers={}, body=b"{}", received_at=self.now
        )
        event = Event(data=body, dedup_key=str(body))
        outcomes = plan_delivery(self.services.routes, delivery, [event], self.now)
        return self.services.admission.admit(delivery, outcomes, b"{}")


@pytest.fixture
def installation(tmp_path, store):
    return ClockedInstallation(tmp_path, store)


# --- queues and the configuration ---------------------------------------------------------------


def test_an_admission_binds_the_accounts_and_rings_the_queue(installation):
    installation.ask()
    assert set(installation.services.queues.bound()) == {"bogota", "lima"}
    assert installation.wake_ups.queues == [installation.queue]


def test_a_configuration_is_bound_once(installation, store):
    assert installation.services.binding.bind() == 0
    store.delete("{ringback}:accounts")
    assert installation.services.binding.bind() == 0
    assert not store.exists("{ringback}:accounts")


def test_a_store_that_was_emptied_is_bound_anew_by_an_admission(installation, store):
    installation.ask()
    store.flushall()
    assert installation.recall(installation.ask()).state is State.QUEUED


def test_an_account_that_no_binding_knows_is_an_error(installation):
    def refused():
        raise UnboundError("not bound")

    with pytest.raises(UnboundError):
        installation.services.admission._bound_first(refused)


def test_a_change_of_token_waits_for_the_call_on_the_old_one_and_is_then_done(installation):
    recall = installation.ask()
    old = installation.queue
    installation.push(UNKNOWN)
    installation.reconfigure(account("bogota", token="another-token") + LIMA + SOURCES_AND_ROUTES)
    later = installation.services.binding.bind()
    assert later == round((installation.now + timedelta(seconds=62)).timestamp() * 1000)
    assert installation.queue == old
    installation.pass_time(62)
    assert installation.services.binding.bind() == 0
    assert installation.queue != old
    assert installation.claim().recall_id == recall


def test_accounts_with_one_token_share_a_queue(tmp_path, store):
    twin = account("cali", token="env:TOKEN_BOGOTA")
    installation = ClockedInstallation(tmp_path, store, two_accounts() + twin + SOURCES_AND_ROUTES)
    installation.services.binding.bind()
    queues = accounts_by_queue(installation.services.config, installation.services.queues.id_key())
    assert [a.name for a in queues[installation.queue]] == ["bogota", "cali"]
    assert installation.services.queues.bound()["cali"] == installation.queue


def test_a_store_that_forgets_is_bound_to_nothing(tmp_path, start_valkey):
    server = start_valkey("--appendonly", "no")
    with server.client() as client:
        installation = ClockedInstallation(tmp_path, client)
        with pytest.raises(StoreAwayError):
            installation.services.binding.bind()
        assert client.keys("*") == []


# --- retry and cancel --------------------------------------------------------------------------


def test_a_retry_of_one_whose_date_is_to_come_keeps_its_date(installation):
    recall = installation.ask(hours=24)
    before = installation.recall(recall).recall_date
    installation.push(DEAD)
    installation.wake_ups.published.clear()
    installation.services.recalls.retry(recall, "again", installation.now)
    assert (installation.recall(recall).state, installation.recall(recall).recall_date) == (
        State.QUEUED,
        before,
    )
    assert installation.wake_ups.queues == [installation.queue]


def test_a_retry_of_one_whose_date_has_passed_goes_as_soon_as_may_be(installation):
    recall = installation.ask(hours=1)
    installation.push(DEAD)
    installation.pass_time(7200)
    installation.services.recalls.retry(recall, "again", installation.now)
    found = installation.recall(recall)
    assert found.recall_date == installation.now + timedelta(minutes=30)
    assert found.requested_date < installation.now
    score = installation.client.zscore(
        installation.services.store.key(f"queue:{installation.queue}:recalls"), recall
    )
    assert score == found.recall_date.timestamp() * 1000


def test_a_retry_by_hand_is_meant_also_where_late_ones_are_dropped(tmp_path, store):
    installation = ClockedInstallation(tmp_path, store, LATE_DROPS + LIMA + SOURCES_AND_ROUTES)
    recall = installation.ask(hours=1)
    installation.push(DEAD)
    installation.pass_time(7200)
    installation.services.recalls.retry(recall, "again", installation.now)
    assert installation.recall(recall).recall_date >= installation.now


def test_a_retry_of_an_account_that_is_gone_waits_for_it(installation):
    recall = installation.ask(hours=1)
    installation.push(DEAD)
    installation.reconfigure(LIMA + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n')
    installation.services.binding.bind()
    installation.pass_time(7200)
    installation.wake_ups.published.clear()
    installation.services.recalls.retry(recall, "again", installation.now)
    assert installation.recall(recall).state is State.QUEUED
    assert installation.wake_ups.queues == []
    assert installation.services.accounts.get("bogota").state == "stopped"


def test_a_renamed_account_is_listed_while_it_has_queued_recalls(installation):
    recall = installation.ask(hours=1)
    installation.reconfigure(LIMA + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n')
    installation.services.binding.bind()

    def listed():
        return [(view.name, view.state) for view in installation.services.accounts.all()]

    assert listed() == [("bogota", "stopped"), ("lima", "idle")]
    installation.services.recalls.records.cancel(recall, "by the operator")
    assert listed() == [("lima", "idle")]
    assert installation.services.accounts.get("bogota").state == "stopped", "its page stays"


def test_what_is_not_there_can_be_neither_retried_nor_cancelled(installation):
    with pytest.raises(NotFoundError):
        installation.services.recalls.retry("rc_nothing", "again", installation.now)
    with pytest.raises(NotFoundError):
        installation.services.recalls.cancel("rc_nothing", "by hand")


def test_only_what_waits_can_be_cancelled_and_only_what_failed_be_retried(installation):
    recall = installation.ask()
    with pytest.raises(ConflictError) as caught:
        installation.services.recalls.retry(recall, "again", installation.now)
    assert caught.value.state == "queued"
    installation.services.recalls.cancel(recall, "by hand")
    with pytest.raises(ConflictError) as caught:
        installation.services.recalls.cancel(recall, "by hand")
    assert caught.value.state == "cancelled"
    assert installation.recall(recall).history[-1].reason == "by hand"


# --- accounts ----------------------------------------------------------------------------------


def test_an_account_shows_its_queue_its_dead_and_its_calls(installation):
    installation.ask("c1", hours=1)
    installation.ask("c2", hours=2)
    installation.pass_time(90)
    installation.push(DEAD)
    view = installation.services.accounts.get("bogota")
    assert (view.state, view.queued, view.dead, view.pushed_today) == ("idle", 1, 1, 1)
    assert (view.oldest_seconds, view.daily_limit) == (90.0, None)
    assert installation.services.accounts.get("lima").oldest_seconds is None


def test_the_oldest_is_the_one_that_arrived_first_also_while_it_is_pushed(installation):
    installation.ask("c1")
    installation.pass_time(5)
    installation.ask("c2", hours=1)
    installation.claim()
    view = installation.services.accounts.get("bogota")
    assert (view.state, view.queued, view.oldest_seconds) == ("busy", 2, 5.0)


def test_an_account_tells_until_when_its_queue_waits_and_why(installation):
    installation.ask()
    installation.push(UNKNOWN)
    view = installation.services.accounts.get("bogota")
    assert (view.state, view.until) == ("waiting", installation.now + timedelta(seconds=62))
    assert view.reason == "no answer"
    installation.pass_time(2)
    assert installation.services.accounts.get("bogota").reason == QUIET
    installation.pass_time(60)
    assert installation.services.accounts.get("bogota").state == "idle"


def test_the_calls_of_yesterday_are_not_todays(installation):
    installation.ask()
    installation.push(DEAD)
    installation.pass_time(86400)
    assert installation.services.accounts.get("bogota").pushed_today == 0


def test_accounts_are_those_of_the_configuration_and_those_left_behind(installation):
    installation.ask()
    assert [view.name for view in installation.services.accounts.all()] == ["bogota", "lima"]
    installation.reconfigure(LIMA + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n')
    installation.services.binding.bind()
    assert [(view.name, view.state) for view in installation.services.accounts.all()] == [
        ("bogota", "stopped"),
        ("lima", "idle"),
    ]
    assert [view.name for view in installation.services.accounts.all(["lima"])] == ["lima"]


def test_an_account_that_nobody_knows_is_unknown(installation):
    for ask in (
        installation.services.accounts.get,
        installation.services.accounts.resume,
        lambda name: installation.services.accounts.pause(name, "x"),
    ):
        with pytest.raises(NotFoundError):
            ask("cali")


def test_an_account_not_bound_yet_is_shown_idle(installation):
    assert installation.services.accounts.get("bogota").state == "idle"


def test_pause_and_resume_act_on_the_queue(installation):
    installation.ask()
    installation.wake_ups.published.clear()
    installation.services.accounts.pause("bogota", "maintenance")
    view = installation.services.accounts.get("bogota")
    assert (view.state, view.reason) == ("paused", "maintenance")
    installation.services.accounts.resume("bogota")
    assert installation.services.accounts.get("bogota").state == "idle"
    assert installation.wake_ups.queues == [installation.queue]


# --- parked events -----------------------------------------------------------------------------


def bad_form(customer):
    return {"customer": customer, "phone": "3001112233", "at": "when it suits you"}


def test_remap_leaves_parked_what_still_cannot_be_mapped(installation):
    installation.form(bad_form("c1"))
    told = installation.services.parked.remap(ParkedFilter(), installation.now)
    assert (told.looked_at, told.recalls, told.still_parked) == (1, (), 1)


def test_remap_looks_only_at_the_source_and_route_it_was_asked_for(installation):
    installation.form(bad_form("c1"))
    assert installation.services.parked.remap(ParkedFilter(source="hubspot"), installation.now).looked_at == 0
    assert installation.services.parked.remap(ParkedFilter(route="other"), installation.now).looked_at == 0
    assert (
        installation.services.parked.remap(
            ParkedFilter(source="forms", route="form"), installation.now
        ).looked_at
        == 1
    )


def test_remap_makes_recalls_by_the_mended_route_and_rings(installation):
    installation.form(bad_form("c1"))
    installation.wake_ups.published.clear()
    mended = SOURCES_AND_ROUTES.replace('"{{ event.at }}"', '"{{ now }}"')
    installation.reconfigure(two_accounts() + mended)
    told = installation.services.parked.remap(ParkedFilter(source="forms"), installation.now)
    assert (told.looked_at, len(told.recalls), told.still_parked) == (1, 1, 0)
    assert installation.recall(told.recalls[0]).customer_id == "c1"
    assert installation.wake_ups.queues == [installation.queue]
    assert parked_events(installation.services) == []


def test_remap_leaves_alone_what_came_from_a_source_that_is_gone(installation):
    installation.form(bad_form("c1"))
    installation.reconfigure(
        two_accounts() + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n'
    )
    assert installation.services.parked.remap(ParkedFilter(), installation.now).looked_at == 0
    assert len(parked_events(installation.services)) == 1


def test_an_event_that_cannot_be_mapped_is_parked(installation):
    assert installation.form(bad_form("c1")).answer.parked == 1
    assert isinstance(
        plan_delivery(
            installation.services.routes,
            Delivery(
                id="d",
                source="forms",
                method="POST",
                url="",
                headers={},
                body=b"",
                received_at=installation.now,
            ),
            [Event(data=bad_form("c1"))],
            installation.now,
        )[0],
        Parked,
    )


# --- the rest ----------------------------------------------------------------------------------


def test_counts_tell_what_happened(installation):
    installation.ask()
    installation.push(DEAD)
    installation.form(bad_form("c1"))
    counts = totals(installation.services.store)
    assert counts["ended:dead"] == counts["events:forms:parked:form"] == counts["events:api:test:recall"] == 1


def test_purge_goes_by_the_configured_days(tmp_path, store):
    text = two_accounts() + "[store]\nretention_days = 2\n" + SOURCES_AND_ROUTES
    installation = ClockedInstallation(tmp_path, store, text)
    installation.ask()
    installation.push(DEAD)
    installation.pass_time(2 * 86400)
    assert purge(installation.services, installation.now) == 0
    installation.pass_time(1)
    assert purge(installation.services, installation.now) == 1


# --- work that no worker takes -------------------------------------------------------------------


def a_worker(installation):
    store = Store(
        installation.client, clock=lambda: round(installation.now.timestamp() * 1000), kind="worker"
    )
    # `installation.now` is another value each time.
    clock = lambda: installation.now.timestamp()  # noqa: E731, PLW0108
    return Heartbeat(ProcessRegistry(store), store.process_id, SilentReporter(), clock)


def stalls(installation, worker):
    for _ in range(STALLED_DRAINS):
        worker.consumer_health.untaken()
        installation.pass_time(STALLED_SECONDS / STALLED_DRAINS + 0.1)
    worker.send()
    worker.send()


def test_a_queue_with_work_that_no_worker_takes_says_so(installation):
    installation.ask()
    assert (
        installation.services.accounts.get("bogota").state,
        installation.services.accounts.get("bogota").reason,
    ) == (
        "idle",
        None,
    )
    installation.pass_time(61)
    assert (
        installation.services.accounts.get("bogota").state,
        installation.services.accounts.get("bogota").reason,
    ) == (
        "idle",
        UNTAKEN,
    )
    installation.claim()
    assert installation.services.accounts.get("bogota").reason == "a recall is being pushed"


def test_a_queue_whose_wake_up_was_published_again_and_again_says_so(installation):
    installation.ask()
    for _ in range(4):
        installation.pass_time(10)
        installation.services.queues.sweep(9)
    assert installation.services.accounts.get("bogota").reason == UNTAKEN


def test_accounts_with_work_say_that_the_workers_are_stalled_until_one_recovers(installation):
    first, second = a_worker(installation), a_worker(installation)
    installation.ask()
    stalls(installation, first)
    second.send()
    assert installation.services.accounts.get("bogota").reason is None
    stalls(installation, second)
    view = installation.services.accounts.get("bogota")
    assert (view.state, view.reason[:37]) == ("idle", "workers have taken no wake-ups since ")
    assert installation.services.accounts.get("lima").reason is None
    with second.consumer_health.taking():
        pass
    second.send()
    assert installation.services.accounts.get("bogota").reason is None


def test_what_an_account_waits_for_comes_before_the_stall_of_workers(installation):
    worker = a_worker(installation)
    installation.ask()
    stalls(installation, worker)
    installation.services.accounts.pause("bogota", "for the test")
    assert installation.services.accounts.get("bogota").reason == "for the test"
