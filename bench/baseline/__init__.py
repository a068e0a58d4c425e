"""What one would write instead: Flask, Celery, and a queue for each token or a lock around each call."""
