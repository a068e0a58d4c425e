"""Watch the configuration's files for changes. The module starts no thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from integration.config.loader import read
from integration.config.reading import WHOLE_FILE
from integration.config.text_files import stamp
from integration.domain.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from integration.config.models import Config
    from integration.config.reading import ConfigReading
    from integration.config.text_files import Stamp

_log = structlog.get_logger(__name__)

Stamps = dict["Path", "Stamp | None"]


@dataclass(frozen=True, slots=True)
class _Loaded:
    config: Config
    generation: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """The stamps of changed files, and the monotonic time of the first check that found them."""

    stamps: Stamps
    at: float


class ConfigWatch:
    """The current configuration, and a changed one that is not in use yet. Thread-safe.

    `path`, `environ` and `check` are those of `loader.read`. `clock` is a monotonic clock in seconds.
    Changed files are read after their stamps have been equal for `every_seconds`, so that no half-written
    file is read. If the files have a fault, `current` is unchanged and `fault` holds the error. The
    constructor raises ConfigError if the files have a fault.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        check: Callable[[ConfigReading, Config], None],
        *,
        every_seconds: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._environ, self._check = path, environ, check
        self._every_seconds, self._clock = every_seconds, clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        reading = read(path, environ, check)
        self._taken = _Loaded(_usable(reading), 1)
        self._stamps: Stamps = reading.stamps
        self._seen: _Seen | None = None
        self._candidate: Config | None = None
        self._fault: ConfigError | None = None

    @property
    def current(self) -> Config:
        """The configuration in use. It is always valid."""
        return self._taken.config

    @property
    def generation(self) -> int:
        """The number of configurations used so far, including the first."""
        return self._taken.generation

    @property
    def fault(self) -> ConfigError | None:
        """The error of the latest reading of the files, or None if they were valid."""
        return self._fault

    @property
    def candidate(self) -> Config | None:
        """The valid configuration of the changed files that is not in use, or None."""
        return self._candidate

    def look(self) -> Config | None:
        """Check the files at most every `every_seconds`. Return a valid configuration that is not in use.

        Each check returns this configuration until `take` is called or the files change again. Return
        None if no such configuration exists, if the last check is too recent, or if another thread is
        checking.
        """
        if self._clock() - self._looked_at < self._every_seconds or not self._lock.acquire(blocking=False):
            return None
        try:
            self._looked_at = self._clock()
            reading = self._settled_reading()
            if reading is not None:
                self._stamps, self._seen = reading.stamps, None
                self._candidate = self._valid(reading)
            return self._candidate
        finally:
            self._lock.release()

    def take(self, candidate: Config) -> bool:
        """Use a configuration that `look` returned. Return False if it is no longer the latest one."""
        with self._lock:
            if candidate is not self._candidate:
                return False
            self._candidate = None
            self._taken = _Loaded(candidate, self.generation + 1)
        _log.info("configuration loaded", generation=self.generation, digest=candidate.digest)
        return True

    def _settled_reading(self) -> ConfigReading | None:
        """Return a reading of the changed files, or None if they are unchanged or may not be complete."""
        now = self._clock()
        stamps = _stamps_of(self._stamps if self._seen is None else self._seen.stamps)
        if self._seen is None and stamps == self._stamps:
            return None
        if self._seen is None or stamps != self._seen.stamps:
            self._seen = _Seen(stamps, now)
        if now - self._seen.at < self._every_seconds:
            return None
        reading = read(self._path, self._environ, self._check)
        if reading.stamps != self._seen.stamps or reading.stamps != _stamps_of(reading.stamps):
            # The file names files that were not looked at before, or one changed while it was read.
            self._seen = _Seen(reading.stamps, now)
        return reading if now - self._seen.at >= self._every_seconds else None

    def _valid(self, reading: ConfigReading) -> Config | None:
        """Return the configuration if it is valid and not in use, else None. Update `fault`."""
        try:
            config = _usable(reading)
        except ConfigError as error:
            if self._fault is None or self._fault.faults != error.faults:
                _log.error(
                    "configuration rejected, the previous one stays in use",
                    faults=[str(fault) for fault in error.faults],
                )
            self._fault = error
            return None
        if self._fault is not None:
            _log.info("configuration valid again")
        self._fault = None
        return None if config == self.current else config


def _usable(reading: ConfigReading) -> Config:
    """Return the configuration of a reading. Raise ConfigError if it is invalid or empty.

    A configuration without any source and account is empty.
    """
    config = reading.outcome()
    if not config.sources and not config.accounts:
        # An empty file, or one that is cut off, is valid TOML.
        allowed = "a configuration with at least one table [sources.NAME] or [accounts.NAME]"
        fault = Fault(str(reading.path), WHOLE_FILE, "without sources and accounts", allowed)
        raise ConfigError((fault,))
    return config


def _stamps_of(paths: Iterable[Path]) -> Stamps:
    return {path: stamp(path) for path in paths}
