"""Runs bulk jobs in the test's thread, as a worker does."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from integration.services.bulk_jobs import BulkAction, BulkJobs
from integration.services.parked import ParkedFilter
from integration.store.monitoring.durability_watch import DurabilityWatch
from integration.store.recalls import RecallStore
from integration.webhooks.resend_many import resend_step


def run_jobs(services, owner="w1"):
    """Take all steps of all running jobs."""
    for job in services.bulk_jobs.running():
        while step(services, job, owner):
            pass


def step(services, job, owner="w1"):
    """Take a step of a job. Return whether steps remain."""
    accounts, now = services.config.accounts, datetime.now(UTC)
    return services.bulk_jobs.advance(job, owner, accounts, now, partial(resend_step, services))


def dismiss_all(store, group, *, who="ana", reason="a test"):
    """Dismiss the parked events of a group."""
    jobs = BulkJobs(store, RecallStore(store), DurabilityWatch(store, bool), print)
    job = jobs.begin(BulkAction.DISMISS, ParkedFilter(group=group), who=who, reason=reason)
    while jobs.advance(job.id, "w1", {}, datetime.now(UTC)):
        pass
