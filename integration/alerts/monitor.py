"""The alert monitor: a thread that evaluates the alert rules and sends messages.

Each web and worker process runs one. One process, elected in the store, evaluates the rules; all
processes send. A message that its channel rejects is retried at growing intervals for three days.
Meanwhile the messages of other channels are sent.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from integration.alerts.channels import ChannelError, send
from integration.alerts.facts import read_facts
from integration.alerts.lifecycle import next_steps
from integration.alerts.problems import row_ids
from integration.alerts.rules import STORE_UNSAFE_KIND, all_matches
from integration.clients.backoff import backoff_seconds
from integration.domain.errors import RingbackError, StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.services.container import Services
    from integration.store.monitoring.alerts import Alert, DueMessage

log = structlog.get_logger("ringback.alerts")

EVERY_SECONDS: Final = 10.0
FIRST_WAIT_SECONDS: Final = 5.0
LONGEST_WAIT_SECONDS: Final = 600.0
MESSAGE_MAX_AGE: Final = timedelta(days=3)


class Listener(Protocol):
    """An object that is notified when an alert begins or ends, except built-in ones.

    `SentryReporter` implements this protocol.
    """

    def alert_begins(self, kind: str, subject: str) -> None:
        """Handle an alert that begins."""

    def alert_is_over(self, kind: str, subject: str) -> None:
        """Handle an alert that ends."""


class AlertMonitor:
    """Evaluates the alert rules in a thread and sends the messages of alerts."""

    def __init__(
        self, services: Services, who: str, listener: Listener, now: Callable[[], datetime] | None = None
    ) -> None:
        """Create a monitor. `who` is this process in the election. `now` returns an aware time."""
        self._services = services
        self._who = who
        self._listener = listener
        self._now = now or (lambda: datetime.now(UTC))
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the daemon thread. Do nothing if the thread is running."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="alert monitor", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Make the thread end after its current pass. Return without waiting for the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_SECONDS):
            try:
                self.look()
            except StoreAwayError as error:
                log.debug("alerts not evaluated: the store is away", error=str(error))
                if self._services.durability.problem is not None:
                    # A store that refuses writes cannot queue a message; Sentry can still be notified.
                    self._listener.alert_begins(STORE_UNSAFE_KIND, "")
            except Exception:
                # The thread must not end, because nothing restarts it.
                log.exception("the alert monitor failed; it runs again in a few seconds")

    def look(self) -> None:
        """Evaluate the rules if this process is elected, and send due messages. Raise StoreAwayError."""
        if self._services.alerts.elect(self._who):
            self.evaluate()
        self.deliver()

    def evaluate(self) -> None:
        """Evaluate all rules, begin and end alerts in the store, and notify the listener.

        Raise StoreAwayError.
        """
        now, services = self._now(), self._services
        known = {alert.key: alert for alert in services.alerts.problems()}
        found = all_matches(services.config, read_facts(services, now, services.accounts.all()))
        steps = next_steps(known, found, now)
        begun, over = services.alerts.settle(steps)
        services.problem_notes.keep(row_ids((*steps.keep, *steps.begin)))
        for alert in begun:
            self._note(alert, "alert begins", self._listener.alert_begins)
        for alert in over:
            self._note(alert, "alert is over", self._listener.alert_is_over)

    def _note(self, alert: Alert, event: str, tell: Callable[[str, str], None]) -> None:
        if alert.built_in:
            return
        log.warning(event, kind=alert.kind, subject=alert.subject)
        tell(alert.kind, alert.subject)

    def deliver(self) -> None:
        """Send due messages in one thread per channel, and wait for the threads. Raise StoreAwayError."""
        threads = [
            threading.Thread(target=self._deliver, args=(taken,), name="alert-channel", daemon=True)
            for taken in self._services.alerts.take()
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _deliver(self, taken: DueMessage) -> None:
        """Send the due messages of one channel. Stop at the first message that is to be retried."""
        try:
            while self._send(taken):
                again = [each for each in self._services.alerts.take() if each.channel == taken.channel]
                if not again:
                    return
                taken = again[0]
        except StoreAwayError as error:
            log.debug("the store is away; the channel is retried in a minute", error=str(error))
        except Exception:
            log.exception("sending an alert failed unexpectedly; it is retried", channel=taken.channel)

    def _send(self, taken: DueMessage) -> bool:
        config = self._services.config
        channel = config.alerts.channels.get(taken.channel)
        fields: dict[str, Any] = {"channel": taken.channel, "message": taken.message.id}
        if channel is None:
            log.warning("alert dropped: its channel is not configured any more", **fields)
            self._services.alerts.done(taken)
            return True
        try:
            send(channel, taken.message, config, self._now())
        except ChannelError as error:
            if not error.partly:
                return self._failed(taken, error)
            log.error("alert sent to some recipients only; it is not retried", why=str(error), **fields)
        self._count(taken, "sent")
        log.info("alert sent", **fields)
        self._services.alerts.done(taken)
        return True

    def _failed(self, taken: DueMessage, error: RingbackError) -> bool:
        fields: dict[str, Any] = {"channel": taken.channel, "message": taken.message.id, "why": str(error)}
        if self._now() - taken.message.at > MESSAGE_MAX_AGE:
            self._count(taken, "given up")
            log.error("alert dropped: its channel rejected it for three days", **fields)
            self._services.alerts.done(taken)
            return True
        self._count(taken, "failed")
        seconds = backoff_seconds(taken.tries, base=FIRST_WAIT_SECONDS, maximum=LONGEST_WAIT_SECONDS)
        log.warning("alert not sent; it is retried", again_in_seconds=seconds, **fields)
        self._services.alerts.wait(taken, seconds, str(error))
        return False

    def _count(self, taken: DueMessage, result: str) -> None:
        self._services.counters.count(f"alert messages:{taken.channel}:{result}")
