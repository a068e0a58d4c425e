"""`make mutants`: takes out one guard after the other and shows which test notices.

cd tests && python -m faults.mutants                    all of them; writes docs/mutants.md when none survives
cd tests && python -m faults.mutants --only "lease"     those whose name holds these words
cd tests && python -m faults.mutants --list             names and what is taken out
"""

from __future__ import annotations

import argparse
import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from . import MUTANTS
from .fork_server import fork_server
from .report import write_report
from .runner import LONGEST_SECONDS, TreeCopy, copy_of_tree

AT_ONCE = 2


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="only guards whose name holds this text")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument(
        "--trust", action="store_true", help="do not run the tests on the code as it is first"
    )
    parser.add_argument("--at-once", type=int, default=AT_ONCE, choices=(1, 2))
    asked = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if asked.only in mutant.guard]
    if asked.list or not chosen:
        for mutant in chosen:
            say(f"{mutant.guard}: {mutant.out}")
        return 0 if chosen else 2
    with ExitStack() as stack:
        copies: queue.SimpleQueue[TreeCopy] = queue.SimpleQueue()
        tests = fork_server()
        for _ in range(asked.at_once):
            copies.put(stack.enter_context(copy_of_tree(tests)))
        if not asked.trust and not _whole(
            copies, sorted({test for mutant in chosen for test in mutant.tests})
        ):
            return 1
        verdicts = _all(chosen, copies, asked)
    return _tell(chosen, verdicts, complete=not asked.only)


def _whole(copies, tests) -> bool:
    """Tell whether the named tests pass on the code as it is: else that they fail says nothing."""
    copy = copies.get()
    say(f"first on the code as it is: {len(tests)} tests or files")
    status, said = copy.run(tests, LONGEST_SECONDS * 4)
    copies.put(copy)
    if status != 0:
        say(said[-2000:])
    return status == 0


def _all(chosen, copies, asked):
    done = []

    def one(mutant):
        copy = copies.get()
        try:
            verdict = copy.try_out(mutant)
        finally:
            copies.put(copy)
        done.append(verdict)
        say(f"{len(done):3}/{len(chosen)}  {verdict.seconds:5.1f} s  {verdict}")
        return verdict

    with ThreadPoolExecutor(asked.at_once) as pool:
        return list(pool.map(one, chosen))


def _tell(chosen, verdicts, *, complete) -> int:
    amiss = [verdict for verdict in verdicts if verdict.caught_by is None]
    say(f"\n{len(verdicts)} mutants, {len(verdicts) - len(amiss)} caught, {len(amiss)} not")
    for verdict in amiss:
        say(verdict)
    if complete and not amiss:
        say(f"written: {write_report(chosen, verdicts)}")
    return 1 if amiss else 0


if __name__ == "__main__":
    sys.exit(main())
