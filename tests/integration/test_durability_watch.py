"""A store that stops being safe while Ringback runs: found, reported, and noticed again when it is mended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis
from flask import Flask

from integration.alerts.monitor import AlertMonitor
from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.domain.recall import Filter
from integration.store.client import Store
from integration.store.monitoring.durability_watch import SETTINGS_SECONDS, WRITE_SECONDS, DurabilityWatch
from integration.web.health import health_blueprint
from integration.web.problems import install
from support import SOURCES_AND_ROUTES, make_services, two_accounts, url_of
from support.cli_runner import Ringback
from support.hook_client import AT, HookClient
from support.waiting import wait_until

ALERT = """
[alerts.channels.chat]
kind = "webhook"
url = "http://127.0.0.1:9/"
"""


class Installation:
    """A web on a store whose settings may be changed. Its watch looks when the test says so."""

    def __init__(self, folder, server):
        self.admin = server.client()
        self.services = make_services(folder, self.admin, two_accounts() + SOURCES_AND_ROUTES + ALERT)
        self.now = 1000.0
        self.services.durability._clock = lambda: self.now
        self.services.binding.bind()
        self.hooks = HookClient(self.services)
        app = Flask("ringback", static_folder=None)
        install(app)
        app.register_blueprint(health_blueprint(self.services))
        self.health = app.test_client()
        self.look()

    def look(self, seconds=WRITE_SECONDS):
        self.now += seconds
        self.services.durability.look()

    def ready(self):
        return self.health.get("/readyz")

    def post(self, message_id):
        return self.hooks.post(
            "forms", {"customer": "c1", "phone": "3001112233", "at": AT}, message_id=message_id
        )


@pytest.fixture
def installation(tmp_path, start_valkey):
    return Installation(tmp_path, start_valkey())


def test_a_safe_store_has_no_problem(installation):
    assert installation.services.durability.problem is None
    assert installation.ready().status_code == 200
    assert installation.post("m1").status_code == 202


def wait_for_log(admin):
    """Wait until the log is written that begins with `appendonly yes`."""
    wait_until(lambda: admin.info("persistence")["aof_rewrite_in_progress"] == 0, what="the log")


def let_log_be_written(client):
    client.config_set("rdb-key-save-delay", 0)
    switch_log_off_and_on(client)
    wait_for_log(client)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("appendonly", "no"),
        ("appendfsync", "everysec"),
        ("no-appendfsync-on-rewrite", "yes"),
        ("maxmemory-policy", "allkeys-lru"),
    ],
)
def test_a_setting_that_was_changed_is_found_within_a_minute(installation, setting, value):
    before = installation.admin.config_get(setting)[setting]
    installation.admin.config_set(setting, value)
    installation.look(SETTINGS_SECONDS)
    assert setting in installation.services.durability.problem
    answer = installation.ready()
    assert (answer.status_code, answer.json["store"]["ready"]) == (503, False)
    assert setting in answer.json["store"]["why"]
    rejected = installation.post("m1")
    assert rejected.status_code == 503
    assert int(rejected.headers["Retry-After"]) > 0
    installation.admin.config_set(setting, before)
    wait_for_log(installation.admin)
    installation.look()
    assert installation.services.durability.problem is None
    assert installation.ready().status_code == 200
    assert installation.post("m1").status_code == 202


def test_a_log_that_is_switched_on_counts_when_it_is_written(installation):
    admin = installation.admin
    for key in range(20):
        admin.set(f"key{key}", key)
    admin.config_set("appendonly", "no")
    installation.look(SETTINGS_SECONDS)
    admin.config_set("rdb-key-save-delay", 1_000_000)  # microseconds that the rewrite takes for a key
    admin.config_set("appendonly", "yes")
    wait_until(lambda: admin.info("persistence")["aof_rewrite_in_progress"] == 1, what="the rewrite")
    installation.look()
    assert "the server has not written its log yet" in installation.services.durability.problem
    assert installation.post("m1").status_code == 503
    admin.config_set("rdb-key-save-delay", 0)
    admin.config_set("appendonly", "no")  # ends the slow rewrite
    admin.config_set("appendonly", "yes")
    wait_for_log(admin)
    installation.look()
    assert installation.services.durability.problem is None
    assert installation.post("m1").status_code == 202


@pytest.fixture
def slow_rewrite(start_valkey):
    """A server that writes its first log for long after `appendonly yes`."""
    with start_valkey().client() as admin:
        for key in range(20):
            admin.set(f"key{key}", key)
        admin.config_set("rdb-key-save-delay", 1_000_000)
        yield admin
        admin.config_set("rdb-key-save-delay", 0)
        admin.config_set("appendonly", "no")  # ends the slow rewrite


def watch_on(client):
    return DurabilityWatch(Store(client), lambda: False)


def switch_log_off_and_on(admin):
    admin.config_set("appendonly", "no")
    admin.config_set("appendonly", "yes")


def test_a_process_that_starts_before_the_log_is_written_acknowledges_nothing(slow_rewrite):
    switch_log_off_and_on(slow_rewrite)
    with pytest.raises(StoreUnsafeError, match="the server has not written its log yet"):
        watch_on(slow_rewrite).assure()


def test_a_log_that_was_off_between_two_looks_counts_when_it_is_written(slow_rewrite):
    watch = watch_on(slow_rewrite)
    watch.assure()
    switch_log_off_and_on(slow_rewrite)
    with pytest.raises(StoreUnsafeError, match="the server has not written its log yet"):
        watch.assure()
    let_log_be_written(slow_rewrite)
    watch.assure()


def test_an_ordinary_rewrite_of_the_log_delays_no_start(slow_rewrite):
    slow_rewrite.bgrewriteaof()
    wait_until(lambda: slow_rewrite.info("persistence")["aof_rewrite_in_progress"] == 1, what="the rewrite")
    watch_on(slow_rewrite).assure()


@pytest.fixture
def client_without_waitaof(slow_rewrite):
    slow_rewrite.acl_setuser("old", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-waitaof"])
    place = slow_rewrite.get_connection_kwargs()
    with redis.Redis(host=place["host"], port=place["port"], username="old", password="x") as client:
        yield client


def test_on_a_server_without_waitaof_any_rewrite_delays_the_first_look_only(client_without_waitaof):
    client = client_without_waitaof
    begun = watch_on(client)
    begun.assure()
    client.bgrewriteaof()
    wait_until(lambda: client.info("persistence")["aof_rewrite_in_progress"] == 1, what="the rewrite")
    begun.assure()
    with pytest.raises(StoreUnsafeError, match="the server has not written its log yet"):
        watch_on(client).assure()


def test_on_a_server_without_waitaof_a_log_that_was_off_between_two_looks_is_found(client_without_waitaof):
    """The number of CONFIG SET commands tells it."""
    client = client_without_waitaof
    watch = watch_on(client)
    watch.assure()
    switch_log_off_and_on(client)
    for _ in range(2):
        with pytest.raises(StoreUnsafeError, match="the server has not written its log yet"):
            watch.assure()
    let_log_be_written(client)
    watch.assure()


def test_the_settings_are_not_read_every_few_seconds(installation):
    installation.admin.config_set("appendonly", "no")
    installation.look(SETTINGS_SECONDS - 2 * WRITE_SECONDS)
    assert installation.services.durability.problem is None


def test_a_program_that_asks_for_a_recall_is_rejected_too(installation):
    installation.admin.config_set("appendonly", "no")
    installation.look(SETTINGS_SECONDS)
    with pytest.raises(StoreAwayError, match="appendonly"):
        installation.services.admission.admit_one(None, expired=None, key="", fingerprint="")


def test_an_unsafe_store_takes_no_cancellation_retry_or_remap(installation):
    services = installation.services
    assert installation.post("m1").status_code == 202
    (recall,) = services.recalls.records.page(Filter(), limit=10)[0]
    installation.admin.config_set("appendonly", "no")
    installation.look(SETTINGS_SECONDS)
    with pytest.raises(StoreAwayError, match="appendonly"):
        services.recalls.cancel(recall.id, "x")
    with pytest.raises(StoreAwayError, match="appendonly"):
        services.recalls.retry(recall.id, "x", datetime.now(UTC))
    with pytest.raises(StoreAwayError, match="appendonly"):
        services.admission.resolve(None, (), parked=True)
    assert services.recalls.records.get(recall.id).state == "queued"


def test_a_loss_that_is_accepted_is_no_problem(tmp_path, start_valkey):
    with start_valkey("--appendonly", "no").client() as client:
        services = make_services(
            tmp_path, client, two_accounts() + SOURCES_AND_ROUTES + "\n[store]\naccept_loss = true\n"
        )
        services.durability.look()
        assert services.durability.problem is None


def test_a_full_store_is_found_by_a_write_and_accepts_again_when_there_is_room(installation):
    installation.admin.config_set("maxmemory", "1")
    installation.look()
    assert "full" in installation.services.durability.problem
    assert installation.ready().status_code == 503
    installation.admin.config_set("maxmemory", "0")
    assert installation.post("m1").status_code == 202, "the admission itself finds out whether there is room"
    installation.look()
    assert installation.ready().status_code == 200


def test_a_store_that_became_a_replica_is_found(installation, valkey):
    installation.admin.replicaof("127.0.0.1", valkey.port)
    installation.look()
    assert "replica" in installation.services.durability.problem
    assert installation.ready().status_code == 503
    installation.admin.replicaof("NO", "ONE")
    installation.look()
    assert installation.services.durability.problem is None


def test_a_store_without_enough_replicas_is_found(installation):
    installation.admin.config_set("min-replicas-to-write", 1)
    installation.look()
    assert (
        installation.services.durability.problem
        == "the store refuses writes with the error NOREPLICAS; see the store's log"
    )


def test_a_store_that_does_not_answer_changes_nothing(tmp_path, start_valkey):
    server = start_valkey()
    installation = Installation(tmp_path, server)
    server.kill()
    installation.look(SETTINGS_SECONDS)
    assert installation.services.durability.problem is None
    assert installation.ready().json["store"]["why"] == "the store does not respond"


def test_an_unsafe_store_begins_an_alert_and_a_safe_one_ends_it(installation, tmp_path):
    listener = Listener()
    now = [datetime(2026, 3, 2, 12, 0, tzinfo=UTC)]
    monitor = AlertMonitor(installation.services, "web:1", listener, lambda: now[0])
    installation.admin.config_set("appendonly", "no")
    installation.look(SETTINGS_SECONDS)
    monitor.look()
    assert listener.messages == [("begins", "store-unsafe")]
    (alert,) = installation.services.alerts.holding()
    assert "appendonly" in alert.values["reason"]
    ringback = Ringback(tmp_path / "ringback.toml", {"REDIS_URL": url_of(installation.admin)})
    assert "The store may lose data or rejects writes" in ringback("alerts").stdout, "also without a rule"
    installation.admin.config_set("appendonly", "yes")
    wait_for_log(installation.admin)
    installation.look()
    for _ in range(2):
        now[0] += timedelta(hours=1)
        monitor.evaluate()
    assert listener.messages == [("begins", "store-unsafe"), ("over", "store-unsafe")]


class Listener:
    """Records the alerts that begin and end."""

    def __init__(self):
        self.messages = []

    def alert_begins(self, kind, _subject):
        self.messages.append(("begins", kind))

    def alert_is_over(self, kind, _subject):
        self.messages.append(("over", kind))
