"""The steps that a process takes, seen from outside its code; at any one of them it can be made to end.

All that a process does outside goes through its sockets: to the store, the broker, wolkvox and HubSpot,
and through its server back to a sender. So a step is a connection made, something sent, or something received,
named by its other end and by what it is done for. Between two of them nobody can tell when the process ended:
having received one answer is the moment before the next thing is sent. A question to the store changes nothing
and is no step. No line of the product knows of this.
"""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import redis
from redis.client import Pipeline

import workers.lookups
import workers.tasks
from integration import app as web
from integration.clients.wolkvox import WolkvoxConnection
from integration.store.client import Store
from integration.store.scripting.protocol import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CRASHED = 137
ASIDE = frozenset({"heartbeat", "counters", "durability watch"})
"""Threads that work by the clock, at any step of a slow process. Heartbeat and counters are a scenario of their own;
the watch of the store writes nothing that is kept."""
QUESTIONS = ("hget", "hmget", "zc", "zr", "get", "exists", "smembers", "xr", "time", "info", "config get")


class Steps:
    """The steps of this process, in their order, each once. At `crash_at` it ends, as by `kill -9`.

    `peers` names who listens on a port. `last_words` is called just before the end.
    """

    def __init__(
        self, peers: Mapping[int, str], crash_at: str | None = None, last_words: Callable[[], None] = print
    ) -> None:
        self._peers = peers
        self._crash_at = crash_at
        self._last_words = last_words
        self._lock = threading.Lock()
        # Of a thread, or of a task on a loop.
        self._doing: ContextVar[str | None] = ContextVar("doing", default=None)
        self._times: Counter[str] = Counter()
        self._armed = False
        self.passed: list[str] = []

    def watch(self) -> None:
        """Look at every socket and at what it is used for, from now on; steps count once it is armed."""
        _watch_sockets(self)
        _watch_work(self)

    def arm(self) -> None:
        self._armed = True

    def disarm(self) -> None:
        self._armed = False

    def step(self, name: str) -> None:
        if not self._armed or threading.current_thread().name in ASIDE:
            return
        with self._lock:
            if name not in self.passed:
                self.passed.append(name)
                if name == self._crash_at:
                    self._last_words()
                    os._exit(CRASHED)

    @contextmanager
    def doing(self, what: str, *, counted: bool = False) -> Iterator[str]:
        """Name what the steps of this thread are for. Work inside of other work goes by the outer name."""
        outer = self._doing.get()
        named = outer or (self._numbered(what) if counted else what)
        before = self._doing.set(named)
        try:
            yield named
        finally:
            self._doing.reset(before)

    def _numbered(self, what: str) -> str:
        if what.startswith(QUESTIONS):
            return what
        with self._lock:
            self._times[what] += self._armed
            return f"{what} {self._times[what]}" if self._times[what] > 1 else what

    def at(self, port: int | None, phase: str) -> None:
        """Note what happened on a socket."""
        peer = self._peers.get(port or 0)
        what = self._doing.get() or peer
        if peer is None or (peer == "store" and (phase == "connected" or what.startswith(QUESTIONS))):
            return
        if peer == "broker" and phase != "sent":
            return  # a message that may be lost at any moment
        self.step(f"{what}: {phase}")


def _port_of(sock: socket.socket) -> int | None:
    try:
        name = sock.getpeername()
    except OSError:
        return None
    return name[1] if isinstance(name, tuple) else None


def _watch_sockets(steps: Steps) -> None:
    real = {
        name: getattr(socket.socket, name) for name in ("connect", "send", "sendall", "recv", "recv_into")
    }

    def connect(self: socket.socket, address: tuple) -> None:
        port = address[1] if isinstance(address, tuple) else None
        real["connect"](self, address)
        steps.at(port, "connected")

    def sending(name: str) -> Callable:
        def send(self: socket.socket, *args: object) -> object:
            port = _port_of(self)
            sent = real[name](self, *args)
            steps.at(port, "sent")
            return sent

        return send

    def receiving(name: str) -> Callable:
        def receive(self: socket.socket, *args: object) -> object:
            port = _port_of(self)
            received = real[name](self, *args)
            steps.at(port, "received")
            return received

        return receive

    watched = {"connect": connect}
    watched |= {name: sending(name) for name in ("send", "sendall")}
    watched |= {name: receiving(name) for name in ("recv", "recv_into")}
    for name, function in watched.items():
        setattr(socket.socket, name, function)


def _watch_work(steps: Steps) -> None:
    """Tell what is being done: a command of the script, a question to the store, a call, a wake-up, a look-up."""
    named: list[tuple[object, str, Callable[..., str]]] = [
        (Store, "call", lambda _self, command, *_: command),
        (redis.Redis, "execute_command", lambda _self, *args, **_: _command_name(args)),
        (Pipeline, "execute", lambda self, **_: f"{_command_name(self.command_stack[0][0])} and more"),
        (WolkvoxConnection, "push", lambda *_, **__: "wolkvox"),
        (workers.lookups, "look_up", lambda *_, **__: "records"),
        (workers.tasks, "publish", lambda *_, **__: "wake-up"),
        (web, "publish", lambda *_, **__: "wake-up"),
    ]
    for owner, name, what in named:
        setattr(owner, name, _named(steps, getattr(owner, name), what))


def _named(steps: Steps, real: Callable, what: Callable[..., str]) -> Callable:
    def act(*args: object, **more: object) -> object:
        with steps.doing(what(*args, **more), counted=True) as doing:
            done = real(*args, **more)
            if doing.startswith("wake-up"):
                steps.step(f"{doing}: published")
            return done

    return act


def _command_name(args: tuple) -> str:
    """Name a question by its command and the kind of its key, without what tells one recall from another."""
    key = str(args[1]) if len(args) > 1 else ""
    kind = key.removeprefix(PREFIX).split(":")[0] if key.startswith(PREFIX) else ""
    return f"{args[0]} {kind}".strip().lower()
