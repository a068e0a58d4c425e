"""A run in figures: how much there was of everything, and how long it took. Judges nothing."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .checker import ANSWER_SECONDS, web_was_down
from .settings import SERVER_LIMIT_SECONDS
from .watch import in_seconds

if TYPE_CHECKING:
    from .fault_injector import FaultInjector
    from .history import Attempt, History
    from .watch import QueueWatch


def figures(history: History, injector: FaultInjector, watch: QueueWatch, calm: float) -> dict[str, Any]:
    attempts = [each for delivery in history.deliveries for each in delivery.attempts]
    seconds = sorted(each.seconds for each in attempts if each.status)
    work = max((call.ended - call.began for call in history.calls), default=0.0)
    hangs = [hang.seconds for hang in history.hangs if hang.seconds is not None]
    kills = {name: n for name, n in injector.done.items() if name.startswith("kill")}
    others = {name: n for name, n in injector.done.items() if not name.startswith("kill")}
    return {
        "deliveries": len(history.deliveries),
        "acknowledged": sum(delivery.acknowledged is not None for delivery in history.deliveries),
        "sent again after it was accepted": sum(
            sum(t.accepted for t in delivery.attempts) > 1 for delivery in history.deliveries
        ),
        "requests": len(attempts),
        "answers": dict(sorted(Counter(each.status or each.why for each in attempts).items(), key=str)),
        "seconds to an answer": (
            f"median {_at(seconds, 0.5):.3f}, 99 % {_at(seconds, 0.99):.2f}, longest {_at(seconds, 1):.2f}"
        ),
        "answers after over 2 s": dict(_slow(history)),
        "recalls": dict(Counter(recall.state for recall in history.recalls)),
        "calls at wolkvox": len(history.calls),
        "put on record there": sum(call.effect for call in history.calls),
        "longest work on a call": f"{work:.2f} s of {SERVER_LIMIT_SECONDS} s",
        "workers lost in a call": sum(recall.attempts.count("worker lost") for recall in history.recalls),
        "overlaps": len(history.overlaps),
        **(
            {"losses reported": f"{history.losses_reported} of {history.restores}"}
            if history.restores
            else {}
        ),
        "stopped and replaced": f"{len(hangs)} of {len(history.hangs)}, longest {max(hangs, default=0.0):.1f} s",
        "answered: parked": sum(each.parked > 0 for each in attempts),
        "accepted without a log": sum(_in_unsafe_time(history, each) for each in attempts),
        "envelopes to Sentry": history.envelopes,
        "kills": f"{sum(kills.values())}: {kills}",
        "other faults": others,
        "longest queue untaken, calm": f"{in_seconds(watch.due_periods):.2f} s",
        "longest untaken, under faults": "{:.2f} s ({})".format(*watch.longest_under_faults),
        "… while what it needs was well": "{:.2f} s ({})".format(*watch.longest_while_well),
        "seconds until all was done": f"{calm:.1f}",
    }


def _in_unsafe_time(history: History, one: Attempt) -> bool:
    """Tell whether it was accepted while the store's settings allowed a loss: that is not guaranteed."""
    periods = history.unsafe_periods
    return one.accepted and any(each.began <= one.ended <= each.ended for each in periods)


def _slow(history: History) -> Counter[str]:
    """Count, by kind and status, the answers that took longer than promised though their web was up."""
    return Counter(
        f"{delivery.kind} {each.status or each.why}"
        for delivery in history.deliveries
        for each in delivery.attempts
        if each.seconds > ANSWER_SECONDS and not web_was_down(history, each)
    )


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
