"""Alerts over many processes on a real store: told once when they begin and once when they are over."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from integration.alerts.lifecycle import CLEAR_AFTER, next_steps
from integration.alerts.monitor import MESSAGE_MAX_AGE, AlertMonitor
from integration.alerts.rules import RuleFacts, RuleMatch, matching_rules
from integration.domain.account import AccountView
from integration.domain.errors import StoreAwayError
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.store.monitoring.alerts import ELECTED_SECONDS, HOLD_SECONDS
from integration.store.monitoring.source_status import SourceActivity
from support import ENVIRON, SOURCES_AND_ROUTES, make_services, two_accounts, url_of, write_config
from support.alert_receivers import MailServer, running
from support.cli_runner import Ringback

BEGIN = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Bogotá
HOURS = 'calling_hours = { weekdays = "08:00-18:00", holidays = "CO" }\ndaily_limit = 100'
CONFIG = two_accounts(more=HOURS) + SOURCES_AND_ROUTES


class Listening:
    def __init__(self):
        self.messages = []

    def alert_begins(self, *alert):
        self.messages.append(("begins", *alert))

    def alert_is_over(self, *alert):
        self.messages.append(("is over", *alert))


class AlertInstallation:
    """Processes on one store, whose time is in hand; and what the operator gets."""

    def __init__(self, folder, client, receiver, rules):
        self.folder, self.client, self.receiver = folder, client, receiver
        self.now = BEGIN
        self.listening = Listening()
        channel = f'[alerts.channels.chat]\nkind = "webhook"\nurl = "{receiver.url}"\n'
        self.write(channel + rules)
        self.names = itertools.count()
        self.first = self.process()
        self.services = self.first._services
        self.services.binding.bind()

    def write(self, alerts):
        write_config(self.folder, CONFIG + alerts)

    def process(self):
        watch = watch_config(self.folder / "ringback.toml", ENVIRON, every_seconds=0)
        store = Store(connect(url_of(self.client)), clock=lambda: round(self.now.timestamp() * 1000))
        services = Services(watch, store, WakeUpPublisher.silent())
        return AlertMonitor(services, f"web:{next(self.names)}", self.listening, lambda: self.now)

    def later(self, **time):
        self.now += timedelta(**time)

    def stop_queue(self, account="bogota", reason="wolkvox rejects the token"):
        self.client.hset(f"{{ringback}}:queue:{self.services.queues.bound()[account]}", "stopped", reason)

    def messages(self):
        return [(body["phase"], body["kind"], body["subject"]) for body in self.receiver.bodies()]


QUEUE = '[[alerts.rules]]\nkind = "queue-stopped"\n'
STOPPED = ("begins", "queue-stopped", "bogota")
GOES_ON = ("is over", "queue-stopped", "bogota")


@pytest.fixture
def here(tmp_path, store, receiver):
    return AlertInstallation(tmp_path, store, receiver, QUEUE)


# --- once --------------------------------------------------------------------------------------


def test_an_alert_is_told_once_when_it_begins_and_once_when_it_is_over(here):
    here.first.look()
    assert here.messages() == []
    here.stop_queue()
    for _ in range(3):
        here.first.look()
        here.later(seconds=10)
    assert here.messages() == [STOPPED]
    here.services.accounts.resume("bogota")
    for _ in range(10):
        here.first.look()
        here.later(seconds=10)
    assert here.messages() == [STOPPED, GOES_ON]
    assert here.listening.messages == [STOPPED, GOES_ON]
    assert here.receiver.bodies()[1]["text"].startswith("The alert lasted")


def test_a_cause_that_comes_back_within_a_minute_tells_nothing_more(here):
    here.stop_queue()
    here.first.look()
    here.services.accounts.resume("bogota")
    here.first.look()
    here.later(seconds=CLEAR_AFTER.total_seconds() - 1)
    here.stop_queue()
    here.first.look()
    here.later(minutes=10)
    here.first.look()
    assert here.messages() == [STOPPED]


def test_a_restart_tells_nothing_again(here):
    here.stop_queue()
    here.first.look()
    here.later(seconds=ELECTED_SECONDS + 1)
    here.process().look()
    assert here.messages() == [STOPPED]


def test_of_many_processes_one_judges_and_another_takes_over_when_it_is_gone(here):
    second = here.process()
    here.first.look()
    here.stop_queue()
    second.look()
    assert here.messages() == [], "the first one has the word"
    here.later(seconds=ELECTED_SECONDS + 1)
    second.look()
    assert here.messages() == [STOPPED]
    here.first.look()
    assert here.messages() == [STOPPED]


def test_processes_that_judge_at_the_same_moment_tell_once(here):
    here.stop_queue()
    monitors = [here.process() for _ in range(8)]
    together = threading.Barrier(len(monitors))

    def evaluate(monitor):
        together.wait()
        monitor.evaluate()
        monitor.deliver()

    threads = [threading.Thread(target=evaluate, args=(each,)) for each in monitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert here.messages() == [STOPPED]
    assert here.listening.messages == [STOPPED]


def test_a_rule_that_is_taken_out_is_over(here):
    here.stop_queue()
    here.first.look()
    channel = f'[alerts.channels.chat]\nkind = "webhook"\nurl = "{here.receiver.url}"\n'
    here.write(channel + '[[alerts.rules]]\nkind = "source-silent"\n')
    for _ in range(2):
        here.first.look()
        here.later(minutes=2)
    here.first.look()
    assert here.messages() == [STOPPED, GOES_ON]


# --- what is to be sent is kept ----------------------------------------------------------------


def test_a_message_that_fails_is_sent_later_and_in_order(here):
    here.receiver.answers = [500, 503]
    here.stop_queue()
    here.first.look()
    here.services.accounts.resume("bogota")
    here.first.look()
    assert here.messages() == []
    here.later(seconds=70)
    here.first.look()
    assert here.messages() == []
    (waiting,) = here.services.alerts.waiting(["chat"]).values()
    assert (waiting.messages, waiting.tries) == (2, 2)
    assert waiting.trouble == "the receiver responded with status 503. Check the receiver."
    here.later(seconds=11)
    here.first.look()
    assert here.messages() == [STOPPED, GOES_ON]
    assert here.services.alerts.waiting(["chat"])["chat"].messages == 0


def test_a_sender_that_dies_keeps_the_message_for_a_minute_only(here):
    here.stop_queue()
    here.first.evaluate()
    (taken,) = here.services.alerts.take()
    assert here.services.alerts.take() == []
    second = here.process()
    second.deliver()
    assert here.messages() == []
    here.later(seconds=HOLD_SECONDS + 1)
    second.deliver()
    assert here.messages() == [STOPPED]
    assert here.receiver.bodies()[0]["id"] == taken.message.id


def test_a_channel_may_wait_for_a_moment_that_is_set(here):
    here.stop_queue()
    here.first.evaluate()
    (taken,) = here.services.alerts.take()
    here.services.alerts.wait(taken, 5, "for the test")
    here.later(seconds=6)
    (again,) = here.services.alerts.take()
    assert (again.text, again.tries) == (taken.text, 2)


def test_messages_survive_the_store(tmp_path, start_valkey, receiver):
    server = start_valkey()
    with server.client() as client:
        here = AlertInstallation(tmp_path, client, receiver, QUEUE)
        here.stop_queue()
        here.first.evaluate()
        server.kill()
        with pytest.raises(StoreAwayError):
            here.first.look()
        server.start()
        here.first.look()
        assert here.messages() == [STOPPED]


def test_a_channel_that_is_slow_or_away_holds_up_no_other(tmp_path, store, receiver):
    here = AlertInstallation(
        tmp_path,
        store,
        receiver,
        QUEUE + '[alerts.channels.gone]\nkind = "slack"\nurl = "http://127.0.0.1:9"\n',
    )
    here.stop_queue()
    here.first.look()
    assert here.messages() == [STOPPED]
    assert here.services.alerts.waiting(["gone"])["gone"].messages == 1


def test_after_three_days_a_message_is_given_up_and_counted(here):
    here.receiver.answers = [500]
    here.stop_queue()
    here.first.look()
    here.later(seconds=MESSAGE_MAX_AGE.total_seconds() + 60)
    here.receiver.answers = [500]
    here.first.deliver()
    assert here.services.alerts.waiting(["chat"])["chat"].messages == 0
    counts = here.services.counters.take()["counts"]
    assert (counts["alert messages:chat:failed"], counts["alert messages:chat:given up"]) == (1, 1)


def test_messages_of_a_channel_that_is_no_longer_configured_are_dropped(here):
    here.stop_queue()
    here.first.evaluate()
    here.write(QUEUE)
    here.first.look()
    assert here.services.alerts.waiting(["chat"])["chat"].messages == 0
    assert here.messages() == []


def test_a_rule_tells_its_own_channels_only(tmp_path, store, receiver):
    with running(MailServer(tmp_path)) as mails:
        more = (
            f'[alerts.channels.mail]\nkind = "email"\nhost = "127.0.0.1"\nport = {mails.port}\n'
            'security = "none"\nsender = "r@example.com"\nto = "o@example.com"\n'
        )
        here = AlertInstallation(tmp_path, store, receiver, more + QUEUE + 'channels = "mail"\n')
        here.stop_queue()
        here.first.look()
        assert here.messages() == []
        ((to, mail, _),) = mails.mails
        assert (to, mail["Subject"]) == (("o@example.com",), "Ringback: Account bogota is stopped")


def test_many_alerts_of_a_kind_at_once_are_one_message(tmp_path, store, receiver):
    here = AlertInstallation(tmp_path, store, receiver, QUEUE)
    known = {
        f"a{n}": RuleMatch(
            key=f"queue-stopped//a{n}", kind="queue-stopped", subject=f"a{n}", channels=frozenset({"chat"})
        )
        for n in range(30)
    }
    found = {rule_match.key: rule_match for rule_match in known.values()}
    begun, _ = here.services.alerts.settle(next_steps({}, found, here.now))
    assert len(begun) == 30
    again, _ = here.services.alerts.settle(next_steps({}, found, here.now))
    assert again == []
    here.first.deliver()
    (body,) = here.receiver.bodies()
    assert body["title"] == "Ringback: 30 alerts at once: queue-stopped"
    assert body["text"].startswith("a0, a1, a10,")
    assert body["text"].endswith("and 10 more.")
    for _ in range(2):
        holding = {alert.key: alert for alert in here.services.alerts.holding()}
        here.services.alerts.settle(next_steps(holding, {}, here.now))
        here.later(seconds=61)
    here.first.deliver()
    assert [each["title"] for each in here.receiver.bodies()][1:] == [
        "Ringback: Resolved: 30 alerts at once: queue-stopped"
    ]


def test_a_message_about_many_is_posted_when_one_of_them_is_news(here):
    def rule_match(n):
        return RuleMatch(key=f"k/{n}", kind="dead-letters", subject=f"a{n}", channels=frozenset({"chat"}))

    first = {each.key: each for each in map(rule_match, range(3))}
    here.services.alerts.settle(next_steps({}, first, here.now))
    here.first.deliver()
    all_of_them = {each.key: each for each in map(rule_match, range(9))}
    begun, _ = here.services.alerts.settle(next_steps({}, all_of_them, here.now))
    assert {alert.key for alert in begun} == {f"k/{n}" for n in range(3, 9)}
    here.first.deliver()
    assert len(here.receiver.posts) == 4


def test_no_worker_is_told_when_it_lasts(tmp_path, store, receiver):
    here = AlertInstallation(tmp_path, store, receiver, '[[alerts.rules]]\nkind = "no-worker"\nminutes = 2\n')
    for _ in range(4):
        here.first.look()
        here.later(seconds=30)
    assert here.messages() == []
    here.later(seconds=10)
    here.first.look()
    assert here.messages() == [("begins", "no-worker", "")]
    here.services.processes.heartbeat("worker:1", BEAT)
    here.first.look()
    here.later(seconds=61)
    here.services.processes.heartbeat("worker:1", BEAT)
    here.first.look()
    assert here.messages()[1:] == [("is over", "no-worker", "")]


BEAT = {
    "kind": "worker", "host": "h", "pid": 1, "version": "0", "by_wake_up": 0, "by_sweep": 0, "started": 0,
    "wake_ups": 0, "sweeps": 0,
}  # fmt: skip


def test_a_pending_alert_whose_cause_goes_is_forgotten_untold(tmp_path, store, receiver):
    here = AlertInstallation(tmp_path, store, receiver, '[[alerts.rules]]\nkind = "no-worker"\nminutes = 2\n')
    here.first.look()
    here.services.processes.heartbeat("worker:1", BEAT)
    here.first.look()
    assert here.services.alerts.holding() == []
    assert here.messages() == []


# --- rules -------------------------------------------------------------------------------------


def view(name="bogota", **more):
    fields = {"state": "idle", "reason": None, "until": None, "queued": 0, "dead": 0, "pushed_today": 0}
    return AccountView(name=name, **{**fields, "daily_limit": 100, "oldest_seconds": None, **more})


def evaluated(services, rule, **facts):
    config = services.config.model_copy(update={"alerts": rules_of(services, rule)})
    known = {
        "now": BEGIN,
        "accounts": [],
        "sources": {},
        "workers": 1,
        "due_lag_seconds": 0.0,
        "store_problem": None,
    }
    return {
        rule_match.subject: rule_match.values
        for rule_match in matching_rules(config, RuleFacts(**{**known, **facts})).values()
    }


def rules_of(services, rule):
    from integration.config.alert_models import RULE_KINDS

    kind = rule.pop("kind")
    return services.config.alerts.model_copy(update={"rules": (RULE_KINDS[kind](kind=kind, **rule),)})


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, CONFIG)


def test_the_oldest_queued_counts_from_the_minute_that_is_set(services):
    views = [view(oldest_seconds=900.0, queued=1), view("lima", oldest_seconds=901.0, queued=4)]
    assert set(evaluated(services, {"kind": "oldest-queued"}, accounts=views)) == {"lima"}
    assert evaluated(services, {"kind": "oldest-queued", "accounts": "bogota"}, accounts=views) == {}


def test_dead_letters_count(services):
    views = [view(dead=2), view("lima", dead=3)]
    assert set(evaluated(services, {"kind": "dead-letters", "count": 3}, accounts=views)) == {"lima"}


def test_the_quota_is_told_at_its_percentage_and_not_where_there_is_none(services):
    views = [
        view(pushed_today=79),
        view("lima", pushed_today=80),
        view("x", pushed_today=999, daily_limit=None),
    ]
    assert evaluated(services, {"kind": "quota-used"}, accounts=views)["lima"]["percent"] == 80
    assert set(evaluated(services, {"kind": "quota-used"}, accounts=views)) == {"lima"}


def test_the_due_lag(services):
    assert evaluated(services, {"kind": "due-lag"}, due_lag_seconds=29.9) == {}
    assert evaluated(services, {"kind": "due-lag"}, due_lag_seconds=30.0)[""]["seconds"] == 30


def last_activity(**ago):
    return {"forms": SourceActivity(taken=BEGIN - timedelta(**ago))}


def test_a_source_is_silent_after_its_hours_and_one_never_heard_is_being_set_up(services):
    rule = {"kind": "source-silent", "hours": 4}
    assert evaluated(services, dict(rule), sources=last_activity(hours=3, minutes=59)) == {}
    assert evaluated(services, dict(rule), sources=last_activity(hours=4))["forms"]["hours"] == 4
    assert evaluated(services, dict(rule), sources={"forms": SourceActivity()}) == {}


def test_silence_outside_the_calling_hours_does_not_count(services):
    rule = {"kind": "source-silent", "hours": 4, "hours_of": "bogota"}
    assert evaluated(services, dict(rule), sources=last_activity(hours=16)) == {}, "10:00, open since 08:00"
    assert evaluated(services, dict(rule), sources=last_activity(hours=18))["forms"]["hours"] == 4, (
        "and from 16:00 to 18:00"
    )
    monday = datetime(2026, 11, 16, 20, 0, tzinfo=UTC)  # a holiday of Colombia
    silent = {"forms": SourceActivity(taken=datetime(2026, 11, 13, 22, 0, tzinfo=UTC))}
    assert evaluated(services, dict(rule), sources=silent, now=monday) == {}


def test_nothing_verified(services):
    rule = {"kind": "nothing-verified", "minutes": 15}
    since = BEGIN - timedelta(minutes=20)
    lately = SourceActivity(refusing_since=since, refused=BEGIN - timedelta(minutes=1), refusals=4)
    assert evaluated(services, dict(rule), sources={"forms": lately})["forms"]["refusals"] == 4
    short = SourceActivity(refusing_since=BEGIN - timedelta(minutes=14), refused=BEGIN, refusals=4)
    assert evaluated(services, dict(rule), sources={"forms": short}) == {}
    long_ago = SourceActivity(
        refusing_since=BEGIN - timedelta(days=3), refused=BEGIN - timedelta(days=2), refusals=4
    )
    assert evaluated(services, dict(rule), sources={"forms": long_ago}) == {}
    assert (
        evaluated(services, dict(rule), sources={"forms": SourceActivity(taken=BEGIN, refused=BEGIN)}) == {}
    )


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def ringback(here):
    return Ringback(here.folder / "ringback.toml", {"REDIS_URL": url_of(here.client)})


def test_the_command_shows_what_holds_and_what_waits(here, ringback):
    assert "No alerts. 1 rule checked." in ringback("alerts").stdout
    here.receiver.answers = [500]
    here.stop_queue()
    here.first.look()
    shown = ringback("alerts").stdout
    assert "Account bogota is stopped. wolkvox rejects the token. Waiting recalls: 0." in shown
    assert "channel chat: 1 message not sent: the receiver responded with status 500" in shown
    messages = ringback.json("alerts")
    assert [(item["kind"], item["subject"], item["sent"]) for item in messages["items"]] == [
        ("queue-stopped", "bogota", True)
    ]


def test_the_command_tries_channels(here, ringback):
    assert ringback("alerts", "--test").stdout == "chat: sent\n"
    assert ringback("alerts", "--test", "chat").exit_code == 0
    assert here.messages() == [("test", "test", "")] * 2
    here.receiver.answers = [500]
    failed = ringback("alerts", "--test", "chat")
    assert (failed.exit_code, failed.stdout) == (
        1,
        "chat: not sent: the receiver responded with status 500. Check the receiver.\n",
    )
    unknown = ringback("alerts", "--test", "nobody")
    assert unknown.exit_code == 1
    assert "there is no channel 'nobody'. Known: chat" in unknown.stderr


def test_a_message_holds_no_customers_data(here):
    here.stop_queue(reason="refused: customer 80123456 at +57 300 111 2233")
    here.first.look()
    text = json.dumps(here.receiver.bodies())
    for part in ("80123456", "3001112233", "300 111 2233", *ENVIRON.values()):
        assert part not in text
