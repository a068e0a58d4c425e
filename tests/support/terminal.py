"""A user's terminal: runs the commands of a page one after the other, and keeps folder and variables."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from support.waiting import wait_until

# A child of the tests must not see what decides where another command of Ringback looks.
OURS = (
    "REDIS_URL",
    "BROKER_URL",
    "PORT",
    "RINGBACK_CONFIG",
    "RINGBACK_DATA_DIR",
    "RINGBACK_SERVE",
    "SENTRY_DSN",
)


class Terminal:
    """A shell in a folder. `variables` replaces each `NAME=…` of a page, whose value only the user knows."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.variables = variables
        self._variables = folder / "variables"
        self.environ = {
            name: value for name, value in os.environ.items() if name not in OURS and name != "CI"
        }
        self.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def run(self, commands: str, *, status: int = 0) -> str:
        """Run commands as typed, and return what they print. The last one must exit with `status`."""
        typed = re.sub(r"(\w+)=…", lambda found: f"{found[1]}={self.variables[found[1]]}", commands)
        keep = f"status=$?; env -0 > '{self._variables}'; exit $status"
        done = subprocess.run(
            ["bash", "-c", f"{typed}\n{keep}"],
            cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        pairs = self._variables.read_text("utf-8").split("\0")
        self.environ = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        self.folder = Path(self.environ["PWD"])
        return done.stdout

    @contextmanager
    def in_background(self, command: str, *, ready: str):
        """Run a command until the block ends, then press Ctrl-C. It is ready once it prints `ready`."""
        log = self.folder / "output.txt"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.folder, env=self.environ, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip

        def is_ready() -> bool:
            assert process.poll() is None, log.read_text("utf-8", "replace")
            return ready in log.read_text("utf-8", "replace")

        try:
            wait_until(is_ready, 90, what=lambda: log.read_text("utf-8", "replace")[-2000:])
            yield process
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, log.read_text("utf-8", "replace")[-2000:]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
