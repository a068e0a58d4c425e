"""What is left when all is done, held against the promises: nothing lost, nothing twice, nothing at once."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from integration.domain.recall import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.domain.recall import Recall

    from .installation import Answer, CrashInstallation
    from .scenarios import Scenario

ENDS = frozenset(State) - {State.QUEUED, State.PUSHING}


def is_done(installation: CrashInstallation) -> bool:
    """Tell whether all has come to an end; what stands still is resumed, as an operator would."""
    client, key = installation.client, installation.services.store.key
    state = installation.services.accounts.get("bogota").state
    installation.stood.add(state)
    if state in {"stopped", "paused"}:
        installation.send(installation.api("/v1/accounts/bogota/resume"))
    with client.pipeline(transaction=True) as pipe:
        for name in ("in:queued", "in:pushing", "lookups"):
            pipe.zcard(key(name))
        pipe.scard(key("jobs:running"))
        return sum(pipe.execute()) == 0


def faults(scenario: Scenario, installation: CrashInstallation, first: Answer | None) -> Iterator[str]:
    """Give all that is not as it has to be."""
    recalls = installation.recalls()
    yield from _final_states(scenario, installation, recalls)
    if not scenario.stood <= installation.stood:
        yield f"the queue was {sorted(installation.stood)}, never {sorted(scenario.stood - installation.stood)}"
    yield from _once(installation, recalls)
    yield from _at_wolkvox(installation, recalls)
    if (
        first is not None
        and first.taken
        and not set(installation.acknowledged) <= {recall.id for recall in recalls}
    ):
        yield f"acknowledged and lost: {installation.acknowledged}"


def _final_states(
    scenario: Scenario, installation: CrashInstallation, recalls: list[Recall]
) -> Iterator[str]:
    found = defaultdict(list)
    for recall in recalls:
        found[recall.customer_id].append(str(recall.state))
    became = {customer: tuple(sorted(states)) for customer, states in found.items()}
    if became not in ({**scenario.ends}, {**scenario.or_ends}):
        yield f"ended as {became}, not as {dict(scenario.ends)}"
    parked = installation.services.parked.records.count()
    if parked != scenario.parked:
        yield f"{parked} parked, not {scenario.parked}"


def _once(installation: CrashInstallation, recalls: list[Recall]) -> Iterator[str]:
    """Every recall is listed under one state, and ended once."""
    client, key = installation.client, installation.services.store.key
    listed = {state: set(client.zrange(key(f"in:{state}"), 0, -1)) for state in State}
    for recall in recalls:
        under = [str(state) for state in State if recall.id in listed[state]]
        ended = [str(change.state) for change in recall.history if change.state in ENDS]
        if under != [recall.state] or ended[-1:] != [recall.state]:
            yield f"{recall.customer_id} is {recall.state}, listed under {under}, ended {ended}"


def _at_wolkvox(installation: CrashInstallation, recalls: list[Recall]) -> Iterator[str]:
    if overlaps := installation.overlaps():
        times = [
            (call["seq"], call["body"]["customer_id"], call["received_at"], call["finished_at"])
            for call in installation.calls()
        ]
        yield f"calls at once: {overlaps} {times} {installation.log()}"
    dates = defaultdict(list)
    for call in installation.calls():
        dates[call["body"]["customer_id"]].append(call["body"]["recall_date"])
    for recall in recalls:
        yield from _as_recorded(recall, dates[recall.customer_id])


def _as_recorded(recall: Recall, dates: list[str]) -> Iterator[str]:
    """Every call is on record, whoever died; wolkvox accepted once, and its last word is what the store says."""
    outcomes = [str(attempt.outcome) for attempt in recall.attempts]
    sent = [outcome for outcome in outcomes if outcome not in {"not_sent", "worker lost"}]
    if recall.state is State.SUPERSEDED:
        return
    if not len(sent) <= len(dates) <= len(outcomes):
        yield f"{recall.customer_id}: {len(dates)} calls, and on record {outcomes}"
    if recall.state is State.ACCEPTED:
        wanted = recall.recall_date.strftime("%Y%m%d%H%M%S")
        if outcomes.count("accepted") != 1 or dates[-1:] != [wanted]:
            yield f"{recall.customer_id} accepted: {outcomes}, wolkvox's last word {dates[-1:]}, not {wanted}"
