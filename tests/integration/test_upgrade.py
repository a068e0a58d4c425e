"""A store that 0.1.0 left: its recalls come into the present layout in short steps, or when they are touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from integration.recall import Filter, State
from support.seeded import fill
from workers.lane import Lanes, Terms
from workers.ledger import Ledger
from workers.recalls import Recalls
from workers.store import Store

NEW_FIELDS = ("telephone", "asked", "source", "route", "delivery", "place", "digest")
TERMS = Terms(
    lease_seconds=67,
    quiet_seconds=62,
    daily_limit=None,
    day="2026-03-03",
    day_ends=datetime(2026, 3, 3, tzinfo=UTC),
)


def everything(client) -> dict:
    """All that a store holds, by key."""
    read = {
        "hash": client.hgetall,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "string": client.get,
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter("*")}


def make_old(client, store) -> None:
    """Write the store as 0.1.0 would have."""
    for key in list(client.scan_iter(store.key("recall:*"))):
        fields, recall = client.hgetall(key), key.rpartition(":")[2]
        client.hdel(key, *NEW_FIELDS)
        doc = {name: fields.get(name) for name in ("source", "route", "delivery")}
        doc |= {"recall_telephone": fields["telephone"], "requested_date": fields["asked"]}
        client.hset(key, "doc", json.dumps(doc))
        client.zadd(store.key(f"customer:{fields['customer']}"), {recall: 0})
        if "ended" in fields:
            client.zadd(store.key("ended"), {recall: int(fields["ended"])})
    for pattern in ("find:*", "calendar:*", "ended:*"):
        client.delete(*client.scan_iter(store.key(pattern)))
    client.hdel(store.key("meta"), "layout", "upgraded")


@pytest.fixture
def world(store):
    target = Store(store)
    fill(target, 120)
    # 0.1.0 knew neither of these.
    for key in store.scan_iter(target.key("recall:*")):
        store.hdel(key, "place", "digest", "record")
    store.delete(*store.scan_iter(target.key("find:r:*")))
    return target


def without_marks(held: dict) -> dict:
    meta = dict(held["{ringback}:meta"])
    for mark in ("layout", "upgraded"):
        meta.pop(mark, None)
    return {**held, "{ringback}:meta": meta}


def test_an_upgrade_leaves_what_this_version_would_have_written(world, store):
    before = everything(store)
    make_old(store, world)
    ledger = Ledger(world)
    rounds = 0
    while ledger.upgrade(limit=7):
        rounds += 1
    assert rounds > 5
    assert without_marks(everything(store)) == without_marks(before)
    assert ledger.upgrade() == 0


def test_old_recalls_can_be_read_cancelled_pushed_and_purged_before_they_are_upgraded(world, store):
    recalls, ledger, lanes = Recalls(world), Ledger(world), Lanes(world)
    known = {recall.id: recall for recall in recalls.every(Filter())}
    make_old(store, world)
    for recall in recalls.every(Filter()):
        assert (recall.recall_telephone, recall.route) == (
            known[recall.id].recall_telephone,
            known[recall.id].route,
        )
    claim = lanes.acquire("seeded0", "n1", TERMS).claim
    assert claim.telephone == known[claim.recall_id].recall_telephone
    for recall in known.values():
        if recall.state is State.QUEUED and recall.id != claim.recall_id:
            recalls.cancel(recall.id, "by hand")
    left = everything(store)
    (calendar,) = [counts for key, counts in left.items() if ":calendar:" in key]
    assert list(calendar.values()) == ["1"]
    while ledger.purge(before=datetime(2100, 1, 1, tzinfo=UTC)) or ledger.upgrade(limit=3):
        pass
    assert [recall.id for recall in recalls.every(Filter())] == [claim.recall_id]
    assert not [key for key in everything(store) if ":customer:" in key or key.endswith(":ended")]
