"""Makes the planned faults happen, and ends them. The system's supervisor starts again who was killed."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis

from integration.store.scripting.protocol import PREFIX
from support.waiting import is_gone

from . import plan
from .checker import NOTICED_SECONDS
from .history import Hang, UnsafePeriod
from .settings import token_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .plan import Fault
    from .processes import ManagedProcess, ManagedStore
    from .system import ChaosSystem, ProcessEnd

GIVES_UP_SECONDS = 10.0
AGAIN_SECONDS = 0.2
QUEUE = f"{PREFIX}celery:ringback"
HANGS_SECONDS = 60.0
"""After this time a process that was stopped counts as one that nobody replaces."""
PIECES, PIECE_SECONDS = 3, 0.7
NOT_WHILE_UNSAFE = frozenset({"kill", "kill child", "hang", "hang child"})
AWAY = "skipped: the store was away"


@dataclass(frozen=True, slots=True)
class _Hanging:
    name: str
    what: str
    pid: int
    began: float


@dataclass(frozen=True, slots=True)
class _Unsafe:
    """A time in which the store has no log. `began` in epoch seconds."""

    began: float
    readiness: list[tuple[str, int]] = field(default_factory=list)

    def ask(self, webs: tuple[ManagedProcess, ...]) -> Callable[[], None]:
        """Return a function that asks each web whether it is ready."""
        return lambda: self.readiness.extend((web.name, web.readiness()) for web in webs)

    def ended(self, now: float) -> UnsafePeriod:
        return UnsafePeriod(began=self.began, ended=now, readiness=tuple(self.readiness))


class FaultInjector:
    """Makes the planned faults happen, and ends them."""

    def __init__(self, system: ChaosSystem) -> None:
        self._system = system
        self._ends: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._down: set[str] = set()
        self._child_hit: dict[str, float] = {}
        self._hanging: list[_Hanging] = []
        self._unsafe: _Unsafe | None = None
        self._nothing_ends = False
        self.done: Counter[str] = Counter()
        self.wake_ups: list[bytes] = []
        self.hangs: list[Hang] = []
        self.unsafe_periods: list[UnsafePeriod] = []
        self.restores = 0

    def run(self, faults: tuple[Fault, ...]) -> None:
        began = time.monotonic()
        for fault in faults:
            self._until(began + fault.at)
            self._begin(fault)
        self._until(began + self._system.settings.seconds)
        while self._ends or self._hanging:
            self._until(self._ends[0][0] if self._ends else time.monotonic() + 0.1)

    def _until(self, moment: float) -> None:
        while True:
            while self._ends and self._ends[0][0] <= time.monotonic():
                heapq.heappop(self._ends)[2]()
            self._look_at_hanging()
            left = moment - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.05))

    def _look_at_hanging(self) -> None:
        for each in tuple(self._hanging):
            seconds = time.monotonic() - each.began
            gone = is_gone(each.pid)
            if gone or seconds > HANGS_SECONDS:
                self._hanging.remove(each)
                self._down.discard(each.name)
                self.hangs.append(Hang(name=each.name, what=each.what, seconds=seconds if gone else None))

    @property
    def ended_by_themselves(self) -> list[str]:
        """The processes that ended although nothing befell them, with how they ended."""
        return [f"{end.name} {end.how}" for end in self._system.ends if not self._is_explained(end)]

    def _is_explained(self, end: ProcessEnd) -> bool:
        # granian takes a web process that ends soon after its start for one that always will, and ends too.
        hit = end.at < self._child_hit.get(end.name, -1.0) + GIVES_UP_SECONDS
        return end.is_planned or hit or (end.was_starting and end.could_not_start)

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
            "hang": self._hang,
            "hang child": self._hang,
            "file": self._file,
            "unsafe": self._make_unsafe,
        }
        if self._has_to_wait(fault):
            self._later(AGAIN_SECONDS, lambda: self._begin(fault))
            return
        if fault.target in self._down:
            self.done["skipped: it was down"] += 1
            return
        if self._nothing_ends and fault.kind in NOT_WHILE_UNSAFE:
            self.done["skipped: nothing can start while the store is unsafe"] += 1
            return
        acts[fault.kind](fault)

    def _has_to_wait(self, fault: Fault) -> bool:
        """A short run has one of each of these: they are not skipped, but made when they can be."""
        if self._nothing_ends and fault.kind in NOT_WHILE_UNSAFE:
            return False
        if fault.kind == "restore" and not self._system.store.has_copy:
            return True
        if fault.kind in {"hang", "hang child"}:
            return not self._system.actors[fault.target].can_hang(child=fault.kind == "hang child")
        if fault.kind == "unsafe":
            # What is down now could not start again.
            self._nothing_ends = True
            everybody = all(actor.counts for actor in self._system.actors.values())
            return bool(self._down or self._hanging) or not everybody
        return fault.kind in {"copy", "restore"} and fault.target in self._down

    def _who(self, name: str) -> ManagedProcess | ManagedStore:
        return self._system.store if name == plan.STORE else self._system.actors[name]

    def _kill(self, fault: Fault) -> None:
        who = self._who(fault.target)
        self._down.add(fault.target)
        who.kill()
        self.done[f"kill {fault.target.rstrip('01')}"] += 1

        def again() -> None:
            who.let_go()
            self._later(AGAIN_SECONDS, started)

        def started() -> None:
            if who.runs:
                self._down.discard(fault.target)
            else:
                self._later(AGAIN_SECONDS, started)

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
            self._child_hit[fault.target] = time.monotonic()
            self.done["kill web's own worker"] += 1

    def _hang(self, fault: Fault) -> None:
        who, child = self._system.actors[fault.target], fault.kind == "hang child"
        pid, what = who.hang(child=child), "a web process" if child else "the main process"
        if pid is None:
            self.done["skipped: it was down"] += 1
            return
        if child:
            self._child_hit[fault.target] = time.monotonic() + HANGS_SECONDS
        self._down.add(fault.target)
        self._hanging.append(_Hanging(fault.target, what, pid, time.monotonic()))
        self.done[f"stopped for good: {what} of a {fault.target.rstrip('01')}"] += 1

    def _file(self, fault: Fault) -> None:
        file, how, share = self._system.file, fault.rule["how"], fault.rule["share"]
        self.done[f"{plan.FILE}: {how}"] += 1
        if how == "rewrite":
            file.damage(how)
            return
        self._down.add(fault.target)

        def over() -> None:
            file.restore()
            self._down.discard(fault.target)

        if how != "half written":
            file.damage(how, share)
            self._later(fault.seconds, over)
            return
        for piece in range(PIECES):
            written = (share + piece) / PIECES
            self._later(piece * PIECE_SECONDS, lambda part=written: file.damage("cut off", part))
        self._later(PIECES * PIECE_SECONDS, over)

    def _make_unsafe(self, fault: Fault) -> None:
        if self._unsafe is not None:
            # An earlier one began late, because the store was away at its time.
            self.done["skipped: the store is unsafe already"] += 1
            return
        if not self._set("appendonly", "no"):
            self._later(AGAIN_SECONDS, lambda: self._make_unsafe(fault))
            return
        self._unsafe = unsafe = _Unsafe(time.time())
        self._system.is_unsafe = True
        self.done["store without a log"] += 1
        for seconds in (NOTICED_SECONDS, fault.seconds - 1):
            self._later(seconds, unsafe.ask(self._system.webs))
        self._later(fault.seconds, self._make_safe)

    def _make_safe(self) -> None:
        assert self._unsafe is not None
        if not self._set("appendonly", "yes"):
            self._later(0.5, self._make_safe)
            return
        self.unsafe_periods.append(self._unsafe.ended(time.time()))
        self._later(AGAIN_SECONDS, self._wait_for_log)

    def _wait_for_log(self) -> None:
        """Until the log is written anew, a killed store would lose everything."""
        try:
            facts = self._system.admin.info("persistence")
        except redis.RedisError:
            facts = {}
        if facts.get("aof_rewrite_in_progress") != 0 or facts.get("aof_last_bgrewrite_status") != "ok":
            self._later(0.5, self._wait_for_log)
            return
        self._unsafe, self._system.is_unsafe, self._nothing_ends = None, False, False

    def _set(self, name: str, value: str | int) -> bool:
        """Change a setting of the store. Tell whether it did."""
        try:
            self._system.admin.config_set(name, value)
        except redis.RedisError:
            return False
        return True

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
            self.done[AWAY] += 1

    def _line(self, fault: Fault) -> None:
        proxy = self._system.proxies[fault.target]
        begin = {"cut": proxy.cut, "hold": proxy.hold, "slow": lambda: proxy.slow(fault.seconds / 4)}
        begin[fault.kind]()
        self.done[f"line to the store: {fault.kind}"] += 1
        self._later(fault.seconds, proxy.pass_on)

    def _full(self, fault: Fault) -> None:
        if not self._set("maxmemory", 1):
            self.done[AWAY] += 1
            return
        self.done["store full"] += 1
        self._later(fault.seconds, self._room)

    def _room(self) -> None:
        if not self._set("maxmemory", 0):
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
