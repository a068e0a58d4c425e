"""`make fuzz SECONDS=… SEED=…`: the fuzzing tests, round after round, each with a seed of its own.

Ends with the round in which the time is over, or with the first that fails; its seed replays it.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(__file__).parent


def one_round(seed: int) -> bool:
    """Run every fuzzing test with a seed; tell whether all passed."""
    files = sorted(str(path) for path in FOLDER.glob("test_fuzz_*.py"))
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", f"--hypothesis-seed={seed}", *files]
    return subprocess.run(command, cwd=FOLDER.parent.parent, check=False).returncode == 0


def main() -> None:
    """Read the command line and run rounds."""
    reader = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    reader.add_argument("--seconds", type=float, default=60.0)
    reader.add_argument("--seed", type=int)
    given = reader.parse_args()
    seed = secrets.randbelow(2**31) if given.seed is None else given.seed
    end, rounds = time.monotonic() + given.seconds, 0
    while rounds == 0 or time.monotonic() < end:
        sys.stdout.write(f"round {rounds + 1}, seed {seed}\n")
        sys.stdout.flush()
        if not one_round(seed):
            sys.exit(f"failed; the same again: make fuzz SECONDS=1 SEED={seed}")
        seed, rounds = seed + 1, rounds + 1
    sys.stdout.write(f"{rounds} rounds passed\n")


if __name__ == "__main__":
    main()
