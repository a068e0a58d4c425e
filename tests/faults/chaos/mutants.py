"""Mutants for the chaos run: each takes out one guard, and the run must fail.

They show that the checker of the run can detect a broken promise. A mutant is code that every web process
and worker runs at its start (`sitecustomize`), or a store or configuration with weaker guarantees.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from faults.mutants import MUTANTS as GUARDS
from faults.mutants.code import Code
from faults.mutants.mutant import ROOT
from support.valkey import DURABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from faults.mutants.code import Edit

_LUA = "integration/store/lua/*.lua"
_PATCH = """
import hashlib
import integration.store.scripting.protocol as store
for before, after in {changed!r}:
    if before not in store.SCRIPT:
        raise SystemExit("the mutant no longer fits the script")  # sitecustomize ignores an Exception
    store.SCRIPT = store.SCRIPT.replace(before, after)
store.SHA = hashlib.sha1(store.SCRIPT.encode()).hexdigest()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosMutant:
    """A change that takes out a guard, and the promise that it breaks (docs/promises.md)."""

    breaks: str
    edits: tuple[Edit, ...] = ()
    python: str = ""
    store: tuple[str, ...] = DURABLE
    config: str = ""
    restores: bool = False

    @property
    def code(self) -> str:
        """The code that every process runs at its start. Raise PlaceError."""
        return self.python or (_patch(self.edits) if self.edits else "")


def _without(*guards: str) -> tuple[Edit, ...]:
    """Return the edits of the mutants of the Lua script with these guards. Raise KeyError."""
    edits = {mutant.guard: mutant.edits for mutant in GUARDS}
    return tuple(edit for guard in guards for edit in edits[guard])


def _patch(edits: Iterable[Edit]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        files = {path: Path(folder) / path.relative_to(ROOT) for path in ROOT.glob(_LUA)}
        for path, copy in files.items():
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(path.read_text("utf-8"), "utf-8")
        for edit in edits:
            edit.apply(Path(folder))
        texts = [(path.read_text("utf-8"), copy.read_text("utf-8")) for path, copy in files.items()]
    return _PATCH.format(changed=[(before, after) for before, after in texts if before != after])


MUTANTS = {
    "no quiet time": ChaosMutant(breaks="P2", edits=_without("quiet time after an unknown outcome")),
    "no lease": ChaosMutant(
        breaks="P2",
        edits=(Code(_LUA).argument("Queue.claim", "Queue.set", 2, "now", "lease_ms", to="now + 300"),),
    ),
    "a store without persistence": ChaosMutant(
        breaks="P1",
        store=("--appendonly", "no", "--maxmemory-policy", "noeviction"),
        config="[store]\naccept_loss = true\n",
    ),
    "no quiet time after a restore": ChaosMutant(
        breaks="P2",
        edits=_without(
            "queues are held after a lost epoch", "a new server waits until all workers have called"
        ),
        restores=True,
    ),
    "no deduplication": ChaosMutant(
        breaks="P5",
        edits=_without(
            "deduplication of events by their key",
            "the stored response for a repeated delivery of several events",
            "the stored response for a repeated delivery of one event",
        ),
    ),
    "no supersede of an older request": ChaosMutant(
        breaks="P4",
        edits=_without("supersede on admission: an older request arrives later"),
    ),
    "no sweep": ChaosMutant(
        breaks="P6",
        python="import workers.sweeper as sweeper\nsweeper.Sweeper._sweep_queues = lambda self: None\n",
    ),
    "telephone numbers in the log": ChaosMutant(
        breaks="P8",
        python=(
            "import sys, integration.store.deliveries as store\nreal = store._recall_fields\n"
            "def recall_fields(request, **more):\n"
            "    sys.stderr.write(f'recall for {request.recall_telephone}\\n')\n"
            "    return real(request, **more)\n"
            "store._recall_fields = recall_fields\n"
        ),
    ),
    "no restart of a stopped web process": ChaosMutant(
        breaks="P6",
        python=(
            "import integration.telemetry.liveness as liveness\n"
            "liveness.ProcessWatch.look = lambda self, ticks: 0\n"
        ),
    ),
    "a configuration without routes is accepted": ChaosMutant(
        breaks="P1",
        python=(
            "import integration.services.configuration as configuration\n"
            "import integration.mapping.planner as planner\n"
            "configuration.removals = lambda old, new: ()\nreal = planner._explain\n"
            "def explain(compiled, context, event, contact):\n"
            "    if compiled.routes.get(context.delivery.source):\n"
            "        return real(compiled, context, event, contact)\n"
            "    return planner.Explained(plan=planner.Ignored(event=event))\n"
            "planner._explain = explain\n"
        ),
    ),
    "the store's settings are checked only at the start": ChaosMutant(
        breaks="P1",
        python=(
            "import integration.store.monitoring.durability_watch as watch\n"
            "watch.DurabilityWatch._is_due = lambda self: False\n"
        ),
    ),
    "long time limits of the store": ChaosMutant(
        breaks="P9",
        python=(
            "import integration.app as app\napp.STORE_CONNECT_SECONDS = app.STORE_ANSWER_SECONDS = 30.0\n"
        ),
    ),
}
