"""`python -m faults.chaos`: one run, its figures, and every broken promise. Status 1 when one was broken."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from integration.local.supervisor import write_line

from .mutants import MUTANTS
from .run import run
from .settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults go on (60)")
    parser.add_argument("--seed", type=int, default=None, help="the plan to replay; left out: a new one")
    parser.add_argument("--accounts", type=int, default=8, help="how many accounts, 3 to 40 (8)")
    parser.add_argument("--rate", type=float, default=12.0, help="deliveries a second (12)")
    parser.add_argument("--mutant", choices=MUTANTS, help="take one guard out: the run has to notice")
    parser.add_argument(
        "--restores",
        action="store_true",
        help="put an old copy of the store back again and again: what came after the copy may be gone",
    )
    parser.add_argument("--sentry", action="store_true", help="let every process report to a Sentry here")
    parser.add_argument("--keep", action="store_true", help="keep the folder with logs and store")
    asked = parser.parse_args()
    seed = time.time_ns() % 1_000_000 if asked.seed is None else asked.seed
    mutant = MUTANTS.get(asked.mutant)
    settings = Settings(
        seed=seed,
        seconds=min(max(asked.seconds, 5.0), 3600.0),
        accounts=min(max(asked.accounts, 3), 40),
        rate=min(max(asked.rate, 0.1), 100.0),
        mutant=mutant,
        restores=asked.restores or (mutant is not None and mutant.restores),
        sentry=asked.sentry,
    )
    folder = Path(tempfile.mkdtemp(prefix="ringback-faults-"))
    report = run(settings, folder)
    write_line(str(report))
    if report.broken or asked.keep:
        write_line(f"logs and store: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())
