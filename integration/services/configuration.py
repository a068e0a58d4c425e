"""Provides the current configuration and its compiled routes."""

from __future__ import annotations

import re
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from integration.config.changes import removals
from integration.config.descriptions import described, masked
from integration.config.loader import read
from integration.config.watcher import ConfigWatch
from integration.domain.errors import StoreAwayError
from integration.mapping import routes
from integration.mapping.routes import CompiledRoutes
from integration.store.monitoring.config_changes import PendingChange
from integration.telemetry.redaction import remember_secrets, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.descriptions import Place
    from integration.config.models import Config
    from integration.config.reading import ConfigReading
    from integration.store.monitoring.config_changes import ConfigChanges

_log = structlog.get_logger("ringback.configuration")

RECENTLY: Final = timedelta(days=7)
REFRESH_SECONDS: Final = 1.0
_MOST_NAMED: Final = 20


class Configuration:
    """Provides the current configuration, and checks for changed files when it is read.

    Files are checked at most once a second. A change that removes what is in use is held back as
    `pending` until an operator accepts it. `now` returns the time (aware).
    """

    def __init__(
        self, watch: ConfigWatch, changes: ConfigChanges, now: Callable[[], datetime] | None = None
    ) -> None:
        self.watch = watch
        self.changes = changes
        self._now = now or (lambda: datetime.now(UTC))
        self._held: tuple[Config, PendingChange] | None = None
        self._routes: CompiledRoutes | None = None
        self._masked: Config | None = None

    @property
    def current(self) -> Config:
        """Return the current configuration, after a check for changed files.

        The secrets of a returned configuration are masked in logs.
        """
        self.refresh()
        config = self.watch.current
        if config is not self._masked:
            remember_secrets(secrets_of(config))
            self._masked = config
        return config

    @property
    def pending(self) -> PendingChange | None:
        """Return the change that this process holds back, None if there is none."""
        held = self._held
        return held[1] if held is not None and held[0] is self.watch.candidate else None

    def note_key(self, name: str) -> None:
        """Record that the API key `name` was used. Do nothing if the store does not answer."""
        with suppress(StoreAwayError):
            self.changes.note_key(name, self._now())

    def refresh(self) -> None:
        """Check for changed files, at most once a second.

        A valid change is used, or held back as `pending`. If this needs the store and the store does not
        answer, the next check decides.
        """
        candidate = self.watch.look()
        if candidate is None:
            return
        try:
            pending = self._pending_change(candidate)
        except StoreAwayError as error:
            # Only the store knows what is in use. The next check tries again.
            _log.warning("the changed configuration is not used yet: the store is away", error=str(error))
            return
        if pending is None:
            self.watch.take(candidate)
            return
        if self.pending is None:
            removed = [str(each) for each in pending.removed]
            _log.error(
                "the changed configuration is not used yet, because it removes what is in use: restore the "
                "file, or run ringback config accept",
                removed=removed,
                digest=pending.digest,
            )
        self._held = (candidate, pending)

    def _pending_change(self, candidate: Config) -> PendingChange | None:
        """Return the change to `candidate` if an operator must accept it, else None. Raise StoreAwayError."""
        removed = removals(self.watch.current, candidate)
        digest, now = candidate.digest, self._now()
        if not removed or self.changes.is_accepted(digest):
            return None
        # Another process may have held the change when a recall was still in its queue.
        held = {
            each for change in self.changes.pending(now) if change.digest == digest for each in change.removed
        }
        used = held.union(self.changes.in_use(removed, now, RECENTLY))
        if not used:
            self.changes.accept(digest)
            return None
        change = PendingChange(digest, tuple(sorted(used)))
        self.changes.hold(change, now)
        return change

    @property
    def routes(self) -> CompiledRoutes:
        """Return the compiled routes of the current configuration."""
        config = self.current
        if self._routes is None or self._routes.config is not config:
            self._routes = CompiledRoutes.of(config)
        return self._routes


def pending_warning(change: PendingChange) -> str:
    """Return a message that says what a pending change would remove, and what to do."""
    listed = "; ".join(map(str, change.removed[:_MOST_NAMED]))
    more = len(change.removed) - _MOST_NAMED
    return (
        f"A change of the configuration is pending, because it removes what is in use: {listed}"
        f"{f' and {more} more' if more > 0 else ''}. Restore the file, or run ringback config accept."
    )


class ConfigRefresher:
    """A daemon thread that checks for changed files, so that an idle process uses them too."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration

    def start(self) -> None:
        """Start the thread, which checks once a second."""
        threading.Thread(target=self._run, name="configuration", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(REFRESH_SECONDS)
            try:
                self._configuration.refresh()
            except Exception:  # noqa: BLE001
                # The thread must not end, because nothing restarts it.
                _log.exception("checking for a changed configuration failed; the next check is in a second")


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Return the configuration at `path`, with the values of `env:NAME` from `environ`.

    Relative `file:` paths are resolved against the folder of `path`. Raise ConfigError with all errors of the
    file, or with the one that prevented reading it.
    """
    return read(path, environ, check_templates).outcome()


def watch_config(
    path: Path,
    environ: Mapping[str, str],
    *,
    every_seconds: float = 1.0,
    clock: Callable[[], float] = monotonic,
) -> ConfigWatch:
    """Return a watch on the configuration at `path`. Raise ConfigError.

    `every_seconds` is the minimum time between two checks. `clock` returns monotonic seconds.
    """
    return ConfigWatch(path, environ, check_templates, every_seconds=every_seconds, clock=clock)


def check_templates(reading: ConfigReading, config: Config) -> None:
    """Report to `reading` the templates of the configuration that do not compile."""
    for fault in routes.faults(config, str(reading.path)):
        place = _template_place(fault.key)
        text, origin = reading.value(place), reading.origins.get(place)
        if isinstance(text, str):
            # Jinja's messages quote parts of the template, which may contain a secret.
            found = (
                described(text, place, origin) if origin else f"a template with {masked(fault.found, text)}"
            )
            reading.report(place, fault.allowed, found)


def _template_place(key: str) -> Place:
    """Return the place of a key, for `ConfigReading`.

    A key is written as `routes[2] ("its name").when` or `sources.forms.events`.
    """
    table, _, field_name = key.rpartition(".")
    number = re.match(r"routes\[(\d+)\]", table)
    return ("routes", int(number[1]) - 1, field_name) if number else (*table.split(".", 1), field_name)
