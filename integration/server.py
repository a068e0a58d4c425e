"""Runs the web server: granian's processes on one listening socket, watched by a thread.

The code is loaded before granian forks its processes, so the processes share the memory of the code. A
second process then needs half the memory and starts in a third of the time. Each process composes its
applications and opens its own connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import click
import structlog
from granian._granian import SocketHolder
from granian._internal import load_target
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

import integration.asgi  # noqa: F401  (loaded for the forked processes)
from integration.domain.errors import ConfigError
from integration.telemetry import logging
from integration.telemetry.liveness import LOOK_SECONDS, ProcessWatch, TickCounter, open_counter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from multiprocessing.process import BaseProcess

    Asgi = Callable[[Any, Any, Any], Awaitable[None]]

log = structlog.get_logger("ringback.web")

APPLICATION = "integration.asgi:create_app"
SETTINGS: Final[Mapping[str, Any]] = {
    "interface": Interfaces.ASGI,
    "factory": True,
    "http": HTTPModes.http1,
    "websockets": False,
    "backlog": 4096,
    "backpressure": 8192,
    # Limits the buffered head of a connection. With granian's default of 408 KiB, 8192 connections can use 3
    # GiB.
    "http1_settings": HTTP1Settings(max_buffer_size=32 * 1024),
    # A path may contain a URL key.
    "log_access": False,
    "respawn_failed_workers": True,
    "workers_kill_timeout": 8,
}
"""The settings of granian's server."""


class WebServer(MPServer):
    """A granian server with one listening socket for all its processes. A stalled process is replaced.

    By default granian opens a socket for each process (SO_REUSEPORT). Connections that the kernel assigns to
    a stalled process would then wait although other processes are idle.
    """

    def __init__(self, target: str, listener: socket.socket, own_ticks: TickCounter, **settings: Any) -> None:
        """Create the server. `own_ticks` counts the ticks of this process for its supervisor."""
        address, port = listener.getsockname()[:2]
        super().__init__(target, address=address, port=port, **{**SETTINGS, **settings})
        self._listener = listener
        self._own_ticks = own_ticks
        self._watched: dict[int, tuple[BaseProcess, TickCounter, ProcessWatch]] = {}
        self.on_startup(threading.Thread(target=self._watch, name="process-watch", daemon=True).start)

    def _init_shared_socket(self) -> None:
        # granian does the same for a Unix socket and on macOS.
        holder: Any = SocketHolder  # its stub lacks the arguments: descriptor, is it a Unix socket, backlog
        self._sso = self._listener
        self._sfd = self._listener.fileno()  # type: ignore[assignment]  # inferred from None
        self._shd = holder(self._listener.fileno(), False, self.backlog)  # noqa: FBT003

    def _spawn_worker(  # type: ignore[override]  # as MPServer does
        self,
        idx: int,
        target: Any,
        callback_loader: Any,  # noqa: ARG002  (granian's)
    ) -> Any:
        ticks = TickCounter()
        worker = super()._spawn_worker(idx, target, partial(_load, self.target, ticks))
        self._watched[idx] = worker.inner, ticks, ProcessWatch()
        return worker

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            self._own_ticks.tick()
            for process, ticks, watch in tuple(self._watched.values()):
                if process.pid is not None and (times := watch.look(ticks.value)):
                    self._end(process.pid, times)

    def _end(self, pid: int, times: int) -> None:
        """Make a stalled process write its stacks and exit, or kill it if `times` is above 1.

        granian starts another process in its place.
        """
        if times == 1:
            log.error("a web process has stalled and is replaced", pid=pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGUSR1 if times == 1 else signal.SIGKILL)


def _load(target: str, ticks: TickCounter) -> Asgi:
    """Return the ASGI application, wrapped so that `ticks` counts the ticks of its event loop."""
    # Chained: after the stacks of all threads are written, without values, the signal ends the process.
    faulthandler.register(signal.SIGUSR1, all_threads=True, chain=True)
    application: Any = load_target(target, factory=True)

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            ticks.count(asyncio.get_running_loop())
        await application(scope, receive, send)

    return counted


@click.command()
@click.option("--fd", type=int, required=True, help="The listening socket, open in this process.")
@click.option("--app", default=APPLICATION, help="The factory of the ASGI application.")
@click.option("--processes", type=click.IntRange(min=1), default=2, envvar="WEB_CONCURRENCY")
@click.option("--log-level", type=click.Choice(logging.LEVELS, False), default="INFO", envvar="LOG_LEVEL")  # noqa: FBT003  (case)
def main(fd: int, app: str, processes: int, log_level: str) -> None:
    """Serve on the socket `fd` until SIGTERM."""
    try:
        own_ticks = open_counter(os.environ)
    except ConfigError as error:
        raise click.ClickException(str(error)) from None
    listener = socket.socket(fileno=fd)
    listener.settimeout(0)  # tokio takes non-blocking sockets only
    # The processes share the loaded code and the memory of their counters.
    multiprocessing.set_start_method("fork")
    # Frozen objects are not touched by the collector, so their pages stay shared.
    gc.collect()
    gc.freeze()
    server = WebServer(app, listener, own_ticks, workers=processes, log_level=LogLevels(log_level.lower()))
    # After granian's own configuration of its loggers.
    logging.configure(log_level, json=not sys.stderr.isatty())
    server.serve()


if __name__ == "__main__":
    main()
