"""`make dev`: runs the demo's processes, and restarts worker and web when a source file changes.

Data, configuration and a shell file with the environment variables are kept in the folder dev of
RINGBACK_DATA_DIR (default .ringback). Secrets are generated at each start unless the environment sets
them (DEMO_…).
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from integration.config import environment
from integration.domain.errors import RingbackError
from integration.local.demo.installation import start_stack
from integration.local.stack import LOOPBACK, listen, port_next_to, relay
from integration.local.supervisor import Backoff, Ended, Supervisor, write_line

if TYPE_CHECKING:
    from integration.local.demo.installation import DemoStack

ROOT = Path(__file__).parents[2]
FOLDERS = ("integration", "workers")
SUFFIXES = frozenset({".css", ".html", ".js", ".lua", ".po", ".py", ".svg"})
LOOK_SECONDS = 0.5
# Retry soon after a syntax error, without flooding the terminal.
RESTART = Backoff(first_seconds=0.1, longest_seconds=3.0, steady_seconds=3.0)


def main() -> None:
    """Run the processes until Ctrl-C. Print a RingbackError and exit with status 1."""
    folder = environment.data_dir(os.environ) / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        port = environment.port(os.environ)
        listeners = (listen(port), listen(port_next_to(port), LOOPBACK))
        seen = modified_at(ROOT)  # first, so that a change during the start counts
        with Supervisor(restart=RESTART, on_ended=_report_end) as supervisor:
            stack = start_stack(supervisor, folder, _report_start, listeners=listeners, relay=relay)
            _announce(stack, write_variables(stack))
            restart_on_change(stack, seen)
    except RingbackError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        write_line("stopped")


def restart_on_change(stack: DemoStack, seen: dict[Path, int]) -> None:
    """Stop worker and web each time a source file changes, so that the supervisor restarts them.

    `seen` has the results of `modified_at` when the processes were started. The function does not return.
    """
    while True:
        time.sleep(LOOK_SECONDS)
        now = modified_at(ROOT)
        changed = sorted(str(path.relative_to(ROOT)) for path, _ in seen.items() ^ now.items())
        if changed:
            write_line(f"changed: {', '.join(dict.fromkeys(changed))}")
            for program in stack.programs:
                program.stop()
            seen = now


def modified_at(root: Path) -> dict[Path, int]:
    """Return the modification time of each source file below `root`, in nanoseconds."""
    found: dict[Path, int] = {}
    for folder in FOLDERS:
        for path in (root / folder).rglob("*"):
            if path.suffix in SUFFIXES:
                try:
                    found[path] = path.stat().st_mtime_ns
                except FileNotFoundError:  # replaced by an editor
                    continue
    return found


def write_variables(stack: DemoStack) -> Path:
    """Write `stack.environ` to a shell file, which is created with mode 600. Return the path."""
    path = stack.folder / "environment"
    path.touch(mode=0o600)
    path.write_text(
        "".join(f"{name}={shlex.quote(value)}\n" for name, value in stack.environ.items()), "utf-8"
    )
    return path


def _report_start(what: str) -> None:
    write_line(f"Starting {what} …")


def _report_end(ended: Ended) -> None:
    write_line(str(ended))


def _announce(stack: DemoStack, variables: Path) -> None:
    write_line(f"Dashboard  {stack.dashboard}/  (name {stack.user.name}, password {stack.user.password})")
    write_line(f"API        {stack.web}/openapi.json")
    write_line(f"Sandbox    {stack.sandbox}  (calls that wolkvox received)")
    write_line(f"Commands   set -a; . {variables}; set +a; ringback check")
    write_line("Worker and web restart when a source file changes. Ctrl-C stops all processes.")


if __name__ == "__main__":
    main()
