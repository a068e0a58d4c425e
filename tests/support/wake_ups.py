"""Takes what is published, in the place of Celery."""

from __future__ import annotations


class WakeUps:
    def __init__(self):
        self.published = []
        self.sources = []

    @property
    def queues(self):
        return [wake_up.queue for wake_up in self.published]

    def publish(self, wake_up):
        self.published.append(wake_up)

    def publish_lookup(self, source):
        self.sources.append(source)
