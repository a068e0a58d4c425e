"""A process with two accounts that have a queue each, and what its tests often say."""

from __future__ import annotations

from integration.domain.recall import CancelRequest
from integration.mapping.planner import CancelWanted
from integration.store.token_queue import PushResult, queue_state
from support.store_process import TERMS, ClockedProcess


def again(**more):
    return PushResult(kind="again", reason="no answer", wait_ms=1000, **more)


class QueueProcess(ClockedProcess):
    """Two accounts with a queue each."""

    def __init__(self, client):
        super().__init__(client)
        self.bind(bogota="L1", lima="L2")

    def cancel_event(self, customer="c1", *, campaign="10", account="bogota", version=None):
        request = CancelRequest(
            account=account,
            campaign_id=campaign,
            customer_id=customer,
            version=version or self.now,
            source="forms",
        )
        return self.admit(CancelWanted(event=self.event(), request=request))

    def due(self):
        return self.client.zscore(self.store.key("due"), "L1")

    def queue(self, queue="L1"):
        fields = self.client.hgetall(self.store.key(f"queue:{queue}"))
        return queue_state(fields, now_ms=self.ms(), today=TERMS.day)


def woken(admitted):
    return tuple(wake_up.queue for wake_up in admitted.wake_ups)


def fail_until_aside(process, claim):
    for _ in range(2):
        process.finish(claim, again(counts_against_recall=True))
        process.pass_time(2)
        claim = process.acquire()
    process.finish(claim, PushResult(kind="aside", reason="again and again", wait_ms=1000))
    process.pass_time(2)


def one(wake_ups):
    (wake_up,) = wake_ups
    return wake_up
