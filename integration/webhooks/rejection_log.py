"""Writes down refused deliveries, and why: by a thread of its own, in batches, so that no answer waits.

Nothing here may cost a stranger's request more than a place in a bounded queue. Only so many refusals a
second are looked into, over all and per source; of each source only so many are listed one by one. What
cannot be written down is dropped, and the log tells how many.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

import structlog

from integration.domain.errors import StoreAwayError
from integration.webhooks.diagnosis import diagnose

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import SecretStr

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.domain.delivery import Delivery
    from integration.domain.errors import NotVerifiedError
    from integration.domain.rejection import Rejection
    from integration.services.container import Services

log = structlog.get_logger("ringback.receiver")

MOST_WAITING = 1000
MOST_BODY_BYTES = 4 * 1024 * 1024
BATCH_SECONDS = 0.4
LISTED_PER_BATCH = 40
PER_SOURCE_A_SECOND = 2.0
IN_ALL_A_SECOND = 8.0
AT_ONCE = 5.0  # seconds' worth that may be looked into at once after a silence
_MOST_RETIRED = 20


@dataclass(frozen=True, slots=True)
class FailedVerification:
    """A delivery that was not verified, and the check that it failed."""

    delivery: Delivery = field(repr=False)
    error: NotVerifiedError


class Rejections(Protocol):
    """Takes note of refused deliveries. Never waits and never raises."""

    def note(self, refused: Rejection, unproved: FailedVerification | None = None) -> None:
        """Note one; with `unproved` it is found out why it was not verified."""


class NoRejections:
    """Takes note of nothing."""

    def note(self, refused: Rejection, unproved: FailedVerification | None = None) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class _QueuedRejection:
    refused: Rejection
    unproved: FailedVerification | None = None

    @property
    def size(self) -> int:
        return 0 if self.unproved is None else len(self.unproved.delivery.body)


class Allowance:
    """So many a second, and AT_ONCE seconds' worth together. `now` is in seconds that only grow."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second * AT_ONCE
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one; False when none is left."""
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._left = min(self._per_second * AT_ONCE, self._left + passed * self._per_second)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RejectionLog:
    """Notes refusals for the services's list. `clock` gives seconds that only grow."""

    def __init__(self, services: Services, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._clock = clock
        self._config = services.configuration.watch.current
        self._retired: dict[str, tuple[SecretStr, ...]] = {}
        self._guard = threading.Lock()
        self._waiting: deque[_QueuedRejection] = deque()
        self._waiting_bytes = 0
        self._in_all = Allowance(IN_ALL_A_SECOND)
        self._per_source: dict[str, Allowance] = {}
        self._awake = threading.Event()
        self._runs_in: int | None = None
        self._dropped = 0

    def note(self, refused: Rejection, unproved: FailedVerification | None = None) -> None:
        """Note a refusal, to be written within a second."""
        with self._guard:
            if len(self._waiting) >= MOST_WAITING:
                self._dropped += 1
                return
            noted = _QueuedRejection(refused, unproved)
            if unproved is not None and not self._may_look_into(noted):
                noted = _QueuedRejection(replace(refused, findings=(("not looked into", {}),)))
            self._waiting.append(noted)
            self._waiting_bytes += noted.size
            self._start()
        self._awake.set()

    def _may_look_into(self, noted: _QueuedRejection) -> bool:
        if self._waiting_bytes + noted.size > MOST_BODY_BYTES:
            return False
        own = self._per_source.setdefault(noted.refused.source, Allowance(PER_SOURCE_A_SECOND))
        now = self._clock()
        return own.take(now) and self._in_all.take(now)

    def _start(self) -> None:
        # At the first refusal, so that a server that forks after loading the app has it in every child.
        if self._runs_in != os.getpid():
            self._runs_in = os.getpid()
            threading.Thread(target=self._run, name="refusals", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._awake.wait()
            time.sleep(BATCH_SECONDS)
            self._awake.clear()
            self.write()

    def write(self) -> None:
        """Find out about what waits and write it down."""
        with self._guard:
            batch = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("refused deliveries are not written down", count=dropped, reason="too many at a time")
        try:
            found = [self._looked_into(noted) for noted in batch]
            days = max(1, self._services.config.store.raw_retention_days)
            if found:
                self._services.delivery_log.refuse(listed(found), days=days)
        except StoreAwayError as error:
            log.warning("refused deliveries are not written down", count=len(batch), reason=str(error))
        except Exception:
            # What strangers send must not end the thread that tells of it.
            log.exception("refused deliveries were not written down", count=len(batch))

    def _looked_into(self, noted: _QueuedRejection) -> Rejection:
        config = self._services.config
        self._remember_retired(config)
        unproved = noted.unproved
        if unproved is None or noted.refused.source not in config.sources:
            return noted.refused
        delivery = unproved.delivery
        found = diagnose(delivery, unproved.error, config, delivery.received_at, retired=self._retired)
        findings = tuple((finding.cause, finding.facts) for finding in found.findings)
        return replace(noted.refused, findings=findings, proved=found.proved)

    def _remember_retired(self, config: Config) -> None:
        """Keep, in memory alone, the secrets that a source had before its configuration changed."""
        if config is self._config:
            return
        for name, source in self._config.sources.items():
            left = secrets_of(config.sources[name]) if name in config.sources else ()
            gone = [secret for secret in secrets_of(source) if secret not in left]
            self._retired[name] = (*gone, *self._retired.get(name, ()))[:_MOST_RETIRED]
        self._config = config


def secrets_of(source: Source) -> tuple[SecretStr, ...]:
    """Give what a source's senders may prove themselves with."""
    return (*getattr(source, "secrets", ()), *(() if source.url_key is None else (source.url_key,)))


def listed(batch: Sequence[Rejection]) -> list[Rejection]:
    """Give what is listed of a batch: of each source so many, the last one with how many more there were."""
    found: list[Rejection] = []
    for _, same in groupby(sorted(batch, key=lambda one: one.source), key=lambda one: one.source):
        own = list(same)
        shown = own[:LISTED_PER_BATCH]
        shown[-1] = replace(shown[-1], more=len(own) - len(shown))
        found += shown
    return sorted(found, key=lambda one: one.at)
