"""Everything of a run that is started and stopped: the processes, the proxies, the sandbox, and their folder.

`wolkvox` is the sandbox in this process: it survives everything, and goes on working on a call whose
client has left.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import redis

from integration.local.sandbox import Sandbox
from integration.local.supervisor import Backoff, Supervisor
from support.procfile import procfile_line
from support.sentry_sink import SentrySink, sentry_sink
from support.valkey import DURABLE

from . import clocks, plan
from .config_file import ConfigFile
from .processes import ManagedProcess, ManagedStore, quiet_port
from .proxy import Proxy
from .settings import SECRETS, config_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from integration.local.supervisor import Ended

    from .settings import Settings

READY_SECONDS = 90.0
RESTART = Backoff(first_seconds=0.1, longest_seconds=1.0, steady_seconds=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    """The end of a web or a worker, at a moment in monotonic seconds, and what was known about it then.

    `could_not_start`: no process can start now, because of the configuration's file or the store's settings.
    """

    name: str
    how: str
    at: float
    is_planned: bool
    was_starting: bool
    could_not_start: bool


class ChaosSystem:
    """The processes and all that lies between: proxies, the sandbox, the folder with the logs."""

    def __init__(self, settings: Settings, folder: Path, sandbox: Sandbox, sentry: SentrySink) -> None:
        self.settings, self.folder, self.sandbox, self.sentry = settings, folder, sandbox, sentry
        rng = Random()
        self.store = ManagedStore(
            folder / "store", quiet_port(rng), settings.mutant.store if settings.mutant else DURABLE
        )
        port = self.store.server.port
        self.proxies = {name: Proxy(quiet_port(rng), port) for name in ("webs", "workers")}
        self.config_path = folder / "ringback.toml"
        self.file = ConfigFile(self.config_path, config_text(settings, sandbox.url))
        self.environ = self._environ()
        self.webs = tuple(self._actor(name, "web", quiet_port(rng)) for name in plan.WEBS)
        self.workers = tuple(self._actor(name, "worker") for name in plan.WORKERS)
        self.admin = redis.Redis.from_url(
            self.store.server.url, socket_timeout=2, socket_connect_timeout=1, retry=None
        )

        self.is_unsafe = False
        self.ends: list[ProcessEnd] = []
        self._supervisor = Supervisor(restart=RESTART, on_ended=self._note_end)

    def _note_end(self, ended: Ended) -> None:
        actor = self.actors[ended.name]
        end = ProcessEnd(
            name=ended.name,
            how=ended.how,
            at=time.monotonic(),
            is_planned=actor.end_is_planned,
            was_starting=not actor.is_up,
            could_not_start=self.file.was_damaged or self.is_unsafe,
        )
        self.ends.append(end)

    def _environ(self) -> dict[str, str]:
        environ = {
            **os.environ,
            **SECRETS,
            "RINGBACK_CONFIG": str(self.config_path),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "WEB_CONCURRENCY": "1",
            "WORKER_CONCURRENCY": "8",
            "RINGBACK_EPOCH_FILE": str(self.folder / "seen"),
        }
        environ.pop("SENTRY_DSN", None)
        if self.settings.sentry:
            environ.update({"SENTRY_DSN": self.sentry.dsn, "SENTRY_TRACES_SAMPLE_RATE": "1"})
        environ.pop("BROKER_URL", None)
        environ.pop("LOG_LEVEL", None)
        mutant = self.settings.mutant.code if self.settings.mutant else ""
        (self.folder / "start").mkdir()
        (self.folder / "start" / "sitecustomize.py").write_text(clocks.CODE + mutant)
        first = [str(self.folder / "start"), *filter(None, [environ.get("PYTHONPATH")])]
        environ["PYTHONPATH"] = os.pathsep.join(first)
        return environ

    def _actor(self, name: str, kind: str, port: int = 0) -> ManagedProcess:
        proxy = self.proxies[f"{kind}s"]
        env = {**self.environ, "REDIS_URL": f"redis://127.0.0.1:{proxy.port}/0", "PORT": str(port)}
        if name == plan.WEBS[-1]:
            # While one of two web processes hangs, the other one has to answer everybody.
            env["WEB_CONCURRENCY"] = "2"
        url = f"http://127.0.0.1:{port}" if port else ""
        wrong = clocks.clock_errors(self.settings.seed, name) if kind == "worker" else ()
        return ManagedProcess(
            name, procfile_line(kind), env, self.folder / f"{name}.log", url, clock_seconds=wrong
        )

    @property
    def actors(self) -> dict[str, ManagedProcess]:
        return {actor.name: actor for actor in (*self.webs, *self.workers)}

    def start(self) -> None:
        self.store.start()
        for actor in self.actors.values():
            self._supervisor.start(actor)

    def look(self) -> None:
        """Let everybody who is ready again be so from now on."""
        for actor in self.actors.values():
            actor.look()

    def all_ready(self) -> bool:
        return all(actor.is_up for actor in self.actors.values())

    def well_since(self) -> float | None:
        """Since when a worker, the store and the line between them are well; None while one is not."""
        workers = [since for worker in self.workers if (since := worker.up_since) is not None]
        line, store = self.proxies["workers"].well_since, self.store.well_since
        if not workers or line is None or store is None:
            return None
        return max(min(workers), line, store)

    def stop(self) -> None:
        for actor in self.actors.values():
            actor.thaw()
        self._supervisor.stop()
        self.store.stop()
        for proxy in self.proxies.values():
            proxy.stop()


class Looking(threading.Thread):
    """Ends the outages of webs and workers as soon as they are ready again."""

    def __init__(self, system: ChaosSystem) -> None:
        super().__init__(name="looking", daemon=True)
        self._system = system
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.1):
            self._system.look()

    def stop(self) -> None:
        self._ended.set()
        self.join(10)


@contextmanager
def running_system(settings: Settings, folder: Path) -> Iterator[ChaosSystem]:
    """Set everything up and take all of it down again, whatever happens."""
    with ExitStack() as stack:
        sandbox, sentry = stack.enter_context(Sandbox()), stack.enter_context(sentry_sink())
        system = ChaosSystem(settings, folder, sandbox, sentry)
        stack.callback(system.stop)
        system.start()
        looking = Looking(system)
        looking.start()
        stack.callback(looking.stop)
        wait(system.all_ready, READY_SECONDS, "start")
        yield system


def wait(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a function gives True. Raises AssertionError."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"{what}: not done after {seconds:g} s"
        time.sleep(0.05)
