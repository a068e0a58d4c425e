"""One mutant's run: a throw-away copy of the tree with the guard taken out, and the tests on it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .fork_server import run_tests
from .mutant import ROOT, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from multiprocessing.context import ForkServerContext

    from .mutant import Mutant

LONGEST_SECONDS = 240
_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/(?:\S+/)?([^\s/]+\.py::\S+)", re.MULTILINE)
_NO_TEST = re.compile(r"^ERROR tests/(?!\S+::)(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Which test caught a mutant, None when none did; `trouble` when that cannot be told."""

    guard: str
    caught_by: str | None = None
    trouble: str = ""
    seconds: float = 0.0

    @property
    def open(self) -> bool:
        """Whether other tests may still notice."""
        return self.caught_by is None and not self.trouble

    def __str__(self) -> str:
        if self.trouble:
            return f"TROUBLE   {self.guard}: {self.trouble}"
        if self.caught_by is None:
            return f"SURVIVED  {self.guard}"
        return f"caught    {self.guard}: {self.caught_by}"


@dataclass(frozen=True, slots=True)
class TreeCopy:
    """A copy of the tree that is used for one mutant after the other."""

    root: Path
    fork_server: ForkServerContext

    def run(self, tests: Sequence[str], seconds: float) -> tuple[int | None, str]:
        """Run tests until the first fails. Gives pytest's status, None when it did not end, and what it said."""
        paths = [self._path(test) for test in tests]
        options = ["-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=no", "-rfE"]
        said = self.root / "said"
        status = said.with_name("said.status")
        status.unlink(missing_ok=True)
        process = self.fork_server.Process(
            target=run_tests, args=(str(self.root), [*options, *paths], str(said))
        )
        process.start()
        process.join(seconds)
        if process.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()
            return None, said.read_text("utf-8", "replace")
        found = int(status.read_text()) if status.exists() else -1
        return found, said.read_text("utf-8", "replace")

    def _path(self, test: str) -> str:
        file, colons, name = test.partition("::")
        return f"{path_of(file, self.root)}{colons}{name}"

    def try_out(self, mutant: Mutant) -> Verdict:
        """Take the guard out, run its tests, then put it back."""
        began = time.monotonic()
        files = {path for edit in mutant.edits for path in self.root.glob(edit.file)}
        kept = {path: path.read_text("utf-8") for path in files}
        try:
            for edit in mutant.edits:
                edit.apply(self.root)
            _forget_compiled(files)
            verdict = self._in_drain(mutant)
        finally:
            for path, text in kept.items():
                path.write_text(text, "utf-8")
            _forget_compiled(files)
        return Verdict(
            guard=verdict.guard,
            caught_by=verdict.caught_by,
            trouble=verdict.trouble,
            seconds=time.monotonic() - began,
        )

    def _in_drain(self, mutant: Mutant) -> Verdict:
        """Try the named tests, and if they pass the whole files that hold them."""
        files = tuple(dict.fromkeys(test.partition("::")[0] for test in mutant.tests))
        verdict = self._judge(mutant, mutant.tests)
        if verdict.open and files != mutant.tests:
            verdict = self._judge(mutant, files)
        return verdict

    def _judge(self, mutant: Mutant, tests: Sequence[str]) -> Verdict:
        status, said = self.run(tests, LONGEST_SECONDS)
        if status is None:
            return Verdict(guard=mutant.guard, trouble=f"the tests did not end in {LONGEST_SECONDS} s")
        failed = _FAILED.search(said)
        if status == 1 and failed:
            return Verdict(guard=mutant.guard, caught_by=failed[1].partition("[")[0])
        if status != 0:
            broken = _NO_TEST.search(said)
            return Verdict(guard=mutant.guard, trouble=broken[0] if broken else said[-300:])
        return Verdict(guard=mutant.guard)


def _forget_compiled(files: Iterable[Path]) -> None:
    # Within a second, and of one length, Python takes a changed file for the one that it compiled.
    for path in files:
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()


@contextmanager
def copy_of_tree(fork_server: ForkServerContext) -> Iterator[TreeCopy]:
    """Make a copy of what git knows, or would add; it is gone afterwards."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        root = Path(folder)
        for name in filter(None, listed.stdout.decode().split("\0")):
            if (ROOT / name).is_file():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        copy = TreeCopy(root, fork_server)
        _require_own_code(copy)
        yield copy


def _require_own_code(copy: TreeCopy) -> None:
    """Make sure that the tests of a copy run the copy's code, not the installed one."""
    ask = "import integration, workers; print(integration.__file__, workers.__file__)"
    environ = {**os.environ, "PYTHONPATH": str(copy.root)}
    told = subprocess.run(
        [sys.executable, "-c", ask], cwd=copy.root, env=environ, capture_output=True, text=True, check=True
    ).stdout.split()
    if not all(path.startswith(str(copy.root)) for path in told):
        raise AssertionError(f"the copy's tests would run other code: {told}")
