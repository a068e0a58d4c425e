"""The health check of a container: `python -m integration.local.health_check [--web]`.

The command checks that the process counts ticks in the file RINGBACK_LIVENESS_FILE, if that is set. It
kills a stalled process, because Docker restarts a container that has ended, but not an unhealthy one.
With `--web` it also requests /healthz on PORT. The exit status is 0 for a healthy container, else 1.
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
    """The container is unhealthy. The message states the cause."""


def check_ticks(path: Path) -> None:
    """Wait until the process counts a tick in the file `path`. Kill a stalled process.

    Raise UnhealthyError if the process has stalled or has not started.
    """
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
                raise UnhealthyError(
                    f"{found} cannot be killed, because it is PID 1; run the container with --init"
                )
            os.kill(counter.pid, signal.SIGKILL)
            raise UnhealthyError(f"{found} was killed")
        time.sleep(LOOK_SECONDS)


def check_web(port: int) -> None:
    """Request /healthz on this machine. Raise UnhealthyError without a response of status 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise UnhealthyError(
            f"no answer from /healthz on port {port}: {str(error) or type(error).__name__}"
        ) from None
    finally:
        connection.close()
    if status != HTTPStatus.OK:
        raise UnhealthyError(f"/healthz on port {port} returned status {status}")


def check(environ: Mapping[str, str], *, web: bool) -> None:
    """Check the ticks of a container's process, and with `web` also /healthz.

    Raise UnhealthyError, or ConfigError if an environment variable is invalid.
    """
    path = environment.liveness_file(environ)
    if path is not None:
        check_ticks(path)
    if web:
        check_web(environment.port(environ))


def main() -> None:
    """Run the check. Exit with status 0, or with status 1 and the cause on standard error."""
    try:
        check(os.environ, web="--web" in sys.argv[1:])
    except RingbackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
