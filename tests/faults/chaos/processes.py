"""The processes of a run: webs and workers as the Procfile starts them, a store, and how they are killed and frozen.

Every one of them is a child in a group of its own that cannot outlive this process. A supervisor starts webs and
workers again, as `ringback up` does.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from integration.local.supervisor import Program, answers
from support.procfile import ROOT
from support.valkey import DURABLE, ValkeyServer

from . import clocks
from .history import Outage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

READY = b" ready"
STARTS_SECONDS = 12.0
"""A web process that is older has certainly started."""


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
    """A web or a worker, as a service of a supervisor. Its log goes on over all its lives.

    One that was killed counts as running until it is let go: the supervisor starts it again only then.
    """

    name: str
    command: str
    env: Mapping[str, str] = field(repr=False)
    log: Path
    url: str = ""
    lives: int = 0
    clock_seconds: tuple[float, ...] = ()
    outages: list[Outage] = field(default_factory=list)
    end_is_planned: bool = False
    _program: Program | None = None
    _held_down: bool = False
    _frozen: bool = False
    _down_since: float | None = None
    _log_at: int = 0
    _hits: int = 0

    def start(self) -> None:
        self._down_since = self._down_since or time.time()
        self._log_at = self.log.stat().st_size if self.log.exists() else 0
        self._frozen = self.end_is_planned = False
        self._program = Program(
            self.name,
            ["sh", "-c", f"exec {self.command}"],
            env=self._env(),
            cwd=ROOT,
            stop_seconds=5.0,
            relay=self._write,
            counts_ticks=True,
        )
        self._program.start()
        self.lives += 1

    def _env(self) -> Mapping[str, str]:
        if not self.clock_seconds:
            return self.env
        wrong = self.clock_seconds[self.lives % len(self.clock_seconds)]
        return {**self.env, clocks.VARIABLE: str(wrong)}

    def _write(self, line: str) -> None:
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    @property
    def pid(self) -> int:
        """The id of the process. Fails while the program waits for its next start."""
        pid = self._pid()
        assert pid is not None
        return pid

    def _pid(self) -> int | None:
        return None if self._program is None else self._program.pid

    @property
    def runs(self) -> bool:
        return self._program is not None and self._program.poll() is None

    def poll(self) -> int | None:
        return None if self._held_down or self._program is None else self._program.poll()

    def ticks(self) -> int | None:
        return None if self._held_down or self._program is None else self._program.ticks()

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        if self._program is not None:
            self._program.stop(hurry=hurry)

    def kill(self) -> None:
        """Kill it, and hold it down until `let_go`."""
        self._begin_outage()
        self.end_is_planned = self._held_down = True
        while self.runs:
            self._signal(signal.SIGKILL)
            time.sleep(0.002)

    def let_go(self) -> None:
        self._held_down = False

    def kill_child(self) -> bool:
        """Kill one process that it has started itself, if there is one."""
        children = self._children()
        if not children:
            return False
        self._begin_outage()
        with contextlib.suppress(ProcessLookupError):
            os.kill(children[-1], signal.SIGKILL)
        return True

    def hang(self, *, child: bool) -> int | None:
        """Stop it, or one process that it has started itself, for good. Return its id, None if it does not run."""
        pids = self._started(child=child)
        if not pids:
            return None
        self._begin_outage()
        if not child:
            self._frozen = self.end_is_planned = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(pids[-1], signal.SIGSTOP)
        return pids[-1]

    def can_hang(self, *, child: bool) -> bool:
        """Tell whether there is a process to stop that has started: one that starts has longer to respond."""
        return self.counts and bool(self._started(child=child))

    def _started(self, *, child: bool) -> list[int]:
        if not child:
            pid = self._pid()
            return [pid] if pid is not None and self.runs else []
        return [pid for pid in self._children() if _age_seconds(pid) > STARTS_SECONDS]

    def _children(self) -> list[int]:
        pid = self._pid()
        path = Path(f"/proc/{pid}/task/{pid}/children")
        with contextlib.suppress(OSError):
            return [int(child) for child in path.read_text().split()]
        return []

    def freeze(self) -> None:
        self._begin_outage()
        self._frozen = True
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)
        self._frozen = False

    def _signal(self, number: signal.Signals) -> None:
        # The program has no process id while it waits for its next start.
        pid = self._pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

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
    def counts(self) -> bool:
        """Tell whether it is ready and has counted ticks."""
        return self.is_up and self.runs and bool(self.ticks())

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
            return self.runs and answers(f"{self.url}/healthz", timeout_seconds=0.5)
        if self._frozen or not self.runs or not self.log.exists():
            return False
        with self.log.open("rb") as log:
            log.seek(self._log_at)
            return READY in log.read()

    def readiness(self) -> int:
        """Return the status of `/readyz`, 0 without an answer."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=3)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()


def _age_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        return time.time() - Path(f"/proc/{pid}").stat().st_ctime
    return 0.0


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

    def let_go(self) -> None:
        self.start()

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
