"""The end of a run: all faults are over, all is sent, and everything that can still happen happens.

Waits for as long as every queue with work is taken up or has a reason to wait.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from integration.store.scripting.protocol import PREFIX

from .system import READY_SECONDS, wait

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis

    from .load import Sender
    from .system import ChaosSystem
    from .watch import QueueWatch

SENDERS_SECONDS = 90.0
STALL_SECONDS = 40.0
DRAIN_SECONDS = 600.0


def wait_until_done(
    system: ChaosSystem, senders: list[Sender], watch: QueueWatch, say: Callable[[str], None]
) -> tuple[bool, float]:
    """Wait until all is well, all is sent and all is done. Tell whether it came to that, and how long it took."""
    began = time.monotonic()
    system.sandbox.clear_rules()
    wait(system.all_ready, READY_SECONDS, "back")
    watch.calm_at = time.time()
    for sender in senders:
        sender.closing.set()
    say(f"faults over, {sum(len(sender._due) for sender in senders)} deliveries still to be sent")
    end = time.monotonic() + SENDERS_SECONDS
    for sender in senders:
        sender.join(max(0.1, end - time.monotonic()))
    drained = _drained(system.admin, watch)
    return drained, time.monotonic() - began


def _drained(admin: redis.Redis, watch: QueueWatch) -> bool:
    """Wait until everything has ended; not when a queue that should be taken is not."""
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end and watch.longest_now < STALL_SECONDS:
        if admin.zcard(f"{PREFIX}in:queued") + admin.zcard(f"{PREFIX}in:pushing") == 0:
            return True
        time.sleep(0.2)
    return False
