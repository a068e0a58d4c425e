"""The services: what the web and the command line ask of the deliveries, over a configuration and a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Delivery, Event
from integration.domain.errors import ConflictError, StoreAwayError, UnboundError, UnknownError
from integration.domain.recall import State
from integration.mapping.planner import Parked, plan_delivery, request_from_fields
from integration.services.binding import accounts_by_queue
from integration.services.configuration import watch_config
from integration.services.consumer_health import STALLED_DRAINS, STALLED_SECONDS
from integration.services.container import Services
from integration.services.heartbeat import Heartbeat
from integration.services.parked import ParkedFilter
from integration.store.client import Store, connect
from integration.store.monitoring.counters import totals
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.token_queue import QUIET, UNTAKEN, Claim, Outcome, terms_of
from support import ENVIRON, SOURCES_AND_ROUTES, account, parked_events, two_accounts, url_of, write_config
from workers.sweeper import purge

DEAD = Outcome(kind="ended", state="dead", reason="refused", passed=True, sent_ms=5)
UNKNOWN = Outcome(kind="again", reason="no answer", quiet=True, sent_ms=0, wait_ms=1000)
LATE_DROPS = account("bogota", more='late = "drop"\nmin_lead_minutes = 0\n')
LIMA = account("lima", zone="Lima", country="PE")


class WakeUps:
    """Notes what is published."""

    def __init__(self):
        self.queues = []
        self.sources = []

    def publish(self, wake_up):
        self.queues.append(wake_up.queue)

    def publish_lookup(self, source):
        self.sources.append(source)


class Office:
    """A services, its wake-ups, and a clock that moves only when told."""

    def __init__(self, folder, client, text=None):
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.folder = folder
        self.wake_ups = WakeUps()
        self.path = write_config(folder, text)
        self.client = connect(url_of(client))
        self.services = self.another_desk()

    def another_desk(self):
        store = Store(self.client, clock=lambda: round(self.now.timestamp() * 1000))
        return Services(watch_config(self.path, ENVIRON), store, self.wake_ups)

    def reconfigure(self, text):
        """Another process' services, which reads the file as it is now."""
        write_config(self.folder, text)
        self.services = self.another_desk()

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)

    def ask(self, customer="c1", *, hours=24, name="bogota"):
        asked = request_from_fields(
            self.services.config.accounts[name],
            campaign_id="10",
            customer_id=customer,
            recall_telephone="300 111 2233" if name == "bogota" else "987 654 321",
            recall_date=(self.now + timedelta(hours=hours)).isoformat(),
            now=self.now,
            source="api:test",
        )
        return self.services.admission.admit_one(asked, expired=None, key="", fingerprint="").answer.recalls[
            0
        ]

    @property
    def queue(self):
        return self.services.queues.bound()["bogota"]

    @property
    def terms(self):
        return terms_of(self.services.config.accounts["bogota"], self.now)

    def claim(self):
        self.claims = getattr(self, "claims", 0) + 1
        return self.services.queues.acquire(self.queue, f"n{self.claims}", self.terms)[0]

    def push(self, outcome):
        claim = self.claim()
        assert isinstance(claim, Claim)
        self.services.queues.finish(self.queue, claim, 1, outcome, more=False, terms=self.terms)
        return claim.recall_id

    def recall(self, recall_id):
        return self.services.recalls.records.get(recall_id)

    def form(self, body, source="forms"):
        delivery = Delivery(
            id="dl_1", source=source, method="POST", url="", headers={}, body=b"{}", received_at=self.now
        )
        event = Event(data=body, dedup_key=str(body))
        outcomes = plan_delivery(self.services.routes, delivery, [event], self.now)
        return self.services.admission.admit(delivery, outcomes, b"{}")


@pytest.fixture
def office(tmp_path, store):
    return Office(tmp_path, store)


# --- queues and the configuration ---------------------------------------------------------------


def test_an_admission_binds_the_accounts_and_rings_the_queue(office):
    office.ask()
    assert set(office.services.queues.bound()) == {"bogota", "lima"}
    assert office.wake_ups.queues == [office.queue]


def test_a_configuration_is_bound_once(office, store):
    assert office.services.binding.bind() == 0
    store.delete("{ringback}:accounts")
    assert office.services.binding.bind() == 0
    assert not store.exists("{ringback}:accounts")


def test_a_store_that_was_emptied_is_bound_anew_by_an_admission(office, store):
    office.ask()
    store.flushall()
    assert office.recall(office.ask()).state is State.QUEUED


def test_an_account_that_no_binding_knows_is_an_error(office):
    def refused():
        raise UnboundError("not bound")

    with pytest.raises(UnboundError):
        office.services.admission._bound_first(refused)


def test_a_change_of_token_waits_for_the_call_on_the_old_one_and_is_then_done(office):
    recall = office.ask()
    old = office.queue
    office.push(UNKNOWN)
    office.reconfigure(account("bogota", token="another-token") + LIMA + SOURCES_AND_ROUTES)
    later = office.services.binding.bind()
    assert later == round((office.now + timedelta(seconds=62)).timestamp() * 1000)
    assert office.queue == old
    office.pass_time(62)
    assert office.services.binding.bind() == 0
    assert office.queue != old
    assert office.claim().recall_id == recall


def test_accounts_with_one_token_share_a_queue(tmp_path, store):
    twin = account("cali", token="env:TOKEN_BOGOTA")
    office = Office(tmp_path, store, two_accounts() + twin + SOURCES_AND_ROUTES)
    office.services.binding.bind()
    queues = accounts_by_queue(office.services.config, office.services.queues.id_key())
    assert [a.name for a in queues[office.queue]] == ["bogota", "cali"]
    assert office.services.queues.bound()["cali"] == office.queue


def test_a_store_that_forgets_is_bound_to_nothing(tmp_path, start_valkey):
    server = start_valkey("--appendonly", "no")
    with server.client() as client:
        office = Office(tmp_path, client)
        with pytest.raises(StoreAwayError):
            office.services.binding.bind()
        assert client.keys("*") == []


# --- retry and cancel --------------------------------------------------------------------------


def test_a_retry_of_one_whose_date_is_to_come_keeps_its_date(office):
    recall = office.ask(hours=24)
    before = office.recall(recall).recall_date
    office.push(DEAD)
    office.wake_ups.queues.clear()
    office.services.recalls.retry(recall, "again", office.now)
    assert (office.recall(recall).state, office.recall(recall).recall_date) == (State.QUEUED, before)
    assert office.wake_ups.queues == [office.queue]


def test_a_retry_of_one_whose_date_has_passed_goes_as_soon_as_may_be(office):
    recall = office.ask(hours=1)
    office.push(DEAD)
    office.pass_time(7200)
    office.services.recalls.retry(recall, "again", office.now)
    found = office.recall(recall)
    assert found.recall_date == office.now + timedelta(minutes=30)
    assert found.requested_date < office.now
    score = office.client.zscore(office.services.store.key(f"queue:{office.queue}:recalls"), recall)
    assert score == found.recall_date.timestamp() * 1000


def test_a_retry_by_hand_is_meant_also_where_late_ones_are_dropped(tmp_path, store):
    office = Office(tmp_path, store, LATE_DROPS + LIMA + SOURCES_AND_ROUTES)
    recall = office.ask(hours=1)
    office.push(DEAD)
    office.pass_time(7200)
    office.services.recalls.retry(recall, "again", office.now)
    assert office.recall(recall).recall_date >= office.now


def test_a_retry_of_an_account_that_is_gone_waits_for_it(office):
    recall = office.ask(hours=1)
    office.push(DEAD)
    office.reconfigure(LIMA + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n')
    office.services.binding.bind()
    office.pass_time(7200)
    office.wake_ups.queues.clear()
    office.services.recalls.retry(recall, "again", office.now)
    assert office.recall(recall).state is State.QUEUED
    assert office.wake_ups.queues == []
    assert office.services.accounts.get("bogota").state == "stopped"


def test_what_is_not_there_can_be_neither_retried_nor_cancelled(office):
    with pytest.raises(UnknownError):
        office.services.recalls.retry("rc_nothing", "again", office.now)
    with pytest.raises(UnknownError):
        office.services.recalls.cancel("rc_nothing", "by hand")


def test_only_what_waits_can_be_cancelled_and_only_what_failed_be_retried(office):
    recall = office.ask()
    with pytest.raises(ConflictError) as caught:
        office.services.recalls.retry(recall, "again", office.now)
    assert caught.value.state == "queued"
    office.services.recalls.cancel(recall, "by hand")
    with pytest.raises(ConflictError) as caught:
        office.services.recalls.cancel(recall, "by hand")
    assert caught.value.state == "cancelled"
    assert office.recall(recall).history[-1].reason == "by hand"


# --- accounts ----------------------------------------------------------------------------------


def test_an_account_shows_its_queue_its_dead_and_its_calls(office):
    office.ask("c1", hours=1)
    office.ask("c2", hours=2)
    office.pass_time(90)
    office.push(DEAD)
    view = office.services.accounts.get("bogota")
    assert (view.state, view.queued, view.dead, view.pushed_today) == ("idle", 1, 1, 1)
    assert (view.oldest_seconds, view.daily_limit) == (90.0, None)
    assert office.services.accounts.get("lima").oldest_seconds is None


def test_the_oldest_is_the_one_that_arrived_first_also_while_it_is_pushed(office):
    office.ask("c1")
    office.pass_time(5)
    office.ask("c2", hours=1)
    office.claim()
    view = office.services.accounts.get("bogota")
    assert (view.state, view.queued, view.oldest_seconds) == ("busy", 2, 5.0)


def test_an_account_tells_until_when_its_queue_waits_and_why(office):
    office.ask()
    office.push(UNKNOWN)
    view = office.services.accounts.get("bogota")
    assert (view.state, view.until) == ("waiting", office.now + timedelta(seconds=62))
    assert view.reason == "no answer"
    office.pass_time(2)
    assert office.services.accounts.get("bogota").reason == QUIET
    office.pass_time(60)
    assert office.services.accounts.get("bogota").state == "idle"


def test_the_calls_of_yesterday_are_not_todays(office):
    office.ask()
    office.push(DEAD)
    office.pass_time(86400)
    assert office.services.accounts.get("bogota").pushed_today == 0


def test_accounts_are_those_of_the_configuration_and_those_left_behind(office):
    office.ask()
    assert [view.name for view in office.services.accounts.all()] == ["bogota", "lima"]
    office.reconfigure(LIMA + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n')
    office.services.binding.bind()
    assert [(view.name, view.state) for view in office.services.accounts.all()] == [
        ("bogota", "stopped"),
        ("lima", "idle"),
    ]
    assert [view.name for view in office.services.accounts.all(["lima"])] == ["lima"]


def test_an_account_that_nobody_knows_is_unknown(office):
    for ask in (
        office.services.accounts.get,
        office.services.accounts.resume,
        lambda name: office.services.accounts.pause(name, "x"),
    ):
        with pytest.raises(UnknownError):
            ask("cali")


def test_an_account_not_bound_yet_is_shown_idle(office):
    assert office.services.accounts.get("bogota").state == "idle"


def test_pause_and_resume_act_on_the_queue(office):
    office.ask()
    office.wake_ups.queues.clear()
    office.services.accounts.pause("bogota", "maintenance")
    view = office.services.accounts.get("bogota")
    assert (view.state, view.reason) == ("paused", "maintenance")
    office.services.accounts.resume("bogota")
    assert office.services.accounts.get("bogota").state == "idle"
    assert office.wake_ups.queues == [office.queue]


# --- parked events -----------------------------------------------------------------------------


def bad_form(customer):
    return {"customer": customer, "phone": "3001112233", "at": "when it suits you"}


def test_remap_leaves_parked_what_still_cannot_be_mapped(office):
    office.form(bad_form("c1"))
    told = office.services.parked.remap(ParkedFilter(), office.now)
    assert (told.looked_at, told.recalls, told.still_parked) == (1, (), 1)


def test_remap_looks_only_at_the_source_and_route_it_was_asked_for(office):
    office.form(bad_form("c1"))
    assert office.services.parked.remap(ParkedFilter(source="hubspot"), office.now).looked_at == 0
    assert office.services.parked.remap(ParkedFilter(route="other"), office.now).looked_at == 0
    assert office.services.parked.remap(ParkedFilter(source="forms", route="form"), office.now).looked_at == 1


def test_remap_makes_recalls_by_the_mended_route_and_rings(office):
    office.form(bad_form("c1"))
    office.wake_ups.queues.clear()
    mended = SOURCES_AND_ROUTES.replace('"{{ event.at }}"', '"{{ now }}"')
    office.reconfigure(two_accounts() + mended)
    told = office.services.parked.remap(ParkedFilter(source="forms"), office.now)
    assert (told.looked_at, len(told.recalls), told.still_parked) == (1, 1, 0)
    assert office.recall(told.recalls[0]).customer_id == "c1"
    assert office.wake_ups.queues == [office.queue]
    assert parked_events(office.services) == []


def test_remap_leaves_alone_what_came_from_a_source_that_is_gone(office):
    office.form(bad_form("c1"))
    office.reconfigure(two_accounts() + '[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n')
    assert office.services.parked.remap(ParkedFilter(), office.now).looked_at == 0
    assert len(parked_events(office.services)) == 1


def test_an_event_that_cannot_be_mapped_is_parked(office):
    assert office.form(bad_form("c1")).answer.parked == 1
    assert isinstance(
        plan_delivery(
            office.services.routes,
            Delivery(
                id="d", source="forms", method="POST", url="", headers={}, body=b"", received_at=office.now
            ),
            [Event(data=bad_form("c1"))],
            office.now,
        )[0],
        Parked,
    )


# --- the rest ----------------------------------------------------------------------------------


def test_counts_tell_what_happened(office):
    office.ask()
    office.push(DEAD)
    office.form(bad_form("c1"))
    counts = totals(office.services.store)
    assert counts["ended:dead"] == counts["events:forms:parked:form"] == counts["events:api:test:recall"] == 1


def test_purge_goes_by_the_configured_days(tmp_path, store):
    text = two_accounts() + "[store]\nretention_days = 2\n" + SOURCES_AND_ROUTES
    office = Office(tmp_path, store, text)
    office.ask()
    office.push(DEAD)
    office.pass_time(2 * 86400)
    assert purge(office.services, office.now) == 0
    office.pass_time(1)
    assert purge(office.services, office.now) == 1


# --- work that no worker takes -------------------------------------------------------------------


class Ears:
    def consumers_stalled(self, *told):
        """Nobody listens."""

    def alert_begins(self, *told):
        """Nobody listens."""

    def alert_is_over(self, *told):
        """Nobody listens."""

    def swept(self, *told):
        """Nobody listens."""

    def consumers_recovered(self, *told):
        """Nobody listens."""


def a_worker(office):
    store = Store(office.client, clock=lambda: round(office.now.timestamp() * 1000), kind="worker")
    return Heartbeat(ProcessRegistry(store), store.who, Ears(), lambda: office.now.timestamp())  # noqa: PLW0108  (the office has another `now` each time)


def stalls(office, worker):
    for _ in range(STALLED_DRAINS):
        worker.consumer_health.untaken()
        office.pass_time(STALLED_SECONDS / STALLED_DRAINS + 0.1)
    worker.send()
    worker.send()


def test_a_queue_with_work_that_no_worker_takes_says_so(office):
    office.ask()
    assert (office.services.accounts.get("bogota").state, office.services.accounts.get("bogota").reason) == (
        "idle",
        None,
    )
    office.pass_time(61)
    assert (office.services.accounts.get("bogota").state, office.services.accounts.get("bogota").reason) == (
        "idle",
        UNTAKEN,
    )
    office.claim()
    assert office.services.accounts.get("bogota").reason == "a recall is being pushed"


def test_a_queue_whose_wake_up_was_published_again_and_again_says_so(office):
    office.ask()
    for _ in range(4):
        office.pass_time(10)
        office.services.queues.sweep(9)
    assert office.services.accounts.get("bogota").reason == UNTAKEN


def test_accounts_with_work_say_that_the_workers_are_stalled_until_one_recovers(office):
    first, second = a_worker(office), a_worker(office)
    office.ask()
    stalls(office, first)
    second.send()
    assert office.services.accounts.get("bogota").reason is None
    stalls(office, second)
    view = office.services.accounts.get("bogota")
    assert (view.state, view.reason[:32]) == ("idle", "workers take no wake-ups since ")
    assert office.services.accounts.get("lima").reason is None
    with second.consumer_health.taking():
        pass
    second.send()
    assert office.services.accounts.get("bogota").reason is None


def test_what_an_account_waits_for_comes_before_the_stall_of_workers(office):
    worker = a_worker(office)
    office.ask()
    stalls(office, worker)
    office.services.accounts.pause("bogota", "for the test")
    assert office.services.accounts.get("bogota").reason == "for the test"
