"""The processes of one machine: command lines, environment and output."""

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
ANYWHERE = "0.0.0.0"  # noqa: S104  (webhooks come from outside)
NO_CHOICES: Mapping[str, str] = MappingProxyType({})


def web_command(port: int, environ: Mapping[str, str] = NO_CHOICES, host: str = ANYWHERE) -> list[str]:
    """Return the command line of the web server. Access logs are off, because a path may contain a URL key.

    `environ` may set LOG_LEVEL, and WEB_CONCURRENCY, the number of processes.
    """
    return [
        *(
            sys.executable,
            "-m",
            "integration.server",
            "--interface",
            "asgi",
            "--factory",
            "integration.asgi:create_app",
        ),
        *("--host", host, "--port", str(port), "--workers", environ.get("WEB_CONCURRENCY") or "2"),
        *("--http", "1", "--no-ws", "--backpressure", "8192", "--backlog", "4096"),
        # Limits the buffered head of a connection. With the default of 408 KiB, 8192 connections can use 3
        # GiB.
        *("--http1-buffer-size", "32768"),
        *("--no-access-log", "--log-level", environ.get("LOG_LEVEL") or "info"),
        *("--respawn-failed-workers", "--workers-kill-timeout", "8"),
    ]


def worker_command(environ: Mapping[str, str] = NO_CHOICES) -> list[str]:
    """Return the command line of a worker.

    `environ` may set LOG_LEVEL, and WORKER_CONCURRENCY, the number of threads.
    """
    return [
        *(sys.executable, "-m", "celery", "--quiet", "--app", "workers.celery_app", "worker"),
        *("--without-gossip", "--without-mingle"),
        *("--concurrency", environ.get("WORKER_CONCURRENCY") or "32"),
        *("--loglevel", environ.get("LOG_LEVEL") or "info"),
    ]


def child_environment(environ: Mapping[str, str], *, redis_url: str) -> dict[str, str]:
    """Return the environment of web and worker: `environ` with REDIS_URL set."""
    # The URL is set explicitly: while the embedded store restarts, it cannot be found by its folder.
    return {**environ, "REDIS_URL": redis_url, "PYTHONUNBUFFERED": "1"}


def start_web(
    supervisor: Supervisor,
    environ: Mapping[str, str],
    *,
    port: int,
    dashboard_port: int,
    relay: Callable[[str], None] | None,
) -> tuple[Program, ...]:
    """Start the receiver and API in one group of processes and the dashboard in another, and wait for both.

    The dashboard listens on loopback only, so it need not be public and its pages do not delay webhooks.
    Return both programs. Raise NotReadyError.
    """
    public = {**environ, "RINGBACK_SERVE": "hooks,api", "PORT": str(port)}
    pages = {**environ, "RINGBACK_SERVE": "dashboard", "PORT": str(dashboard_port), "WEB_CONCURRENCY": "1"}
    programs = (
        (
            Program("web", web_command(port, public), env=public, stop_seconds=WEB_STOP_SECONDS, relay=relay),
            port,
        ),
        (
            Program(
                "dashboard",
                web_command(dashboard_port, pages, LOOPBACK),
                env=pages,
                stop_seconds=WEB_STOP_SECONDS,
                relay=relay,
            ),
            dashboard_port,
        ),
    )
    for program, _ in programs:
        supervisor.start(program)
    for program, at in programs:
        wait_until(
            f"http://{LOOPBACK}:{at}/healthz",
            READY_SECONDS,
            what=program.name,
            alive=partial(supervisor.alive, program),
        )
    return tuple(program for program, _ in programs)


def start_worker(
    supervisor: Supervisor, environ: Mapping[str, str], relay: Callable[[str], None] | None
) -> Program:
    """Start a worker; return its program."""
    command = worker_command(environ)
    program = Program("worker", command, env=environ, stop_seconds=WORKER_STOP_SECONDS, relay=relay)
    supervisor.start(program)
    return program


def relay(line: str) -> None:
    """Print a line of a child: formatted on a terminal, unchanged otherwise."""
    write_line(readable(line) if sys.stdout.isatty() else line)


def port_next_to(port: int) -> int:
    """Return the next port, for the dashboard; the previous one if `port` is the last."""
    return port + 1 if port < LAST_PORT else port - 1


def require_free(port: int, host: str = ANYWHERE) -> None:
    """Raise RingbackError if a port is already in use."""
    with socket.socket() as probe:
        # Ignore connections in TIME_WAIT; only a listening socket counts.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else "no reason given"
            raise RingbackError(
                f"port {port} cannot be used ({why}); choose another with PORT or --port"
            ) from error
