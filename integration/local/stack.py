"""Command lines, environments and start of the processes of one machine."""

from __future__ import annotations

import os
import socket
import sys
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from integration.config.environment import LAST_PORT
from integration.domain.errors import RingbackError
from integration.local.supervisor import Program, wait_until, write_line
from integration.telemetry.logging import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.local.supervisor import Supervisor

LOOPBACK = "127.0.0.1"
READY_SECONDS = 60.0
WEB_STOP_SECONDS = 12.0
# A drain ends after the call in flight, which can take as long as an account's timeout_seconds.
WORKER_STOP_SECONDS = 30.0
BACKLOG = 4096
ANYWHERE = "0.0.0.0"  # noqa: S104  (webhooks come from outside)
NO_CHOICES: Mapping[str, str] = MappingProxyType({})


def listen(port: int, host: str = ANYWHERE) -> socket.socket:
    """Return a listening IPv4 socket for a web server. Raise RingbackError if the port cannot be used.

    If the parent keeps the socket open, connections wait in the backlog while the web server restarts.
    """
    listener = socket.socket()
    # Ignore connections in TIME_WAIT; only a listening socket counts.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        why = os.strerror(error.errno) if error.errno else "no reason given"
        raise RingbackError(
            f"port {port} cannot be used ({why}); choose another with PORT or --port"
        ) from error
    return listener


def web_command(listener: socket.socket) -> list[str]:
    """Return the command line of the web server, which must inherit `listener`.

    The web server reads LOG_LEVEL and WEB_CONCURRENCY (the number of processes) from its environment.
    """
    return [sys.executable, "-m", "integration.server", "--fd", str(listener.fileno())]


def worker_command(environ: Mapping[str, str] = NO_CHOICES) -> list[str]:
    """Return the command line of a worker.

    `environ` may set LOG_LEVEL and WORKER_CONCURRENCY (the number of threads).
    """
    return [
        *(sys.executable, "-m", "celery", "--quiet", "--app", "workers.celery_app", "worker"),
        *("--without-gossip", "--without-mingle"),
        *("--concurrency", environ.get("WORKER_CONCURRENCY") or "32"),
        *("--loglevel", environ.get("LOG_LEVEL") or "info"),
    ]


def child_environment(environ: Mapping[str, str], *, redis_url: str) -> dict[str, str]:
    """Return the environment of web and worker processes: `environ` with REDIS_URL, unbuffered output."""
    # The URL is set explicitly: while the embedded store restarts, it cannot be found by its folder.
    return {**environ, "REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1"}


def start_web(
    supervisor: Supervisor,
    environ: Mapping[str, str],
    *,
    listener: socket.socket,
    dashboard_listener: socket.socket,
    relay: Callable[[str], None] | None,
) -> tuple[Program, ...]:
    """Start a web server for receiver and API and another one for the dashboard. Return both programs.

    With its own server, the dashboard need not be public and cannot delay webhooks. Raise NotReadyError
    if a server does not respond within READY_SECONDS, and the errors of `Supervisor.start`.
    """
    public = {**environ, "RINGBACK_SERVE": "hooks,api"}
    pages = dashboard_environment(environ, receiver_port=port_of(listener))
    programs = (
        _web_program("web", listener, public, relay),
        _web_program("dashboard", dashboard_listener, pages, relay),
    )
    for program in programs:
        supervisor.start(program)
    for program, served in zip(programs, (listener, dashboard_listener), strict=True):
        wait_until(
            f"http://{LOOPBACK}:{port_of(served)}/healthz",
            READY_SECONDS,
            what=program.name,
            alive=partial(supervisor.alive, program),
        )
    return programs


def dashboard_environment(environ: Mapping[str, str], *, receiver_port: int) -> dict[str, str]:
    """Return the environment of the dashboard's process.

    The dashboard displays webhook URLs, so it needs the receiver's base URL: RINGBACK_HOOKS_URL, or else the
    receiver's port on loopback. The dashboard has one process.
    """
    receiver_url = environ.get("RINGBACK_HOOKS_URL") or f"http://{LOOPBACK}:{receiver_port}"
    return {
        **environ,
        "RINGBACK_SERVE": "dashboard",
        "RINGBACK_HOOKS_URL": receiver_url,
        "WEB_CONCURRENCY": "1",
    }


def _web_program(
    name: str, listener: socket.socket, environ: Mapping[str, str], relay: Callable[[str], None] | None
) -> Program:
    return Program(
        name,
        web_command(listener),
        env={**environ, "PORT": str(port_of(listener))},
        stop_seconds=WEB_STOP_SECONDS,
        relay=relay,
        listener=listener,
        counts_ticks=True,
    )


def port_of(listener: socket.socket) -> int:
    """Return the port of a listening socket."""
    return int(listener.getsockname()[1])


def start_worker(
    supervisor: Supervisor, environ: Mapping[str, str], relay: Callable[[str], None] | None
) -> Program:
    """Start a worker. Return its program."""
    command = worker_command(environ)
    program = Program(
        "worker",
        command,
        env=environ,
        stop_seconds=WORKER_STOP_SECONDS,
        relay=relay,
        counts_ticks=True,
    )
    supervisor.start(program)
    return program


def relay(line: str) -> None:
    """Print a line of a child's output, formatted by `readable` if standard output is a terminal."""
    write_line(readable(line) if sys.stdout.isatty() else line)


def port_next_to(port: int) -> int:
    """Return the port after `port` for the dashboard, or the port before it if `port` is the last one."""
    return port + 1 if port < LAST_PORT else port - 1
