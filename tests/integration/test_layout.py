"""The version of the store's layout: a process changes no store that a newer or an older version wrote."""

from __future__ import annotations

import pytest

from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.store.durability import assure, inspect
from integration.store.monitoring.durability_watch import SETTINGS_SECONDS
from integration.store.scripting.layout import LAYOUT, VERSION, layout_fault
from support import form_delivery, make_services, url_of
from support.cli_runner import Ringback

FACTS = "{ringback}:store"


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store)
    services.binding.bind()
    return services


def admit(services, message_id):
    return services.admission.admit(*form_delivery(services, "C1", message_id=message_id))


def written_by_a_newer_version(store):
    store.hset(FACTS, mapping={"layout": LAYOUT + 1, "layout_version": "9.1.0"})


def data(store):
    return {key: store.dump(key) for key in store.keys("*")}


def test_a_new_store_gets_the_layout_and_the_version_that_wrote_it(services, store):
    assert store.hmget(FACTS, "layout", "layout_version") == [str(LAYOUT), VERSION]
    assert assure(store, accept_loss=False).faults == ()


def test_a_store_with_keys_of_secrets_only_is_new(tmp_path, store):
    """`ringback check --online` and the dashboard may create a key before anything is stored."""
    services = make_services(tmp_path, store)
    services.store.secret("cookie_key")
    services.binding.bind()
    assert store.hget(FACTS, "layout") == str(LAYOUT)


def test_a_newer_layout_is_refused_at_start_with_the_version_to_run(services, store):
    written_by_a_newer_version(store)
    with pytest.raises(StoreUnsafeError, match=r"Run Ringback 9\.1\.0 or later") as caught:
        assure(store, accept_loss=True)
    assert "accept_loss" not in str(caught.value)
    assert any("9.1.0" in problem for problem in inspect(store).problems)


@pytest.mark.parametrize("meta", [{"seq": "17"}, {"epoch": "abc"}, {"seq": "17", "layout": "1"}, {}], ids=str)
def test_an_older_layout_is_refused_at_start_with_what_to_do(store, meta):
    store.hset("{ringback}:accounts", "bogota", "L1")
    if meta:
        store.hset(FACTS, mapping=meta)
    with pytest.raises(StoreUnsafeError, match="with an empty store"):
        assure(store, accept_loss=False)


def test_a_running_process_of_an_older_version_changes_nothing_after_an_upgrade(services, store):
    """During a rolling upgrade both versions run. The script compares the layout in each run."""
    admit(services, "m1")
    written_by_a_newer_version(store)
    before = data(store)
    for act in (
        lambda: admit(services, "m2"),
        lambda: services.queues.sweep(9),
        lambda: services.queues.pause("L1", "why"),
        services.counter_flusher.flush,
    ):
        with pytest.raises(StoreAwayError):
            act()
    assert data(store) == before


def test_a_running_process_of_a_newer_version_changes_nothing_after_the_older_one_took_the_store(
    services, store
):
    store.hset(FACTS, mapping={"layout": LAYOUT - 1, "layout_version": "0.1.9"})
    before = data(store)
    with pytest.raises(StoreAwayError):
        admit(services, "m1")
    assert data(store) == before


def test_both_versions_go_on_with_a_store_of_one_layout(services, store):
    """A newer version with the same layout may run beside this one."""
    store.hset(FACTS, "layout_version", "9.1.0")
    assert admit(services, "m1").answer.recalls


def test_the_watch_reports_the_version_to_run(services, store):
    services.durability._clock = lambda: 10.0**9 + SETTINGS_SECONDS
    written_by_a_newer_version(store)
    services.durability.look()
    assert "Run Ringback 9.1.0 or later" in services.durability.problem


def test_a_command_on_a_store_of_a_newer_version_says_how_to_find_the_version_to_run(
    tmp_path, services, store
):
    written_by_a_newer_version(store)
    ringback = Ringback(tmp_path / "ringback.toml", {"REDIS_URL": url_of(store)})
    result = ringback("recalls")
    assert result.exit_code == 1
    assert "another version of Ringback wrote the store" in result.stderr
    assert "9.1.0" in ringback("check").stdout


def test_an_emptied_store_gets_the_layout_again(services, store):
    admit(services, "m1")
    store.flushall()
    assert admit(services, "m2").answer.recalls
    assert store.hget(FACTS, "layout") == str(LAYOUT)


def test_a_store_that_tells_no_version_of_its_writer_is_still_named():
    assert "Run Ringback a newer version" in layout_fault({"layout": "99"}, is_older=True)
