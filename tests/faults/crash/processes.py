"""The processes of one run: forked from one that has everything loaded, so that each is a fresh one and quick.

A victim does one thing, with its steps watched. A successor is a web and a worker in one, and is told when to end.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

import integration.services.bulk_jobs
import workers.drain
import workers.lookups
import workers.tasks
import workers.worker
from integration import app as web
from integration import asgi
from integration.celery_app import DRAIN, LOOK_UP, use_broker
from integration.services.wakeup import WakeUpPublisher
from integration.store.token_queue import WakeUp

from .steps import CRASHED, Steps

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from workers.worker import Worker

LOOKUP_LEASE_SECONDS = 2.0
SWEEP_SECONDS = 0.1
PUBLISH_SECONDS = 10.0
START_SECONDS = 30.0


def fork_server() -> ForkServerContext:
    """Return the context that processes are forked from. It is a process of its own: this one has threads."""
    path = os.pathsep.join(
        [str(Path(__file__).parent.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    before, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), path
    try:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        context.Process(target=gc.collect).start()
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    return context


def _settle(environ: Mapping[str, str]) -> None:
    os.environ.update(environ)
    # What the one before has left, who is dead.
    Path(environ["WEB_SOCKET"]).unlink(missing_ok=True)
    sys.stderr = Path(environ["CRASH_LOG"]).open("a", buffering=1)  # noqa: SIM115  (as long as the process)
    use_broker(os.environ)
    # A worker that dies in a look-up is followed after a minute; here sooner.
    workers.lookups.LEASE_SECONDS = LOOKUP_LEASE_SECONDS
    # Who comes too early shall come while wolkvox still works.
    workers.worker.SWEEP_SECONDS = SWEEP_SECONDS


# --- a web ------------------------------------------------------------------------------------


async def _serve(app: Callable, path: str, ready: Callable[[], None], until: Callable[[], Awaitable]) -> None:
    """Answer on a unix socket by the product's own server, in this process, until told to end."""
    server = Server(
        app,
        uds=Path(path),
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
    )
    serving = asyncio.create_task(server.serve())
    await asyncio.to_thread(_wait_for, path)
    ready()
    await until()
    server.stop()
    await serving


def _wait_for(path: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        with socket.socket(socket.AF_UNIX) as probe:
            if Path(path).exists() and probe.connect_ex(path) == 0:
                return
        time.sleep(0.01)
    raise AssertionError("the web does not listen")


# --- the victim -------------------------------------------------------------------------------


def victim(
    act: str, environ: Mapping[str, str], peers: Mapping[int, str], crash_at: str | None, told: Connection
) -> None:
    """Do one thing and tell the steps that were passed, or end at one of them and say so."""
    _settle(environ)
    steps = Steps(peers, crash_at, last_words=lambda: told.send(CRASHED))
    steps.watch()
    ACTS[act](steps, told)
    steps.disarm()
    told.send(steps.passed)


def _receive(steps: Steps, told: Connection) -> None:
    """Answer one request."""
    wake_ups, answered = _WakeUps(), threading.Event()
    gate = asgi.create_app()

    async def watched(scope: dict, receive: Callable, send: Callable) -> None:
        async def receive_counted() -> dict:
            message = await receive()
            steps.step("request: received")
            return message

        async def send_counted(message: dict) -> None:
            await send(message)
            steps.step("answer: sent")

        if scope["type"] == "http":
            steps.arm()
            await gate(scope, receive_counted, send_counted)
            answered.set()

    async def until() -> None:
        await asyncio.to_thread(answered.wait)
        await asyncio.to_thread(wake_ups.wait)

    asyncio.run(_serve(watched, os.environ["WEB_SOCKET"], lambda: told.send("ready"), until))


def _start_web(steps: Steps, told: Connection) -> None:
    steps.arm()
    asgi.create_app()


def _start_worker(steps: Steps, told: Connection) -> None:
    steps.arm()
    workers.tasks.make_worker(os.environ).services.binding.bind()


def _worker() -> Worker:
    engine = workers.tasks.make_worker(os.environ)
    workers.tasks._worker = engine
    return engine


def _drain_queue(steps: Steps, told: Connection) -> None:
    """Drain the queue, as Celery does when it takes its wake-up."""
    wake_ups, engine = _WakeUps(), _worker()
    engine.services.binding.bind()
    queue = engine.services.queues.bound()["bogota"]
    number = engine.services.store.client.hget(engine.services.store.key(f"queue:{queue}"), "wake_up_at")
    steps.arm()
    workers.tasks.drain(queue, int(number))
    wake_ups.wait()


def _short_drain(steps: Steps, told: Connection) -> None:
    workers.drain.ALONE_SECONDS = 0.0
    _drain_queue(steps, told)


def _look_up(steps: Steps, told: Connection) -> None:
    wake_ups, engine = _WakeUps(), _worker()
    engine.services.binding.bind()
    steps.arm()
    workers.tasks.look_up("hubspot")
    wake_ups.wait()


def _sweep(steps: Steps, told: Connection) -> None:
    """Go round the sweep once: bind, queues, look-ups, purge; and let its drains end."""
    wake_ups, engine = _WakeUps(), _worker()
    engine.stopping = _Once()
    steps.arm()
    engine.sweeper._stopping = engine.stopping
    engine.sweeper._run()
    engine.sweeper._drainers.shutdown(wait=True)
    wake_ups.wait()


def _job(steps: Steps, told: Connection) -> None:
    """Go on with the jobs there are, one recall in each step."""
    wake_ups, engine = _WakeUps(), _worker()
    engine.services.binding.bind()
    integration.services.bulk_jobs.STEP = 1
    steps.arm()
    engine.sweeper._take_job_steps()
    wake_ups.wait()


class _Once(threading.Event):
    """Stops the sweep after one round."""

    def wait(self, timeout: float | None = None) -> bool:
        before = getattr(self, "waited", False)
        self.waited = True
        return before


def _count(steps: Steps, told: Connection) -> None:
    """Give a heartbeat, and take what was counted to the store: what threads of their own do."""
    engine = _worker()
    engine.services.counters.delivery("forms", "admitted")
    steps.arm()
    engine.heartbeat.send()
    engine.services.counter_flusher.flush()


class _WakeUps:
    """Waits until every wake-up that was put is published: their thread ends with the process."""

    def __init__(self) -> None:
        self.published = 0
        self.publishers: list[WakeUpPublisher] = []

        def counting_publisher(publish: Callable[..., None], **options: object) -> WakeUpPublisher:
            def counted(*args: object) -> None:
                try:
                    publish(*args)
                finally:
                    self.published += 1

            # Connected before the steps count, else a thread would do so at a moment of its own.
            options.pop("connect")()
            self.publishers.append(WakeUpPublisher(counted, **options))
            return self.publishers[-1]

        workers.tasks.WakeUpPublisher = web.WakeUpPublisher = counting_publisher

    def wait(self) -> None:
        end = time.monotonic() + PUBLISH_SECONDS
        while self.published < sum(each._waiting.unfinished_tasks for each in self.publishers):
            assert time.monotonic() < end, "a wake-up was not published"
            time.sleep(0.002)


ACTS: dict[str, Callable[[Steps, Connection], None]] = {
    "receive": _receive,
    "start a web": _start_web,
    "start a worker": _start_worker,
    "drain": _drain_queue,
    "short drain": _short_drain,
    "look up": _look_up,
    "sweep": _sweep,
    "job": _job,
    "count": _count,
}


# --- the successor ----------------------------------------------------------------------------


def successor(environ: Mapping[str, str], told: Connection) -> None:
    """Wait to be told, then take over: work on what is there at once, or answer requests first; until told to end.

    It waits, so that it is there while wolkvox still works on what the victim sent. A wake-up is taken in
    this process: one that is put is never lost, one that was put before is.
    """
    first = told.recv()
    _settle(environ)

    def send(task: str, arguments: tuple, _: dict) -> None:
        {DRAIN: lambda *wake_up: engine.handle_wake_up(WakeUp(*wake_up)), LOOK_UP: engine.look_up}[task](
            *arguments
        )

    workers.tasks.WakeUpPublisher = lambda _publish, counters, **_options: WakeUpPublisher(
        send, counters=counters
    )
    engine = workers.tasks.make_worker(os.environ)
    if first == "work":
        engine.start()

    def work() -> None:
        if told.recv() != first:
            engine.start()
        told.recv()
        os._exit(0)

    asyncio.run(
        _serve(
            asgi.create_app(),
            os.environ["WEB_SOCKET"],
            lambda: told.send("ready"),
            lambda: asyncio.to_thread(work),
        )
    )


# What was loaded is not looked at by the collector, so that a fork shares it.
gc.freeze()
