"""The audit log: newest first, by pages, filtered, purged with the recalls, and written on a full store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.store import audit as audit_module
from integration.store.audit import AuditLog
from integration.store.client import Store
from support import make_services
from workers.sweeper import purge


@pytest.fixture
def audit(store):
    return AuditLog(Store(store))


def test_what_was_done_is_given_newest_first_with_who_about_what_and_from_where(audit):
    audit.note("ana", "retry", ["rc_1", "rc_2"], address="192.0.2.1")
    audit.note("luis", "pause", ["bogota"])
    (second, first), cursor = audit.page()
    assert (second.who, second.what, second.about, second.address) == ("luis", "pause", ("bogota",), "")
    assert (first.who, first.what, first.about, first.address) == (
        "ana",
        "retry",
        ("rc_1", "rc_2"),
        "192.0.2.1",
    )
    assert abs(first.at - datetime.now(UTC)) < timedelta(seconds=30)
    assert cursor is None


def test_pages_follow_each_other_without_a_gap(audit):
    for number in range(7):
        audit.note("ana", "reveal", [str(number)])
    first, cursor = audit.page(limit=3)
    second, cursor = audit.page(limit=3, cursor=cursor)
    third, end = audit.page(limit=3, cursor=cursor)
    assert [e.about[0] for e in first + second + third] == ["6", "5", "4", "3", "2", "1", "0"]
    assert end is None


def test_a_filter_that_finds_little_goes_on_where_it_stopped(audit, monkeypatch):
    monkeypatch.setattr(audit_module, "_MOST_LOOKED_AT", 4)
    monkeypatch.setattr(audit_module, "_CHUNK", 2)
    audit.note("luis", "pause", ["bogota"])
    for _ in range(5):
        audit.note("ana", "reveal")
    nothing, cursor = audit.page(who="luis")
    found, end = audit.page(who="luis", cursor=cursor)
    assert (nothing, [e.what for e in found], end) == ([], ["pause"], None)
    assert [e.who for e in audit.page(what="pause", cursor=cursor)[0]] == ["luis"]


def test_entries_are_purged_with_the_recalls(tmp_path, store):
    services = make_services(tmp_path, store)
    store.xadd("{ringback}:audit", {"who": "x", "what": "y", "about": "", "address": ""}, id="1000-0")
    services.audit.note("ana", "retry")
    assert purge(services, datetime.now(UTC)) == 1
    assert [entry.who for entry in services.audit.page()[0]] == ["ana"]
    assert purge(services, datetime.now(UTC) + timedelta(days=31)) == 1


def test_a_full_store_still_takes_a_note_and_a_sign_in(tmp_path, start_valkey):
    server = start_valkey("--maxmemory-policy", "noeviction", "--maxmemory", "20mb")
    with server.client() as client:
        services = make_services(tmp_path, client)
        services.audit.note("ana", "before")
        client.config_set("maxmemory", 1)
        services.audit.note("ana", "while full")
        token = services.sessions.open(name="ana", role="", mark="m", idle=timedelta(minutes=1))
        assert services.sessions.read(token).name == "ana"
        assert [entry.what for entry in services.audit.page()[0]] == ["while full", "before"]
