"""A configuration that changes: its files are looked at now and then, and taken up when without fault.

Promises that `current` never has a fault, whatever the files say now. Never waits and starts no thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from integration.config.loader import read
from integration.config.text_files import stamp
from integration.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.models import Config
    from integration.config.reading import ConfigReading

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    config: Config
    generation: int


class ConfigWatch:
    """The configuration as it is now, taken up anew when its files change.

    `path`, `environ` and `check` are as for `loader.read`; `clock` gives seconds that only grow. A changed
    file with an error is refused whole: `current` stays, `fault` tells. May be used from many threads.
    Raise ConfigError when the configuration has an error to begin with.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        check: Callable[[ConfigReading, Config], None],
        *,
        every_seconds: float = 2.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._environ, self._check = path, environ, check
        self._every_seconds, self._clock = every_seconds, clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        reading = read(path, environ, check)
        self._taken = _Loaded(reading.outcome(), 1)
        self._stamps = reading.stamps
        self._look_twice = True
        self._fault: ConfigError | None = None

    @property
    def current(self) -> Config:
        """The last configuration that was without fault."""
        return self._taken.config

    @property
    def generation(self) -> int:
        """How many configurations were taken up, the first included."""
        return self._taken.generation

    @property
    def fault(self) -> ConfigError | None:
        """Why the files as they are now are refused; None when `current` is what they say."""
        return self._fault

    @property
    def due(self) -> bool:
        """Tell whether `refresh` would look at the files now."""
        return self._clock() - self._looked_at >= self._every_seconds

    def refresh(self) -> bool:
        """Look at the files, at most every `every_seconds`; tell whether a new configuration was taken up.

        Cheap: it reads only what has changed. A call while another thread looks returns at once.
        """
        if not self.due or not self._lock.acquire(blocking=False):
            return False
        try:
            self._looked_at = self._clock()
            return self._changed() and self._take(read(self._path, self._environ, self._check))
        finally:
            self._lock.release()

    def _changed(self) -> bool:
        changed = any(stamp(path) != before for path, before in self._stamps.items())
        # Two writes within one tick of the file system's clock leave the same stamp, so that a file
        # that has just changed is read once more.
        again, self._look_twice = self._look_twice, changed
        return changed or again

    def _take(self, reading: ConfigReading) -> bool:
        self._stamps = reading.stamps
        try:
            config = reading.outcome()
        except ConfigError as error:
            if self._fault is None or self._fault.faults != error.faults:
                _log.error(
                    "configuration refused, the old one stays", faults=[str(fault) for fault in error.faults]
                )
            self._fault = error
            return False
        if self._fault is not None:
            _log.info("configuration without fault again")
        self._fault = None
        if config == self.current:
            return False
        self._taken = _Loaded(config, self.generation + 1)
        _log.info("configuration taken up", generation=self.generation, digest=config.digest)
        return True
