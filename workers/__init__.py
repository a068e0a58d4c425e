"""The Celery workers, which push the recalls of the token queues."""
