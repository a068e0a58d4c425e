from __future__ import annotations

import dataclasses

import pytest
import redis

from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.local.supervisor import free_port
from integration.store.durability import StoreReport, _report_of, assure, inspect

GOOD = {
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "maxmemory-policy": "noeviction",
}
INFO = {"redis_version": "7.0.15", "role": "master", "aof_enabled": 1, "maxmemory_policy": "noeviction"}


def settings_named(problems: tuple[str, ...]) -> list[str]:
    return [problem.partition(" is ")[0] for problem in problems]


def test_a_durable_server_has_no_problems(store):
    report = assure(store, accept_loss=False)
    assert report.problems == ()
    assert (report.aof, report.fsync, report.eviction, report.role) == (
        True,
        "always",
        "noeviction",
        "master",
    )
    assert f"{report.name} {report.version}, AOF on, fsync always" in str(report)


def test_a_client_that_answers_in_bytes_learns_the_same(valkey, store):
    with redis.Redis.from_url(valkey.url, decode_responses=False) as client:
        assert inspect(client) == inspect(store)


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (("--appendonly", "no", "--appendfsync", "always"), ["appendonly"]),
        (("--appendonly", "yes", "--appendfsync", "everysec"), ["appendfsync"]),
        (("--appendonly", "yes", "--appendfsync", "no"), ["appendfsync"]),
        (
            ("--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"),
            ["no-appendfsync-on-rewrite"],
        ),
        (
            ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "volatile-lru"),
            ["maxmemory-policy"],
        ),
        (
            ("--appendonly", "no", "--appendfsync", "everysec", "--maxmemory-policy", "allkeys-lru"),
            ["appendonly", "appendfsync", "maxmemory-policy"],
        ),
    ],
)
def test_a_server_that_may_forget_is_refused_unless_loss_is_accepted(start_valkey, flags, settings):
    with start_valkey(*flags).client() as client:
        with pytest.raises(StoreUnsafeError) as caught:
            assure(client, accept_loss=False)
        report = assure(client, accept_loss=True)
    assert settings_named(report.problems) == settings
    assert all(problem in str(caught.value) for problem in report.problems)
    assert "accept_loss = true" in str(caught.value)


def test_a_replica_is_refused_even_when_loss_is_accepted(start_valkey, valkey):
    replica = start_valkey(
        *("--appendonly", "yes", "--appendfsync", "always", "--replicaof", f"127.0.0.1 {valkey.port}")
    )
    with replica.client() as client, pytest.raises(StoreUnsafeError, match="role is replica") as caught:
        assure(client, accept_loss=True)
    assert "accept_loss" not in str(caught.value)


def as_user(store: redis.Redis, valkey, *rules: str) -> redis.Redis:
    store.acl_setuser("tester", enabled=True, reset=True, nopass=True, keys=["*"], commands=list(rules))
    return valkey.client(username="tester", password="any")


def test_a_server_that_denies_config_is_known_by_its_info_and_refused_for_its_fsync(store, valkey):
    with as_user(store, valkey, "+@all", "-config") as client:
        report = inspect(client)
        assert (report.aof, report.eviction) == (True, "noeviction")
        assert settings_named(report.problems) == ["appendfsync", "no-appendfsync-on-rewrite"]
        with pytest.raises(StoreUnsafeError, match="is not reported"):
            assure(client, accept_loss=False)
        assert assure(client, accept_loss=True) == report


def test_a_server_that_says_nothing_at_all_is_refused(store, valkey):
    with as_user(store, valkey, "+@all", "-config", "-info") as client:
        report = inspect(client)
        with pytest.raises(StoreUnsafeError, match="version is not reported"):
            assure(client, accept_loss=True)
    assert (report.aof, report.fsync, report.eviction, report.role) == (None, None, None, None)
    assert len(report.risks) == 4


def test_a_server_that_is_not_there_is_away_and_not_unsafe():
    with (
        redis.Redis(port=free_port(), retry=None) as client,
        pytest.raises(StoreAwayError, match="does not answer"),
    ):
        inspect(client)


def test_a_wrong_password_is_named_and_not_quoted(start_valkey):
    server = start_valkey()
    server.client().config_set("requirepass", "the-right-one")
    with (
        redis.Redis(port=server.port, password="open-sesame", retry=None) as client,
        pytest.raises(StoreAwayError, match="rejected the user or password") as caught,
    ):
        inspect(client)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "good"),
    [
        ("5.0.14", False),
        ("6.0.16", False),
        ("6.2.0", True),
        ("6.10.1", True),
        ("7", True),
        ("10.0.0-rc1", True),
    ],
)
def test_a_server_older_than_6_2_is_refused_always(version, good):
    assert (_report_of(INFO | {"redis_version": version}, GOOD, None).faults == ()) is good


def test_valkeys_own_version_is_reported_and_its_compatibility_is_judged():
    report = _report_of(INFO | {"valkey_version": "9.1.2", "redis_version": "7.2.4"}, GOOD, None)
    assert (report.name, report.version, report.redis_version) == ("Valkey", "9.1.2", (7, 2, 4))


def test_another_server_is_called_what_it_calls_itself():
    assert _report_of(INFO, GOOD, None).name == "Redis"
    assert _report_of(INFO | {"server_name": "other"}, GOOD, None).name == "other"


@pytest.mark.parametrize("setting", GOOD)
def test_every_setting_counts_by_itself(setting):
    bad = {"no": "yes", "yes": "no"}.get(GOOD[setting], "else")
    assert settings_named(_report_of(INFO, GOOD | {setting: bad}, None).problems) == [setting]


def test_faults_come_before_risks():
    report = StoreReport(
        **{f.name: None for f in dataclasses.fields(StoreReport)} | {"faults": ("a",), "risks": ("b",)}
    )
    assert report.problems == ("a", "b")
