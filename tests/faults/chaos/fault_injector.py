"""Makes the planned faults happen, ends them, and starts again who was killed."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from typing import TYPE_CHECKING

import redis

from integration.store.scripting.protocol import PREFIX

from . import plan
from .settings import token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .plan import Fault
    from .processes import ManagedProcess, ManagedStore
    from .system import ChaosSystem

GIVES_UP_SECONDS = 10.0
AGAIN_SECONDS = 0.2
QUEUE = f"{PREFIX}celery:ringback"


class FaultInjector:
    """Makes the planned faults happen, ends them, and starts again who was killed."""

    def __init__(self, system: ChaosSystem) -> None:
        self._system = system
        self._ends: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._down: set[str] = set()
        self._child_killed: dict[str, float] = {}
        self.done: Counter[str] = Counter()
        self.wake_ups: list[bytes] = []
        self.ended_by_themselves: list[str] = []
        self.restores = 0

    def run(self, faults: tuple[Fault, ...]) -> None:
        began = time.monotonic()
        for fault in faults:
            self._until(began + fault.at)
            self._begin(fault)
        self._until(began + self._system.settings.seconds)
        while self._ends:
            self._until(self._ends[0][0])

    def _until(self, moment: float) -> None:
        while True:
            while self._ends and self._ends[0][0] <= time.monotonic():
                heapq.heappop(self._ends)[2]()
            self._look_after()
            left = moment - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.05))

    def _look_after(self) -> None:
        for actor in self._system.actors.values():
            if actor.name not in self._down and not actor.runs:
                self._note_end(actor)
                actor.start()

    def _note_end(self, actor: ManagedProcess) -> None:
        # granian takes a worker that ends soon after its start for one that always will, and ends too.
        if time.monotonic() < self._child_killed.get(actor.name, -1.0) + GIVES_UP_SECONDS:
            self.done["web gave up on its worker"] += 1
        else:
            self.ended_by_themselves.append(actor.name)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._ends, (time.monotonic() + seconds, next(self._order), act))

    def _begin(self, fault: Fault) -> None:
        acts = {
            "kill": self._kill,
            "kill child": self._kill_child,
            "freeze": self._freeze,
            "wake_ups": self._wake_ups,
            "cut": self._line,
            "hold": self._line,
            "slow": self._line,
            "full": self._full,
            "copy": self._copy,
            "restore": self._restore,
            "rule": self._rule,
        }
        if self._has_to_wait(fault):
            self._later(AGAIN_SECONDS, lambda: self._begin(fault))
            return
        if fault.target in self._down:
            self.done["skipped: it was down"] += 1
            return
        acts[fault.kind](fault)

    def _has_to_wait(self, fault: Fault) -> bool:
        """A short run has one copy and one restore: they are not skipped, but made when they can be."""
        if fault.kind == "restore" and not self._system.store.has_copy:
            return True
        return fault.kind in {"copy", "restore"} and fault.target in self._down

    def _who(self, name: str) -> ManagedProcess | ManagedStore:
        return self._system.store if name == plan.STORE else self._system.actors[name]

    def _kill(self, fault: Fault) -> None:
        who = self._who(fault.target)
        self._down.add(fault.target)
        who.kill()
        self.done[f"kill {fault.target.rstrip('01')}"] += 1

        def again() -> None:
            who.start()
            self._down.discard(fault.target)

        self._later(fault.seconds, again)

    def _copy(self, _: Fault) -> None:
        self._system.store.copy()
        self.done["store copied"] += 1

    def _restore(self, fault: Fault) -> None:
        store = self._system.store
        self._down.add(fault.target)
        store.kill()
        store.put_back()
        self.restores += 1
        self.done["old copy of the store put back"] += 1

        def again() -> None:
            store.start()
            self._down.discard(fault.target)

        self._later(fault.seconds, again)

    def _kill_child(self, fault: Fault) -> None:
        who = self._system.actors[fault.target]
        if who.kill_child():
            self._child_killed[fault.target] = time.monotonic()
            self.done["kill web's own worker"] += 1

    def _freeze(self, fault: Fault) -> None:
        who = self._who(fault.target)
        who.freeze()
        self.done[f"freeze {fault.target.rstrip('01')}"] += 1
        self._later(fault.seconds, who.thaw)

    def _wake_ups(self, _: Fault) -> None:
        try:
            self.wake_ups += self._system.admin.lrange(QUEUE, 0, 50)
            self._system.admin.delete(QUEUE)
            self.done["wake-ups dropped"] += 1
        except redis.RedisError:
            self.done["skipped: the store was away"] += 1

    def _line(self, fault: Fault) -> None:
        proxy = self._system.proxies[fault.target]
        begin = {"cut": proxy.cut, "hold": proxy.hold, "slow": lambda: proxy.slow(fault.seconds / 4)}
        begin[fault.kind]()
        self.done[f"line to the store: {fault.kind}"] += 1
        self._later(fault.seconds, proxy.pass_on)

    def _full(self, fault: Fault) -> None:
        try:
            self._system.admin.config_set("maxmemory", 1)
        except redis.RedisError:
            self.done["skipped: the store was away"] += 1
            return
        self.done["store full"] += 1
        self._later(fault.seconds, self._room)

    def _room(self) -> None:
        try:
            self._system.admin.config_set("maxmemory", 0)
        except redis.RedisError:
            # Killed or frozen meanwhile: a new one has room, an old one is asked again.
            self._later(0.5, self._room)

    def _rule(self, fault: Fault) -> None:
        number = int(fault.target[1:])
        token = token_of(number, self._system.settings.accounts)
        sandbox = self._system.sandbox
        rule = sandbox.add_rule(token=token, **fault.rule)
        # One that befell nobody meanwhile is taken away: faults must not pile up before a queue that waits.
        self._later(fault.seconds, lambda: sandbox.state.remove(rule))
        self.done[f"wolkvox: {fault.rule['action']}"] += 1
