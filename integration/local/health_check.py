"""`python -m integration.local.health_check [--web]`: the health check of a container.

It looks at the ticks that the process counts in RINGBACK_LIVENESS_FILE, if that is set. It kills a process
that has stalled, because Docker restarts a container whose process ends, and leaves one that is unhealthy as
it is. With `--web` it also asks for /healthz on PORT. The status is 0 if all is well.
"""

from __future__ import annotations

import http.client
import os
import signal
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from integration.config import environment
from integration.domain.errors import RingbackError
from integration.telemetry.liveness import LOOK_SECONDS, STALLED_LOOKS, ProcessWatch, TickCounter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWER_SECONDS = 2.0


class UnhealthyError(RingbackError):
    """The process does not work. The message says what was found."""


def check_ticks(path: Path) -> None:
    """Wait until the process counts a tick. Kill it if it has stalled. Raise UnhealthyError."""
    try:
        with path.open("r+b") as file:
            counter = TickCounter(file.fileno())
    except OSError as error:
        raise UnhealthyError(f"{path}: {error.strerror}; the process has not started") from None
    first = counter.value
    if not first:
        raise UnhealthyError("the process is starting")
    watch = ProcessWatch()
    while counter.value == first:
        if watch.look(first):
            found = f"the process did not respond for {STALLED_LOOKS} s and"
            # The kernel ignores the signal for the first process of a container.
            if counter.pid == 1:
                raise UnhealthyError(f"{found} is PID 1: run with --init")
            os.kill(counter.pid, signal.SIGKILL)
            raise UnhealthyError(f"{found} was killed")
        time.sleep(LOOK_SECONDS)


def check_web(port: int) -> None:
    """Ask for /healthz on this machine. Raise UnhealthyError if the answer is not 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise UnhealthyError(f"/healthz on port {port}: {str(error) or type(error).__name__}") from None
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        raise UnhealthyError(f"/healthz on port {port}: {status}")


def check(environ: Mapping[str, str], *, web: bool) -> None:
    """Check the process of a container, with `web` also its answer. Raise UnhealthyError or ConfigError."""
    path = environment.liveness_file(environ)
    if path is not None:
        check_ticks(path)
    if web:
        check_web(environment.port(environ))


def main() -> None:
    """Exit with status 1 and what was found, or with status 0."""
    try:
        check(os.environ, web="--web" in sys.argv[1:])
    except RingbackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
