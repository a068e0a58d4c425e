"""The baseline's tasks: push a callback to wolkvox, from a queue per token or under a lock per token."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import httpx
import redis

from bench.baseline.queue_app import app

if TYPE_CHECKING:
    from celery import Task

RETRY_SECONDS = 0.05
LOCK_SECONDS = 90


@cache
def client() -> httpx.Client:
    """Return the process's HTTP client. It keeps connections open; a new client per call costs 20 ms."""
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    return httpx.Client(base_url=os.environ["BASELINE_WOLKVOX"], timeout=20, limits=limits, trust_env=False)


@cache
def locks() -> redis.Redis:
    """Return the Redis client for the locks."""
    return redis.Redis.from_url(os.environ["BASELINE_BROKER"])


def put(token: str, call: dict[str, str]) -> None:
    """Make the call. Raise httpx.HTTPError, or RuntimeError if it is not accepted."""
    answer = client().put(
        "/api/v2/campaign.php",
        params={"api": "recall", "type_campaign": "predictive", "campaign_id": call["campaign_id"]},
        headers={"wolkvox-token": token},
        json={name: call[name] for name in ("recall_date", "recall_telephone", "customer_id")},
    )
    answer.raise_for_status()
    if str(answer.json().get("code")) != "202":
        raise RuntimeError("not accepted")


@app.task(bind=True, max_retries=None)
def push(self: Task, token: str, call: dict[str, str]) -> None:
    """Push from the token's own queue, which is consumed by one process with one slot."""
    try:
        put(token, call)
    except (httpx.HTTPError, RuntimeError) as error:
        raise self.retry(exc=error, countdown=1) from error


@app.task(bind=True, max_retries=None)
def push_locked(self: Task, token: str, call: dict[str, str]) -> None:
    """Push from the shared queue under the token's lock. Retry later if the lock is taken."""
    lock = locks().lock(f"{{baseline}}:lock:{token}", timeout=LOCK_SECONDS, blocking=False)
    if not lock.acquire():
        raise self.retry(countdown=RETRY_SECONDS)
    try:
        put(token, call)
    except (httpx.HTTPError, RuntimeError) as error:
        raise self.retry(exc=error, countdown=1) from error
    finally:
        lock.release()
