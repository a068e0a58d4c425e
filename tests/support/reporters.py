"""Reporters for tests, in place of the one that sends to Sentry."""

from integration.telemetry.reporter import Reporter


class SilentReporter(Reporter):
    """Drops every report."""


class RecordingReporter(Reporter):
    """Keeps the reports of dead recalls, stopped queues and stalled workers."""

    def __init__(self):
        self.dead_recalls = []
        self.stopped_queues = []
        self.consumer_changes = []

    def dead(self, recall, verdict, reason):
        self.dead_recalls.append((recall.recall_id, verdict))

    def stopped(self, account, reason):
        self.stopped_queues.append((account, reason))

    def consumers_stalled(self, worker, seconds):
        self.consumer_changes.append(("stalled", round(seconds)))

    def consumers_recovered(self, worker, seconds):
        self.consumer_changes.append(("recovered", round(seconds)))
