"""The store's history on one server: the store's keys are put back as they were. With whole folders, restarts
and a replica in test_store_changes.py."""

from __future__ import annotations

import pytest

from support.store_process import Member, StoreHistory


@pytest.fixture
def history(valkey, store):
    # DUMP gives bytes that are no text.
    with valkey.client(encoding_errors="surrogateescape") as client:
        yield StoreHistory(client)


@pytest.fixture
def worker(history):
    worker = Member(history)
    worker.queues.bind({"bogota": "L1", "lima": "L2"})
    return worker
