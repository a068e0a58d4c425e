"""One run: the processes are started and loaded, the planned faults are injected, and the result is checked."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from integration.local.supervisor import write_line
from integration.services.configuration import load_config

from . import plan
from .checker import Broken, check
from .evidence import collect
from .fault_injector import FaultInjector
from .figures import figures
from .load import Sender, WebPool
from .recovery import wait_until_done
from .settings import API_KEY, LONGEST_WORK
from .system import running_system
from .watch import QueueWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .history import History
    from .settings import Settings
    from .system import ChaosSystem


@dataclass
class Report:
    """What came of a run."""

    settings: Settings
    broken: list[Broken]
    figures: dict[str, Any]
    history: History = field(repr=False)
    folder: Path

    def __str__(self) -> str:
        lines = [f"{name:<28} {value}" for name, value in self.figures.items()]
        shown = [f"BROKEN {broken}" for broken in self.broken[:20]]
        more = [f"… and {len(self.broken) - 20} more"] if len(self.broken) > 20 else []
        counts = Counter(broken.promise for broken in self.broken)
        counted = ", ".join(f"{promise} {n} times" for promise, n in counts.items())
        verdict = f"broken: {counted}" if self.broken else "every promise was kept"
        return "\n".join([*lines, *shown, *more, f"seed {self.settings.seed}: {verdict}"])


def run(settings: Settings, folder: Path, say: Callable[[str], None] = write_line) -> Report:
    """Play one run and judge it."""
    with running_system(settings, folder) as system:
        say(f"seed {settings.seed}: {settings.seconds:g} s of faults, logs in {folder}")
        senders = _senders(system)
        watch = QueueWatch(system.store.server.url, system.well_since)
        injector = FaultInjector(system)
        try:
            for thread in (watch, *senders):
                thread.start()
            planned = plan.faults(
                settings.seed, settings.seconds, settings.accounts, LONGEST_WORK, restores=settings.restores
            )
            injector.run(planned)
            drained, recovery_seconds = wait_until_done(system, senders, watch, say)
        finally:
            _end(senders, watch)
        history = collect(system, senders, watch, injector, drained=drained)
    measured = figures(history, injector, watch, recovery_seconds)
    return Report(settings, check(history), measured, history, folder)


def _senders(system: ChaosSystem) -> list[Sender]:
    settings = system.settings
    config = load_config(system.config_path, system.environ)
    accounts = tuple(f"a{n}" for n in range(settings.accounts))
    webs = WebPool(config, system.webs, accounts, API_KEY)
    rate, most = settings.rate / settings.senders, settings.most // settings.senders
    return [Sender(f"s{n}", settings.seed, webs, rate=rate, most=most) for n in range(settings.senders)]


def _end(senders: list[Sender], watch: QueueWatch) -> None:
    for sender in senders:
        sender.abandon.set()
    for sender in senders:
        sender.join(15)
    watch.stop()
