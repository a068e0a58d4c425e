"""The processes of a run: webs and workers as the Procfile starts them, a store, and how they are killed and frozen.

Every one of them is a child in a group of its own that cannot outlive this process.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from integration.local.child_process import Child, spawn
from integration.local.supervisor import answers
from support.procfile import ROOT
from support.valkey import DURABLE, ValkeyServer

from . import clocks
from .history import Outage

if TYPE_CHECKING:
    from collections.abc import Mapping

READY = b" ready"


def quiet_port(rng: random.Random) -> int:
    """Give a free port that the system hands to nobody by itself, so that it stays free while its owner is down."""
    for _ in range(1000):
        port = rng.randrange(18_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port between 18000 and 32000")


@dataclass
class ManagedProcess:
    """A web or a worker that is started again and again. Its log goes on over all its lives."""

    name: str
    command: str
    env: Mapping[str, str] = field(repr=False)
    log: Path
    url: str = ""
    lives: int = 0
    clock_seconds: tuple[float, ...] = ()
    outages: list[Outage] = field(default_factory=list)
    _child: Child | None = None
    _down_since: float | None = None
    _log_at: int = 0
    _hits: int = 0

    def start(self) -> None:
        self._down_since = self._down_since or time.time()
        self._log_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._child = spawn(["sh", "-c", f"exec {self.command}"], env=self._env(), cwd=ROOT, output=log)
        self.lives += 1

    def _env(self) -> Mapping[str, str]:
        if not self.clock_seconds:
            return self.env
        wrong = self.clock_seconds[self.lives % len(self.clock_seconds)]
        return {**self.env, clocks.VARIABLE: str(wrong)}

    @property
    def runs(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def kill(self) -> None:
        assert self._child is not None
        self._begin_outage()
        self._child.kill()

    def kill_child(self) -> bool:
        """Kill one process that it has started itself, if there is one."""
        assert self._child is not None
        path = Path(f"/proc/{self._child.pid}/task/{self._child.pid}/children")
        children = path.read_text().split() if path.exists() else []
        if not children:
            return False
        self._begin_outage()
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(children[-1]), signal.SIGKILL)
        return True

    def freeze(self) -> None:
        self._begin_outage()
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self.runs:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, number)

    def _begin_outage(self) -> None:
        self._hits += 1
        self._down_since = self._down_since or time.time()

    @property
    def up_since(self) -> float | None:
        """Since when it has been ready, in epoch seconds; None while it is not."""
        if self._down_since is not None:
            return None
        return self.outages[-1].ended if self.outages else 0.0

    @property
    def is_up(self) -> bool:
        """Tell whether it was ready when it was last looked at."""
        return self._down_since is None

    def look(self) -> None:
        """Ask it, if it is down, whether it is ready; that ends the outage."""
        began, hits = self._down_since, self._hits
        # Hit once more while it was asked: that outage goes on.
        if began is not None and self._is_ready() and hits == self._hits:
            self.outages.append(Outage(name=self.name, began=began, ended=time.time()))
            self._down_since = None

    def _is_ready(self) -> bool:
        if self.url:
            return answers(f"{self.url}/healthz", timeout_seconds=0.5)
        with self.log.open("rb") as log:
            log.seek(self._log_at)
            return READY in log.read()

    def stop(self) -> None:
        if self._child is not None:
            self.thaw()
            self._child.stop(5)


class ManagedStore:
    """The store: killed and started again on its port and its folder."""

    def __init__(self, folder: Path, port: int, flags: tuple[str, ...] = DURABLE) -> None:
        self.name = "store"
        folder.mkdir()
        self._copy = folder.with_name("copy of the store")
        self.server = ValkeyServer(folder, flags, port)
        self.lives = 0
        self.well_since: float | None = None

    def start(self) -> None:
        self.server.start()
        self.lives += 1
        self.well_since = time.time()

    @property
    def runs(self) -> bool:
        return self.server.process is not None and self.server.process.poll() is None

    def kill(self) -> None:
        self.well_since = None
        self.server.kill()

    def freeze(self) -> None:
        self.well_since = None
        os.killpg(self.server.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.runs:
            os.killpg(self.server.pid, signal.SIGCONT)
            self.well_since = time.time()

    def copy(self) -> None:
        """Keep a copy of its folder, of one moment."""
        self.freeze()
        try:
            shutil.rmtree(self._copy, ignore_errors=True)
            shutil.copytree(self.server.folder, self._copy, ignore=shutil.ignore_patterns("*.sock"))
        finally:
            self.thaw()

    @property
    def has_copy(self) -> bool:
        return self._copy.exists()

    def put_back(self) -> None:
        """Put the copy in the place of its folder while it is down."""
        shutil.rmtree(self.server.folder)
        shutil.copytree(self._copy, self.server.folder)

    def stop(self) -> None:
        self.server.kill()
