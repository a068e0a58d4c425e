"""The queues, and the Celery workers that push what lies in them."""
