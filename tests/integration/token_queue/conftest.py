"""The process whose queues are tested."""

from __future__ import annotations

import pytest

from support.queue_process import QueueProcess


@pytest.fixture
def process(store):
    return QueueProcess(store)
