"""Everything that may befall the queues, in any order, over the real script on a real store.

Workers acquire, push, tell, die, hang and come back; replies are lost; events come late, doubled and out of
order; operators pause, resume, cancel and retry; tokens change; clocks go back; the store fills up, and goes
back to an earlier copy. After every step what the store holds is held against the promises, and at the end,
with all faults over, every recall has to come to its end. The machine never waits: its time moves only when told.
"""

from __future__ import annotations

from .checks import Checks
from .events import EventRules
from .operators import OperatorRules
from .store import StoreRules
from .workers import WorkerRules


class QueueMachine(EventRules, WorkerRules, OperatorRules, StoreRules, Checks):
    """All rules, and the checks after each of them."""


__all__ = ["QueueMachine"]
