"""Baselines: Flask and Celery, with a queue per token, or with a lock around each call."""
