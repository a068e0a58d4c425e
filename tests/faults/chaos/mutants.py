"""Ringback with one guard taken out, each to show that the run notices: a checker that never fails proves nothing.

A mutant is code that every web and worker runs at its start (`sitecustomize`), or a store or a
configuration that promises less than the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from support.valkey import DURABLE

_LUA = """
import workers.store as store
before, after = {before!r}, {after!r}
if before not in store.SCRIPTS[store.WHOLE]:
    raise SystemExit(f"the mutant no longer fits the script: {{before}}")  # an Exception would pass unheeded here
store.SCRIPTS = {{name: text.replace(before, after) for name, text in store.SCRIPTS.items()}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """What is taken out, and the promise that breaks."""

    breaks: str
    code: str = ""
    store: tuple[str, ...] = DURABLE
    config: str = ""
    restores: bool = False


def _lua(before: str, after: str) -> str:
    return _LUA.format(before=before, after=after)


MUTANTS = {
    "no quiet time": Mutant(breaks="P2", code=_lua("if o.quiet then", "if false then")),
    "no lease": Mutant(breaks="P2", code=_lua("'lease', now + terms.lease_ms", "'lease', now + 300")),
    "a store that forgets": Mutant(
        breaks="P1",
        store=("--appendonly", "no", "--maxmemory-policy", "noeviction"),
        config="[store]\naccept_loss = true\n",
    ),
    "no quiet time after a restore": Mutant(
        breaks="P2",
        code=_lua("if held > now then return 'wait'", "if false then return 'wait'")
        + _lua("if settling > now then return 'wait'", "if false then return 'wait'"),
        restores=True,
    ),
    "no deduplication": Mutant(
        breaks="P5",
        code=_lua("if taken_before(e, done, delivery) then return end", "")
        + _lua(
            "local old = delivery.key ~= '' and redis.call('GET', P .. 'answer:' .. delivery.key)",
            "local old",
        )
        + _lua("if one and one.answer and", "if false and"),
    ),
    "nothing is superseded": Mutant(
        breaks="P4",
        code=_lua("if newest and newest.version > e.version then\n    if ends", "if false then\n    if ends"),
    ),
    "no sweep": Mutant(
        breaks="P6",
        code="import workers.engine as engine\nengine.Engine._sweep_lanes = lambda self: None\n",
    ),
    "the log tells all": Mutant(
        breaks="P8",
        code=(
            "import sys, workers.ledger as ledger\nreal = ledger._recall_fields\n"
            "def told(request, **more):\n"
            "    sys.stderr.write(f'recall for {request.recall_telephone}\\n')\n"
            "    return real(request, **more)\n"
            "ledger._recall_fields = told\n"
        ),
    ),
    "waits for the store": Mutant(
        breaks="P9",
        code=("import integration.app as app\napp.STORE_CONNECT_SECONDS = app.STORE_ANSWER_SECONDS = 30.0\n"),
    ),
}
