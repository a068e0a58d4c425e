"""The systems under test on loopback: a store, a wolkvox stub, Ringback and the baselines.

Every process is started on its own free port and ends with the stage. Each system has its own store, which
syncs writes to disk before it answers.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import redis

from integration.domain.passwords import hashed, table
from integration.local.child_process import Child, spawn
from integration.local.embedded_store import find_server
from integration.local.stack import listen, port_of, web_command, worker_command
from integration.local.supervisor import free_port, wait_until
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).parent.parent
READY_SECONDS = 60.0
DURABLE = (
    *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction"),
    # A rewrite of the append-only file would distort the measurement.
    *("--auto-aof-rewrite-percentage", "0"),
)
SECRETS = {
    "FORMS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "HUBSPOT_SECRET": "hubspot-client-secret-of-the-bench",
    "SALESFORCE_KEY": "k-9f27c1d0a4b84f7e-2b",
}
ORGANIZATION = "00D5f000000AbCdEAK"
WEB_PROCESSES = 2
WORKER_PROCESSES = 2
THREADS = 64
ACCOUNTS_A_FILE = 10
USER = "bench"
PASSWORD = "a long passphrase of the bench"  # noqa: S105  (of a stage on loopback)

_ACCOUNT = """
[accounts.a{number}]
base_url = "http://127.0.0.1:{port}"
token = "{token}"
timezone = "America/Bogota"
country = "CO"
min_lead_minutes = 0
"""

_SOURCES = f"""
[sources.forms]
kind = "json"
verify = "standard-webhooks"
secrets = ["env:FORMS_SECRET"]

[sources.hubspot]
kind = "hubspot"
secrets = ["env:HUBSPOT_SECRET"]

[sources.salesforce]
kind = "salesforce"
url_key = "env:SALESFORCE_KEY"
organization_id = "{ORGANIZATION}"

[[routes]]
name = "form"
source = "forms"
account = "a0"
when = "event.phone != 'ignore me'"
campaign_id = "{{{{ event.campaign }}}}"
customer_id = "{{{{ event.customer }}}}"
recall_telephone = "{{{{ event.phone }}}}"
recall_date = "{{{{ event.at }}}}"

[[routes]]
name = "callback date on a contact"
source = "hubspot"
account = "a0"
when = "event.propertyName == 'callback_at' and event.propertyValue"
campaign_id = "10"
customer_id = "{{{{ event.objectId }}}}"
recall_telephone = "3001112233"
recall_date = "{{{{ event.propertyValue }}}}"

[[routes]]
name = "lead"
source = "salesforce"
account = "a0"
campaign_id = "{{{{ event.Campaign__c }}}}"
customer_id = "{{{{ event.Id }}}}"
recall_telephone = "{{{{ event.MobilePhone }}}}"
recall_date = "{{{{ event.Callback_At__c }}}}"
"""


def token(number: int) -> str:
    """Return the token of an account."""
    return f"token-of-the-bench-{number:05d}"


def configuration(accounts: int, wolkvox_port: int) -> Iterator[tuple[str, str]]:
    """Yield the files of a configuration, by name, with `accounts` accounts: ten in each included file.

    Each account has a queue of its own. All webhooks go to the first one.
    """
    user = table(USER, "admin", hashed(PASSWORD))
    yield "ringback.toml", f'include = ["accounts/*.toml"]\n{_SOURCES}\n{user}'
    for first in range(0, accounts, ACCOUNTS_A_FILE):
        numbers = range(first, min(first + ACCOUNTS_A_FILE, accounts))
        tables = (_ACCOUNT.format(number=n, port=wolkvox_port, token=token(n)) for n in numbers)
        yield f"accounts/{first:05}.toml", "".join(tables)


@dataclass(slots=True)
class BenchStage:
    """A store and the processes that use it. A context manager that ends all processes."""

    folder: Path
    store_port: int = 0
    wolkvox_port: int = 0
    web_port: int = 0
    sentry_port: int = 0
    children: dict[str, list[Child]] = field(default_factory=dict)
    _opened: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def open(cls, *, sentry: bool = False) -> Self:
        """Return a stage with a store and a wolkvox stub; with `sentry` also a Sentry stub."""
        opened = ExitStack()
        folder = Path(opened.enter_context(TemporaryDirectory(prefix="ringback-bench-")))
        stage = cls(folder, _opened=opened)
        stage._start_store()
        stage.start_wolkvox()
        if sentry:
            stage._start_sentry()
        return stage

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in reversed(list(self.children)):
            self.end(name)
        self._opened.close()

    @property
    def store_url(self) -> str:
        """The URL of the store."""
        return f"redis://127.0.0.1:{self.store_port}/0"

    def client(self) -> redis.Redis:
        """Return a client of the store."""
        return redis.Redis.from_url(self.store_url, decode_responses=True)

    def run(
        self, name: str, command: Sequence[str], environ: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> Child:
        """Start a process in the group `name`. Its output goes to a file in the stage's folder."""
        env = {**os.environ, **environ}
        # Allow bytecode, as in an installation. Compiling all modules adds 2 s to each start.
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            child = spawn(command, env=env, cwd=ROOT, output=log.fileno(), pass_fds=pass_fds)
        self.children.setdefault(name, []).append(child)
        return child

    def end(self, name: str) -> None:
        """Kill all processes of a group."""
        for child in self.children.pop(name, []):
            child.kill()

    def pids(self, *names: str) -> list[int]:
        """Return the process ids of groups, without descendants."""
        return [child.pid for name in names for child in self.children.get(name, [])]

    def log_of(self, name: str) -> str:
        """Return the end of a group's output."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace")[-1500:] if path.exists() else ""

    def _start_store(self) -> None:
        self.store_port = free_port()
        data = self.folder / "store"
        data.mkdir()
        self.run(
            "store",
            [
                *(find_server(), "--port", str(self.store_port), "--bind", "127.0.0.1"),
                *("--dir", str(data), *DURABLE),
            ],
            {},
        )
        self._wait_for(self.store_port, "store")

    def start_wolkvox(self) -> None:
        """Start the wolkvox stub."""
        self.wolkvox_port = free_port()
        self.run("wolkvox", [sys.executable, "-m", "bench.wolkvox", str(self.wolkvox_port)], {})
        self._wait_for(self.wolkvox_port, "wolkvox")

    def _start_sentry(self) -> None:
        self.sentry_port = free_port()
        self.run("sentry", [sys.executable, "-m", "bench.sentry", str(self.sentry_port)], {})
        self._wait_for(self.sentry_port, "sentry")

    def wolkvox(self, path: str) -> Any:
        """Request a `/bench/` endpoint of the wolkvox stub."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.wolkvox_port}/bench/{path}", timeout=20
        ) as answer:
            return json.load(answer)

    # --- Ringback ---

    def configure(self, accounts: int) -> None:
        """Write a configuration with `accounts` accounts."""
        (self.folder / "accounts").mkdir(exist_ok=True)
        for name, text in configuration(accounts, self.wolkvox_port):
            (self.folder / name).write_text(text)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of Ringback's processes."""
        sentry = {"SENTRY_DSN": f"http://key@127.0.0.1:{self.sentry_port}/1"} if self.sentry_port else {}
        return {
            **SECRETS,
            **sentry,
            "REDIS_URL": self.store_url,
            "RINGBACK_CONFIG": str(self.folder / "ringback.toml"),
            "RINGBACK_DATA_DIR": str(self.folder / "data"),
            "WEB_CONCURRENCY": str(WEB_PROCESSES),
            "WORKER_CONCURRENCY": str(THREADS),
            "LOG_LEVEL": "info",
        }

    def services(self) -> Services:
        """Return services that publish no wake-ups."""
        watch = watch_config(self.folder / "ringback.toml", {**os.environ, **self.environ})
        services = Services(
            watch, Store(connect(self.store_url, timeout_seconds=60)), WakeUpPublisher.silent()
        )
        services.binding.bind()
        return services

    def start_web(self) -> float:
        """Start Ringback's web processes. Return the seconds until they answered."""
        with listen(0) as listener:
            self.web_port = port_of(listener)
            environ = {**self.environ, "PORT": str(self.web_port)}
            started = time.perf_counter()
            self.run("web", web_command(listener), environ, (listener.fileno(),))
        wait_until(f"http://127.0.0.1:{self.web_port}/readyz", READY_SECONDS, what="web", every_seconds=0.02)
        return time.perf_counter() - started

    def start_workers(self, processes: int = WORKER_PROCESSES) -> None:
        """Start Ringback's workers without waiting for them."""
        for _ in range(processes):
            self.run("workers", worker_command(self.environ), self.environ)

    # --- baselines ---

    def baseline_environ(self, *, shared: bool = False) -> dict[str, str]:
        """Return the environment of the baseline's processes."""
        return {
            **SECRETS,
            "BASELINE_BROKER": self.store_url,
            "BASELINE_WOLKVOX": f"http://127.0.0.1:{self.wolkvox_port}",
            "BASELINE_SHARED": "1" if shared else "",
            "TOKEN_BENCH0": token(0),
        }

    def start_baseline_web(self, worker_class: Sequence[str]) -> None:
        """Start the baseline's receiver."""
        self.web_port = free_port()
        command = [
            *(sys.executable, "-m", "gunicorn", "bench.baseline.web:app", "--workers", str(WEB_PROCESSES)),
            *("--bind", f"127.0.0.1:{self.web_port}", "--backlog", "2048", *worker_class),
        ]
        self.run("web", command, self.baseline_environ())
        self._wait_for(self.web_port, "web")

    def start_baseline_workers(self, tokens: Sequence[str]) -> None:
        """Start one single-slot process per token and wait for all of them."""
        for each in tokens:
            self._baseline_worker(each, ["--pool", "solo", "--concurrency", "1"], self.baseline_environ())
        self._wait_for_log(f"{len(tokens)} workers", len(tokens))

    def start_shared_workers(self) -> None:
        """Start the worker pool that is shared by all tokens and uses locks."""
        for _ in range(WORKER_PROCESSES):
            pool = ["--pool", "threads", "--concurrency", str(THREADS)]
            self._baseline_worker("shared", pool, self.baseline_environ(shared=True))
        self._wait_for_log("the shared pool", WORKER_PROCESSES)

    def _baseline_worker(self, queue: str, pool: Sequence[str], environ: Mapping[str, str]) -> None:
        command = [
            *(
                sys.executable,
                "-m",
                "celery",
                "--app",
                "bench.baseline.queue_app",
                "worker",
                "--queues",
                queue,
            ),
            *("--without-gossip", "--without-mingle", "--loglevel", "info", *pool),
        ]
        self.run("workers", command, environ)

    def _wait_for_log(self, what: str, times: int) -> None:
        path = self.folder / "workers.log"
        wait_until(
            lambda: path.read_text(errors="replace").count(" ready.") >= times, READY_SECONDS * 2, what=what
        )

    def _wait_for(self, port: int, name: str) -> None:
        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, READY_SECONDS, what=name, every_seconds=0.02)
