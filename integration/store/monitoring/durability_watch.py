"""The durability watch: a thread of each web and worker process that detects an unsafe store.

It writes a key every few seconds, because a store that is full, is a replica or has no disk space still
answers reads. It reads the store's settings every 45 s, because they can be changed at run time.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.store.durability import inspect, require_acceptable

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.store.client import Store
    from integration.store.durability import StoreReport

log = structlog.get_logger("ringback.store")

WRITE_SECONDS: Final = 5.0
SETTINGS_SECONDS: Final = 45.0
"""With one evaluation of the alerts every 10 s, a change is reported within a minute."""
_NO_LOG: Final = "appendonly was switched on, but the server has not written its log yet; wait until it has"
_KEPT_MS: Final = 60_000
_NO_ANSWER: Final = (OSError, RedisError)


class DurabilityWatch:
    """Checks regularly whether the store keeps acknowledged data and accepts writes.

    `accept_loss` returns the current value of `[store] accept_loss`. `clock` returns monotonic seconds.
    """

    def __init__(
        self, store: Store, accept_loss: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._accept_loss = accept_loss
        self._clock = clock
        self._read_at: float | None = None
        self._unsafe: str | None = None
        self._unwritable: str | None = None
        self._log_is_missing: bool | None = None
        self._settings_changes: int | None = None
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def problem(self) -> str | None:
        """Return why the store may lose data or refuses writes, or None if neither is the case."""
        return self._unsafe or self._unwritable

    @property
    def is_safe(self) -> bool:
        """Return True unless the latest check by `look` found problems that `accept_loss` does not permit."""
        return self._unsafe is None

    def require_safe(self) -> None:
        """Raise StoreAwayError if `is_safe` is False."""
        if self._unsafe is not None:
            raise StoreAwayError(self._unsafe)

    def assure(self) -> None:
        """Check the store now.

        Raise StoreUnsafeError if it has problems that `accept_loss` does not permit, or StoreAwayError.
        """
        accept_loss = self._accept_loss()
        report = self._store.guarded(lambda: inspect(self._store.client))
        self._read_at = self._clock()
        # After `appendonly yes` the log counts only when it has been rewritten. Until then a restart of the
        # server loads the log as it was before.
        self._log_is_missing = not report.aof or self._is_log_missing(report)
        self._settings_changes = report.settings_changes
        require_acceptable(report, accept_loss=accept_loss)
        if self._log_is_missing and not accept_loss:
            raise StoreUnsafeError(
                f"Ringback refuses this store, because it does not meet the requirements:\n- {_NO_LOG}"
            )
        self._unsafe = None

    def _is_log_missing(self, report: StoreReport) -> bool:
        if report.log_counts is not None:
            return not report.log_counts
        # An older server does not disclose this. At the first check, a running rewrite may be the first one
        # of the log. A failed rewrite proves nothing then, because the log may have been complete before.
        if self._log_is_missing is None:
            return report.log_is_rewritten
        # A changed setting may be `appendonly`, switched off and on again since the previous look.
        is_changed = report.settings_changes != self._settings_changes
        return (self._log_is_missing or is_changed) and (report.log_is_rewritten or report.rewrite_failed)

    def look(self) -> None:
        """Check whether the store accepts a write, and check its settings when that is due.

        The result stays unchanged if the store does not answer.
        """
        before = self.problem
        self._unwritable = self._write()
        if self._is_due():
            try:
                self.assure()
            except StoreUnsafeError as error:
                self._unsafe = _one_line(error)
            except StoreAwayError as error:
                log.debug(
                    "the settings of the store were not read, because it does not answer", reason=str(error)
                )
        if self.problem is not None and self.problem != before:
            log.error("the store is unsafe or refuses writes; deliveries are rejected", why=self.problem)
        elif self.problem is None and before is not None:
            log.warning("the store is safe and accepts writes again")

    def _is_due(self) -> bool:
        if self._read_at is None or self._unsafe is not None:
            return True
        return self._clock() - self._read_at >= SETTINGS_SECONDS

    def _write(self) -> str | None:
        """Return why the store refuses a write, or None if it accepts one.

        Return the previous result if the store does not answer.
        """
        try:
            self._store.client.set(self._store.key("probe"), self._store.process_id, px=_KEPT_MS)
        except OutOfMemoryError:
            return "the store is full: raise its maxmemory or shorten the retention"
        except ReadOnlyError:
            return "the store is a read-only replica: set REDIS_URL to the primary"
        except ResponseError as error:
            return (
                f"the store refuses writes with the error {str(error).partition(' ')[0]}; see the store's log"
            )
        except _NO_ANSWER:
            return self._unwritable
        return None

    def start(self) -> None:
        """Start the watch in a daemon thread, unless it runs already."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="durability watch", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                # The thread must not end, because nothing restarts it.
                log.exception("the durability check failed; it is repeated in a few seconds")
            time.sleep(WRITE_SECONDS)


def _one_line(error: StoreUnsafeError) -> str:
    problems = [line.removeprefix("- ") for line in str(error).splitlines() if line.startswith("- ")]
    return "the store may lose acknowledged recalls: " + "; ".join(problems)
