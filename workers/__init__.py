"""The Celery workers: they push recalls, run lookups, and sweep the store for due work."""
