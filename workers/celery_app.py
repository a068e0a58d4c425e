"""The Celery application of the workers, for `celery --app workers.celery_app`."""

from __future__ import annotations

from integration.celery_app import app

__all__ = ["app"]

app.conf.include = ["workers.tasks"]
