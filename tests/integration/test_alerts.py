"""Alerts over many processes on a real store: told once when they begin and once when they are over."""

from __future__ import annotations

import itertools
import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from integration.alerts.rules import Facts, Finding, findings
from integration.config_file import ConfigWatch
from integration.errors import StoreAwayError
from support import ENVIRON, SOURCES_AND_ROUTES, make_desk, two_accounts, url_of, write_config
from support.alert_receivers import MailServer, running
from support.cli_runner import Ringback
from workers.alerts import CALM, HOLD_SECONDS, MINDED_SECONDS, next_steps
from workers.desk import AccountView, Desk
from workers.senders import Heard
from workers.store import Store, connect
from workers.wakeup import WakeUpPublisher
from workers.watchman import KEPT, Watchman

BEGIN = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)  # a Wednesday, 10:00 in Bogotá
HOURS = 'calling_hours = { weekdays = "08:00-18:00", holidays = "CO" }\ndaily_limit = 100'
CONFIG = two_accounts(more=HOURS) + SOURCES_AND_ROUTES


class Listening:
    def __init__(self):
        self.told = []

    def alert_begins(self, *told):
        self.told.append(("begins", *told))

    def alert_is_over(self, *told):
        self.told.append(("is over", *told))


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
        self.desk = self.first._desk
        self.desk.bind()

    def write(self, alerts):
        write_config(self.folder, CONFIG + alerts)

    def process(self):
        watch = ConfigWatch(self.folder / "ringback.toml", ENVIRON, every_seconds=0)
        store = Store(connect(url_of(self.client)), clock=lambda: round(self.now.timestamp() * 1000))
        desk = Desk(watch, store, WakeUpPublisher.silent())
        return Watchman(desk, f"web:{next(self.names)}", self.listening, lambda: self.now)

    def later(self, **time):
        self.now += timedelta(**time)

    def stop_lane(self, account="bogota", reason="wolkvox does not take the token"):
        self.client.hset(f"{{ringback}}:lane:{self.desk.lanes.bound()[account]}", "stopped", reason)

    def told(self):
        return [(body["phase"], body["kind"], body["subject"]) for body in self.receiver.bodies()]


LANE = '[[alerts.rules]]\nkind = "lane-stopped"\n'
STOPPED = ("begins", "lane-stopped", "bogota")
GOES_ON = ("is over", "lane-stopped", "bogota")


@pytest.fixture
def here(tmp_path, store, receiver):
    return AlertInstallation(tmp_path, store, receiver, LANE)


# --- once --------------------------------------------------------------------------------------


def test_an_alert_is_told_once_when_it_begins_and_once_when_it_is_over(here):
    here.first.look()
    assert here.told() == []
    here.stop_lane()
    for _ in range(3):
        here.first.look()
        here.later(seconds=10)
    assert here.told() == [STOPPED]
    here.desk.resume("bogota")
    for _ in range(10):
        here.first.look()
        here.later(seconds=10)
    assert here.told() == [STOPPED, GOES_ON]
    assert here.listening.told == [STOPPED, GOES_ON]
    assert here.receiver.bodies()[1]["text"].startswith("It lasted")


def test_a_cause_that_comes_back_within_a_minute_tells_nothing_more(here):
    here.stop_lane()
    here.first.look()
    here.desk.resume("bogota")
    here.first.look()
    here.later(seconds=CALM.total_seconds() - 1)
    here.stop_lane()
    here.first.look()
    here.later(minutes=10)
    here.first.look()
    assert here.told() == [STOPPED]


def test_a_restart_tells_nothing_again(here):
    here.stop_lane()
    here.first.look()
    here.later(seconds=MINDED_SECONDS + 1)
    here.process().look()
    assert here.told() == [STOPPED]


def test_of_many_processes_one_judges_and_another_takes_over_when_it_is_gone(here):
    second = here.process()
    here.first.look()
    here.stop_lane()
    second.look()
    assert here.told() == [], "the first one has the word"
    here.later(seconds=MINDED_SECONDS + 1)
    second.look()
    assert here.told() == [STOPPED]
    here.first.look()
    assert here.told() == [STOPPED]


def test_processes_that_judge_at_the_same_moment_tell_once(here):
    here.stop_lane()
    watchmen = [here.process() for _ in range(8)]
    together = threading.Barrier(len(watchmen))

    def judge(watchman):
        together.wait()
        watchman.judge()
        watchman.deliver()

    threads = [threading.Thread(target=judge, args=(each,)) for each in watchmen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert here.told() == [STOPPED]
    assert here.listening.told == [STOPPED]


def test_a_rule_that_is_taken_out_is_over(here):
    here.stop_lane()
    here.first.look()
    here.write(f'[alerts.channels.chat]\nkind = "webhook"\nurl = "{here.receiver.url}"\n')
    for _ in range(2):
        here.first.look()
        here.later(minutes=2)
    here.first.look()
    assert here.told() == [STOPPED, GOES_ON]


# --- what is to be sent is kept ----------------------------------------------------------------


def test_a_message_that_fails_is_sent_later_and_in_order(here):
    here.receiver.answers = [500, 503]
    here.stop_lane()
    here.first.look()
    here.desk.resume("bogota")
    here.first.look()
    assert here.told() == []
    here.later(seconds=70)
    here.first.look()
    assert here.told() == []
    (waiting,) = here.desk.alerts.waiting(["chat"]).values()
    assert (waiting.messages, waiting.tries, waiting.trouble) == (2, 2, "answered 503")
    here.later(seconds=11)
    here.first.look()
    assert here.told() == [STOPPED, GOES_ON]
    assert here.desk.alerts.waiting(["chat"])["chat"].messages == 0


def test_a_sender_that_dies_keeps_the_message_for_a_minute_only(here):
    here.stop_lane()
    here.first.judge()
    (taken,) = here.desk.alerts.take()
    assert here.desk.alerts.take() == []
    second = here.process()
    second.deliver()
    assert here.told() == []
    here.later(seconds=HOLD_SECONDS + 1)
    second.deliver()
    assert here.told() == [STOPPED]
    assert here.receiver.bodies()[0]["id"] == taken.message.id


def test_a_channel_may_wait_for_a_moment_that_is_set(here):
    here.stop_lane()
    here.first.judge()
    (taken,) = here.desk.alerts.take()
    here.desk.alerts.wait(taken, 5, "for the test")
    here.later(seconds=6)
    (again,) = here.desk.alerts.take()
    assert (again.text, again.tries) == (taken.text, 2)


def test_messages_survive_the_store(tmp_path, start_valkey, receiver):
    server = start_valkey()
    with server.client() as client:
        here = AlertInstallation(tmp_path, client, receiver, LANE)
        here.stop_lane()
        here.first.judge()
        server.kill()
        with pytest.raises(StoreAwayError):
            here.first.look()
        server.start()
        here.first.look()
        assert here.told() == [STOPPED]


def test_a_channel_that_is_slow_or_away_holds_up_no_other(tmp_path, store, receiver):
    here = AlertInstallation(
        tmp_path,
        store,
        receiver,
        LANE + '[alerts.channels.gone]\nkind = "slack"\nurl = "http://127.0.0.1:9"\n',
    )
    here.stop_lane()
    here.first.look()
    assert here.told() == [STOPPED]
    assert here.desk.alerts.waiting(["gone"])["gone"].messages == 1


def test_after_three_days_a_message_is_given_up_and_counted(here):
    here.receiver.answers = [500]
    here.stop_lane()
    here.first.look()
    here.later(seconds=KEPT.total_seconds() + 60)
    here.receiver.answers = [500]
    here.first.deliver()
    assert here.desk.alerts.waiting(["chat"])["chat"].messages == 0
    counts = here.desk.tally.take()["counts"]
    assert (counts["alert messages:chat:failed"], counts["alert messages:chat:given up"]) == (1, 1)


def test_messages_of_a_channel_that_is_no_longer_configured_are_dropped(here):
    here.stop_lane()
    here.first.judge()
    here.write("")
    here.first.look()
    assert here.desk.alerts.waiting(["chat"])["chat"].messages == 0
    assert here.told() == []


def test_a_rule_tells_its_own_channels_only(tmp_path, store, receiver):
    with running(MailServer(tmp_path)) as mails:
        more = (
            f'[alerts.channels.mail]\nkind = "email"\nhost = "127.0.0.1"\nport = {mails.port}\n'
            'security = "none"\nsender = "r@example.com"\nto = "o@example.com"\n'
        )
        here = AlertInstallation(tmp_path, store, receiver, more + LANE + 'channels = "mail"\n')
        here.stop_lane()
        here.first.look()
        assert here.told() == []
        ((to, mail, _),) = mails.mails
        assert (to, mail["Subject"]) == (("o@example.com",), "Ringback: Account bogota is stopped")


def test_many_alerts_of_a_kind_at_once_are_one_message(tmp_path, store, receiver):
    here = AlertInstallation(tmp_path, store, receiver, LANE)
    known = {
        f"a{n}": Finding(
            key=f"lane-stopped//a{n}", kind="lane-stopped", subject=f"a{n}", channels=frozenset({"chat"})
        )
        for n in range(30)
    }
    found = {finding.key: finding for finding in known.values()}
    begun, _ = here.desk.alerts.settle(next_steps({}, found, here.now), here.now)
    assert len(begun) == 30
    again, _ = here.desk.alerts.settle(next_steps({}, found, here.now), here.now)
    assert again == []
    here.first.deliver()
    (body,) = here.receiver.bodies()
    assert body["title"] == "Ringback: 30 at once: lane-stopped"
    assert body["text"].startswith("a0, a1, a10,")
    assert body["text"].endswith("and 10 more.")
    for _ in range(2):
        holding = {alert.key: alert for alert in here.desk.alerts.holding()}
        here.desk.alerts.settle(next_steps(holding, {}, here.now), here.now)
        here.later(seconds=61)
    here.first.deliver()
    assert [each["title"] for each in here.receiver.bodies()][1:] == [
        "Ringback: Over: 30 at once: lane-stopped"
    ]


def test_a_message_about_many_is_posted_when_one_of_them_is_news(here):
    def finding(n):
        return Finding(key=f"k/{n}", kind="dead-letters", subject=f"a{n}", channels=frozenset({"chat"}))

    first = {each.key: each for each in map(finding, range(3))}
    here.desk.alerts.settle(next_steps({}, first, here.now), here.now)
    here.first.deliver()
    all_of_them = {each.key: each for each in map(finding, range(9))}
    begun, _ = here.desk.alerts.settle(next_steps({}, all_of_them, here.now), here.now)
    assert {alert.key for alert in begun} == {f"k/{n}" for n in range(3, 9)}
    here.first.deliver()
    assert len(here.receiver.posts) == 4


def test_no_worker_is_told_when_it_lasts(tmp_path, store, receiver):
    here = AlertInstallation(tmp_path, store, receiver, '[[alerts.rules]]\nkind = "no-worker"\nminutes = 2\n')
    for _ in range(4):
        here.first.look()
        here.later(seconds=30)
    assert here.told() == []
    here.later(seconds=10)
    here.first.look()
    assert here.told() == [("begins", "no-worker", "")]
    here.desk.processes.beat("worker:1", BEAT)
    here.first.look()
    here.later(seconds=61)
    here.desk.processes.beat("worker:1", BEAT)
    here.first.look()
    assert here.told()[1:] == [("is over", "no-worker", "")]


BEAT = {
    "kind": "worker", "host": "h", "pid": 1, "version": "0", "by_doorbell": 0, "by_sweep": 0, "started": 0,
    "doorbells": 0, "sweeps": 0,
}  # fmt: skip


def test_a_pending_alert_whose_cause_goes_is_forgotten_untold(tmp_path, store, receiver):
    here = AlertInstallation(tmp_path, store, receiver, '[[alerts.rules]]\nkind = "no-worker"\nminutes = 2\n')
    here.first.look()
    here.desk.processes.beat("worker:1", BEAT)
    here.first.look()
    assert here.desk.alerts.holding() == []
    assert here.told() == []


# --- rules -------------------------------------------------------------------------------------


def view(name="bogota", **more):
    fields = {"state": "idle", "reason": None, "until": None, "queued": 0, "dead": 0, "pushed_today": 0}
    return AccountView(name=name, **{**fields, "daily_limit": 100, "oldest_seconds": None, **more})


def judged(desk, rule, **facts):
    config = desk.config.model_copy(update={"alerts": rules_of(desk, rule)})
    known = {"now": BEGIN, "accounts": [], "sources": {}, "workers": 1, "due_lag_seconds": 0.0}
    return {
        finding.subject: finding.values for finding in findings(config, Facts(**{**known, **facts})).values()
    }


def rules_of(desk, rule):
    from integration.config import RULE_KINDS

    kind = rule.pop("kind")
    return desk.config.alerts.model_copy(update={"rules": (RULE_KINDS[kind](kind=kind, **rule),)})


@pytest.fixture
def desk(tmp_path, store):
    return make_desk(tmp_path, store, CONFIG)


def test_the_oldest_queued_counts_from_the_minute_that_is_set(desk):
    views = [view(oldest_seconds=900.0, queued=1), view("lima", oldest_seconds=901.0, queued=4)]
    assert set(judged(desk, {"kind": "oldest-queued"}, accounts=views)) == {"lima"}
    assert judged(desk, {"kind": "oldest-queued", "accounts": "bogota"}, accounts=views) == {}


def test_dead_letters_count(desk):
    views = [view(dead=2), view("lima", dead=3)]
    assert set(judged(desk, {"kind": "dead-letters", "count": 3}, accounts=views)) == {"lima"}


def test_the_quota_is_told_at_its_percentage_and_not_where_there_is_none(desk):
    views = [
        view(pushed_today=79),
        view("lima", pushed_today=80),
        view("x", pushed_today=999, daily_limit=None),
    ]
    assert judged(desk, {"kind": "quota-used"}, accounts=views)["lima"]["percent"] == 80
    assert set(judged(desk, {"kind": "quota-used"}, accounts=views)) == {"lima"}


def test_the_due_lag(desk):
    assert judged(desk, {"kind": "due-lag"}, due_lag_seconds=29.9) == {}
    assert judged(desk, {"kind": "due-lag"}, due_lag_seconds=30.0)[""]["seconds"] == 30


def heard(**ago):
    return {"forms": Heard(taken=BEGIN - timedelta(**ago))}


def test_a_source_is_silent_after_its_hours_and_one_never_heard_is_being_set_up(desk):
    rule = {"kind": "source-silent", "hours": 4}
    assert judged(desk, dict(rule), sources=heard(hours=3, minutes=59)) == {}
    assert judged(desk, dict(rule), sources=heard(hours=4))["forms"]["hours"] == 4
    assert judged(desk, dict(rule), sources={"forms": Heard()}) == {}


def test_silence_outside_the_calling_hours_does_not_count(desk):
    rule = {"kind": "source-silent", "hours": 4, "hours_of": "bogota"}
    assert judged(desk, dict(rule), sources=heard(hours=16)) == {}, "10:00, open since 08:00"
    assert judged(desk, dict(rule), sources=heard(hours=18))["forms"]["hours"] == 4, "and from 16:00 to 18:00"
    monday = datetime(2026, 11, 16, 20, 0, tzinfo=UTC)  # a holiday of Colombia
    silent = {"forms": Heard(taken=datetime(2026, 11, 13, 22, 0, tzinfo=UTC))}
    assert judged(desk, dict(rule), sources=silent, now=monday) == {}


def test_nothing_verified(desk):
    rule = {"kind": "nothing-verified", "minutes": 15}
    since = BEGIN - timedelta(minutes=20)
    lately = Heard(refusing_since=since, refused=BEGIN - timedelta(minutes=1), refusals=4)
    assert judged(desk, dict(rule), sources={"forms": lately})["forms"]["refusals"] == 4
    short = Heard(refusing_since=BEGIN - timedelta(minutes=14), refused=BEGIN, refusals=4)
    assert judged(desk, dict(rule), sources={"forms": short}) == {}
    long_ago = Heard(refusing_since=BEGIN - timedelta(days=3), refused=BEGIN - timedelta(days=2), refusals=4)
    assert judged(desk, dict(rule), sources={"forms": long_ago}) == {}
    assert judged(desk, dict(rule), sources={"forms": Heard(taken=BEGIN, refused=BEGIN)}) == {}


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def ringback(here):
    return Ringback(here.folder / "ringback.toml", {"REDIS_URL": url_of(here.client)})


def test_the_command_shows_what_holds_and_what_waits(here, ringback):
    assert "Nothing holds. 1 rule looked at." in ringback("alerts").stdout
    here.receiver.answers = [500]
    here.stop_lane()
    here.first.look()
    shown = ringback("alerts").stdout
    assert "Account bogota is stopped. wolkvox does not take the token. 0 recalls wait." in shown
    assert "channel chat: 1 message not sent yet: answered 500" in shown
    told = ringback.json("alerts")
    assert [(item["kind"], item["subject"], item["told"]) for item in told["items"]] == [
        ("lane-stopped", "bogota", True)
    ]


def test_the_command_tries_channels(here, ringback):
    assert ringback("alerts", "--test").stdout == "chat: sent\n"
    assert ringback("alerts", "--test", "chat").exit_code == 0
    assert here.told() == [("test", "test", "")] * 2
    here.receiver.answers = [500]
    failed = ringback("alerts", "--test", "chat")
    assert (failed.exit_code, failed.stdout) == (1, "chat: not sent: answered 500\n")
    unknown = ringback("alerts", "--test", "nobody")
    assert unknown.exit_code == 1
    assert "no such channel: 'nobody'; known: chat" in unknown.stderr


def test_a_message_holds_no_customers_data(here):
    here.stop_lane(reason="refused: customer 80123456 at +57 300 111 2233")
    here.first.look()
    text = json.dumps(here.receiver.bodies())
    for part in ("80123456", "3001112233", "300 111 2233", *ENVIRON.values()):
        assert part not in text
