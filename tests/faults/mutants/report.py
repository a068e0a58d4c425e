"""docs/mutants.md: which test caught which mutant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mutant import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .mutant import Mutant
    from .runner import Verdict

REPORT = ROOT / "docs" / "mutants.md"

_HEAD = """\
# Every guard has a test

A guard that no test misses is gone at the next change. `make mutants` takes out one guard at a time, in a throw-away copy of the tree, and runs the tests: each of the {count} below was noticed by the test beside it, and none went unnoticed. A whole run writes this page anew.

```
make mutants                     # all, about {minutes} minutes on two cores
make mutants ONLY="quiet time"   # those whose name holds these words
```

The tests named with a mutant run first, and if they pass the whole files that hold them. A mutant names a function and, by names and structure, what becomes of which condition, call or value in it. One whose place is gone, or is there twice, fails as `place not found` in the ordinary suite (`tests/faults/test_mutants.py`). The mutants are in `tests/faults/mutants/`, by subject. Twelve more, for which everything is started, killed and frozen, belong to the fault run: [Tested under faults](faults.md).

| guard | without it | caught by |
|---|---|---|
"""


def write_report(mutants: Sequence[Mutant], verdicts: Sequence[Verdict]) -> Path:
    """Write the page; a run of a part writes none."""
    minutes = max(1, round(sum(verdict.seconds for verdict in verdicts) / 60 / 2))
    rows = [
        f"| {mutant.guard} | {mutant.out} | `{verdict.caught_by}` |\n"
        for mutant, verdict in zip(mutants, verdicts, strict=True)
    ]
    REPORT.write_text(_HEAD.format(count=len(rows), minutes=minutes) + "".join(rows), "utf-8")
    return REPORT
