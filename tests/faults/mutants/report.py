"""Writer of docs/mutants.md, the table of mutants and the tests that caught them."""

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

A guard is code that keeps a promise, for example a comparison or a limit. A guard without a test can be removed by mistake. `make mutants` removes one guard at a time in a temporary copy of the source tree and runs the tests. Such a changed copy is called a mutant. In the last complete run, a test failed for each of the {count} mutants below. The column *caught by* names the first test that failed. Each complete run without surviving mutants rewrites this page.

```
make mutants                     # all mutants, about {minutes} minutes on two cores
make mutants ONLY="quiet time"   # mutants whose guard contains these words
```

The mutants are defined in `tests/faults/mutants/`, one file per subject. A mutant names a function, a condition, call or value in it, and the replacement. It also names the tests that run first. If these pass, the whole test files that contain them run. `tests/faults/test_mutants.py` is part of the ordinary test suite. It fails if the place of a mutant is missing or ambiguous. The fault run, which kills and freezes processes of a complete system, has twelve more mutants: [Tested under faults](faults.md).

| guard | without it | caught by |
|---|---|---|
"""


def write_report(mutants: Sequence[Mutant], verdicts: Sequence[Verdict]) -> Path:
    """Write docs/mutants.md from the results of a complete run. Return its path."""
    minutes = max(1, round(sum(verdict.seconds for verdict in verdicts) / 60 / 2))
    rows = [
        f"| {mutant.guard} | {mutant.out} | `{verdict.caught_by}` |\n"
        for mutant, verdict in zip(mutants, verdicts, strict=True)
    ]
    REPORT.write_text(_HEAD.format(count=len(rows), minutes=minutes) + "".join(rows), "utf-8")
    return REPORT
