"""Diagnose and record rejected deliveries, in batches by a background thread.

A request only adds an entry to a bounded queue, so that its response does not wait. Diagnoses are
rate-limited, in total and per source. The number of entries per source and batch is limited. The number
of entries that the queue did not take is logged.
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
DIAGNOSES_PER_SOURCE_AND_SECOND = 2.0
DIAGNOSES_PER_SECOND = 8.0
BURST_SECONDS = 5.0  # the size of a burst, in seconds' worth of diagnoses
_MOST_RETIRED = 20


@dataclass(frozen=True, slots=True)
class FailedVerification:
    """A delivery that was not verified, with the error."""

    delivery: Delivery = field(repr=False)
    error: NotVerifiedError


class Rejections(Protocol):
    """A recorder of rejected deliveries."""

    def note(self, rejection: Rejection, failed_verification: FailedVerification | None = None) -> None:
        """Record a rejection, without waiting for the store.

        With `failed_verification`, the cause may be diagnosed.
        """


class NoRejections:
    """A `Rejections` that records nothing."""

    def note(self, rejection: Rejection, failed_verification: FailedVerification | None = None) -> None:
        """Ignore a rejection."""


@dataclass(frozen=True, slots=True)
class _QueuedRejection:
    rejection: Rejection
    failed_verification: FailedVerification | None = None

    @property
    def size(self) -> int:
        return 0 if self.failed_verification is None else len(self.failed_verification.delivery.body)


class TokenBucket:
    """A token bucket with `per_second` tokens a second.

    It holds BURST_SECONDS seconds' worth of tokens.
    """

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = per_second * BURST_SECONDS
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take a token. Return False if none is left. `now` is a monotonic time in seconds."""
        passed = 0.0 if self._at is None else now - self._at
        self._at = now
        self._left = min(self._per_second * BURST_SECONDS, self._left + passed * self._per_second)
        if self._left < 1:
            return False
        self._left -= 1
        return True


class RejectionLog:
    """A recorder of rejections in the store's delivery log. `clock` returns monotonic seconds."""

    def __init__(self, services: Services, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._clock = clock
        self._config = services.configuration.watch.current
        self._retired: dict[str, tuple[SecretStr, ...]] = {}
        self._guard = threading.Lock()
        self._waiting: deque[_QueuedRejection] = deque()
        self._waiting_bytes = 0
        self._in_all = TokenBucket(DIAGNOSES_PER_SECOND)
        self._per_source: dict[str, TokenBucket] = {}
        self._awake = threading.Event()
        self._runs_in: int | None = None
        self._dropped = 0

    def note(self, rejection: Rejection, failed_verification: FailedVerification | None = None) -> None:
        """Queue a rejection for the thread. Drop it if MOST_WAITING rejections are queued.

        With `failed_verification`, the thread diagnoses the cause, unless a limit on diagnoses is
        reached.
        """
        with self._guard:
            if len(self._waiting) >= MOST_WAITING:
                self._dropped += 1
                return
            noted = _QueuedRejection(rejection, failed_verification)
            if failed_verification is not None and not self._may_look_into(noted):
                noted = _QueuedRejection(replace(rejection, findings=(("not looked into", {}),)))
            self._waiting.append(noted)
            self._waiting_bytes += noted.size
            self._start()
        self._awake.set()

    def _may_look_into(self, noted: _QueuedRejection) -> bool:
        if self._waiting_bytes + noted.size > MOST_BODY_BYTES:
            return False
        own = self._per_source.setdefault(
            noted.rejection.source, TokenBucket(DIAGNOSES_PER_SOURCE_AND_SECOND)
        )
        now = self._clock()
        return own.take(now) and self._in_all.take(now)

    def _start(self) -> None:
        # The thread starts with the first rejection, so that it exists in every child of a forking server.
        if self._runs_in != os.getpid():
            self._runs_in = os.getpid()
            threading.Thread(target=self._run, name="rejections", daemon=True).start()

    def _run(self) -> None:
        while True:
            self._awake.wait()
            time.sleep(BATCH_SECONDS)
            self._awake.clear()
            self.write()

    def write(self) -> None:
        """Diagnose the queued rejections, and write them to the store.

        If that fails, log the number of rejections, and drop them.
        """
        with self._guard:
            batch = list(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
            dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning("rejected deliveries not recorded", count=dropped, reason="too many at a time")
        try:
            rejections = [self._diagnosed(noted) for noted in batch]
            days = max(1, self._services.config.store.raw_retention_days)
            if rejections:
                self._services.delivery_log.add_rejections(listed(rejections), days=days)
        except StoreAwayError as error:
            log.warning("rejected deliveries not recorded", count=len(batch), reason=str(error))
        except Exception:
            # An error caused by an untrusted request must not end the thread.
            log.exception("rejected deliveries not recorded", count=len(batch))

    def _diagnosed(self, noted: _QueuedRejection) -> Rejection:
        config = self._services.config
        self._remember_retired(config)
        failed_verification = noted.failed_verification
        if failed_verification is None or noted.rejection.source not in config.sources:
            return noted.rejection
        delivery = failed_verification.delivery
        diagnosis = diagnose(
            delivery, failed_verification.error, config, delivery.received_at, retired=self._retired
        )
        findings = tuple((finding.cause, finding.facts) for finding in diagnosis.findings)
        return replace(noted.rejection, findings=findings, proved=diagnosis.proved)

    def _remember_retired(self, config: Config) -> None:
        """Remember, in memory only, the secrets and keys that a change of the configuration removed."""
        if config is self._config:
            return
        for name, source in self._config.sources.items():
            left = secrets_of(config.sources[name]) if name in config.sources else ()
            gone = [secret for secret in secrets_of(source) if secret not in left]
            self._retired[name] = (*gone, *self._retired.get(name, ()))[:_MOST_RETIRED]
        self._config = config


def secrets_of(source: Source) -> tuple[SecretStr, ...]:
    """Return the secrets of a source, and its `url_key` if it has one."""
    return (*getattr(source, "secrets", ()), *(() if source.url_key is None else (source.url_key,)))


def listed(batch: Sequence[Rejection]) -> list[Rejection]:
    """Return the rejections of a batch to record, at most LISTED_PER_BATCH per source, sorted by time.

    `more` of the last rejection of a source is the number of rejections that were left out.
    """
    result: list[Rejection] = []
    for _, group in groupby(sorted(batch, key=lambda each: each.source), key=lambda each: each.source):
        own = list(group)
        kept = own[:LISTED_PER_BATCH]
        kept[-1] = replace(kept[-1], more=len(own) - len(kept))
        result += kept
    return sorted(result, key=lambda each: each.at)
