"""The baseline's Celery application, configured as Celery documents for tasks that must not be lost."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("baseline", broker=os.environ.get("BASELINE_BROKER", "memory://"))
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"global_keyprefix": "{baseline}:", "visibility_timeout": 3600},
    include=["bench.baseline.tasks"],
)
