"""Holds what both ends saw against the promises. Pure: a history in, every broken promise out.

Each finding names the promise and quotes the piece of history that breaks it. Nothing here waits,
and nothing depends on how fast the machine was but the two bounds at the top, which are generous.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .history import Attempt, Call, CustomerRequest, History, SentDelivery, StoredRecall

ENDS = frozenset({"accepted", "dead", "superseded", "cancelled", "expired", "simulated"})
ANSWERS = frozenset({0, 200, 202, 409, 429, 503})

ANSWER_SECONDS = 2.0
MARGIN_SECONDS = 3.0
"""What a crowded machine may add to an answer."""
TAKEN_UP_SECONDS = 30.0
"""The promise is 3 s; only the absence of progress is to decide here, never a crowded machine."""
IN_FLIGHT_SECONDS = 5.0
"""How long after a newer request was acknowledged an older one that was on its way may still arrive."""


NOTICED_SECONDS = 75.0
"""The promise is 60 s, to a process that reaches the store; its line may be cut off meanwhile."""
REPLACED_SECONDS = 30.0
"""The promise is about 10 s; only a process that is left as it is shall decide here."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A promise that was not kept, and the piece of history that shows it."""

    promise: str
    what: str
    piece: str = ""

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}" + (f"\n    {self.piece}" if self.piece else "")


def check(history: History) -> list[Broken]:
    """Give every broken promise, by its number.

    Where an old copy of the store was put back, what came after the copy is lost, and its order with it;
    what was never to happen twice at once is not.
    """
    view = _View(history)
    parts = (_p1, _p2, _p3, _p4, _p5, _p6, _p8, _p9, _answers, _false_answers)
    if history.restores:
        parts = (_p2, _p3, _p6, _p8, _p9, _answers, _false_answers, _told_of_losses)
    return [broken for part in parts for broken in part(view)]


class _View:
    """A history, sorted so that it can be asked."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.deliveries = tuple(map(_dated_by_arrival, history.deliveries))
        self.recalls = {recall.id: recall for recall in history.recalls}
        self.calls: dict[tuple[str, str], list[Call]] = _grouped(
            history.calls, lambda call: (call.token, call.customer)
        )
        self.by_phone: dict[str, list[StoredRecall]] = _grouped(history.recalls, lambda recall: recall.phone)
        self.requests: dict[tuple[str, str], dict[int, _LatestRequest]] = defaultdict(dict)
        self.request_of: dict[str, CustomerRequest] = {}
        self.versions_of: dict[str, set[int]] = defaultdict(set)
        self.bodies_of = Counter(
            request.phone
            for delivery in self.deliveries
            if delivery.kind == "plain"
            for request in delivery.requests
        )
        for delivery in self.deliveries:
            for request in delivery.requests:
                self._note(request, delivery)

    def _note(self, request: CustomerRequest, delivery: SentDelivery) -> None:
        known = self.requests[request.account, request.customer]
        at = delivery.acknowledged
        old = known.get(request.version)
        # One event may come in two deliveries: the first that was acknowledged counts.
        if old is None or (at is not None and (old.at is None or at < old.at)):
            known[request.version] = _LatestRequest(request, at)
        if request.is_recall:
            self.request_of[request.phone] = request
            self.versions_of[request.phone].add(request.version)


@dataclass(frozen=True, slots=True)
class _LatestRequest:
    request: CustomerRequest
    at: float | None


def _grouped(items: Iterable, key) -> dict:
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _dated_by_arrival(delivery: SentDelivery) -> SentDelivery:
    """Order what has no time of its own: it came one after the other per customer, so by the first answer."""
    if delivery.kind not in {"api", "plain"} or delivery.acknowledged is None:
        return delivery
    version = round(delivery.acknowledged * 1000)
    return replace(
        delivery, requests=tuple(replace(request, version=version) for request in delivery.requests)
    )


def _of(delivery: SentDelivery) -> str:
    attempts = ", ".join(
        f"{each.web} {each.status or each.why} {each.seconds:.2f} s" for each in delivery.attempts[-6:]
    )
    return f"delivery {delivery.key} ({delivery.kind}): {attempts}"


# --- P1: what was acknowledged is there ---------------------------------------------------------


def _p1(view: _View) -> Iterator[Broken]:
    for delivery in view.deliveries:
        if not delivery.settled:
            yield Broken("P1", "never accepted, though the faults were over", _of(delivery))
        elif delivery.kind != "cancel":
            yield from _missing(view, delivery)
    for phone, recalls in view.by_phone.items():
        if phone not in view.request_of:
            yield Broken("P1", "a recall that nobody asked for", recalls[0].id)


def _missing(view: _View, delivery: SentDelivery) -> Iterator[Broken]:
    for request in delivery.requests:
        if request.is_recall and not view.by_phone.get(request.phone):
            yield Broken(
                "P1", f"acknowledged and lost: {request.customer} version {request.version}", _of(delivery)
            )
    for each in delivery.attempts:
        for recall_id in _ids(delivery, each):
            if recall_id not in view.recalls:
                yield Broken("P1", f"acknowledged as {recall_id}, which is not there", _of(delivery))


def _ids(delivery: SentDelivery, one: Attempt) -> list[str]:
    if not one.accepted or delivery.kind == "cancel":
        return []
    return [one.body["id"]] if delivery.kind == "api" else list(one.body["recalls"])


def _false_answers(view: _View) -> Iterator[Broken]:
    """Find answers that acknowledge what is not on disk, or say that no route wants what all routes want."""
    for delivery in view.deliveries:
        for each in delivery.attempts:
            if each.accepted and each.body.get("ignored"):
                yield Broken("P1", "ignored by a configuration that nobody has written", _of(delivery))
            for period in view.history.unsafe_periods:
                since = each.began - period.began
                if each.accepted and since > NOTICED_SECONDS and each.ended < period.ended:
                    yield Broken("P1", f"accepted {since:.0f} s after the store had no log", _of(delivery))
    for period in view.history.unsafe_periods:
        for web, status in period.readiness:
            if status == 200:
                yield Broken("P1", f"/readyz of {web} is 200 while the store has no log")


# --- P2: one call at a time -----------------------------------------------------------------------


def _p2(view: _View) -> Iterator[Broken]:
    calls = {call.seq: call for call in view.history.calls}
    for overlap in view.history.overlaps:
        seqs = [*overlap["with"], overlap["seq"]]
        piece = "; ".join(
            f"#{seq} {calls[seq].customer} {calls[seq].began:.3f} to {calls[seq].ended:.3f}"
            for seq in seqs
            if seq in calls
        )
        yield Broken("P2", f"two calls at once on token {overlap['token']}", piece)


# --- P3: one end ----------------------------------------------------------------------------------


def _p3(view: _View) -> Iterator[Broken]:
    for recall in view.history.recalls:
        states = [state for _, state, _ in recall.changes]
        # A cancel that came too late is recorded beside the end, in the same state.
        ends = [state for n, state in enumerate(states) if state in ENDS and states[n - 1 : n] != [state]]
        fine = recall.state in ENDS and ends == [recall.state] and states[-1] == recall.state
        if not fine:
            yield Broken("P3", f"{recall.id} is {recall.state}", " -> ".join(states))
        if recall.listed != (recall.state,):
            yield Broken("P3", f"{recall.id} is {recall.state} and listed as {recall.listed}")


# --- P4: the newest wins --------------------------------------------------------------------------


def _p4(view: _View) -> Iterator[Broken]:
    yield from _taken_back(view)
    for (account, customer), known in view.requests.items():
        theirs = view.calls.get((view.history.queues[account], customer), [])
        yield from _as_requested(view, theirs)
        yield from _in_order(view, theirs)
        yield from _not_after(view, known, theirs)
        yield from _last_word(view, known, theirs)


def _taken_back(view: _View) -> Iterator[Broken]:
    for delivery in view.deliveries:
        recall = view.recalls.get(delivery.recall)
        if delivery.acknowledged is not None and recall is not None and recall.state != "cancelled":
            yield Broken("P4", f"{delivery.recall} was taken back, and ended {recall.state}", _of(delivery))


def _as_requested(view: _View, calls: list[Call]) -> Iterator[Broken]:
    for call in calls:
        request = view.request_of.get(call.phone)
        if request is None or (request.customer, request.date) != (call.customer, call.date):
            yield Broken("P4", f"wolkvox got what nobody asked for: #{call.seq} {call.customer} {call.date}")


def _in_order(view: _View, calls: list[Call]) -> Iterator[Broken]:
    newest = None
    for call in calls:
        if not call.effect or call.phone not in view.request_of:
            continue
        # A body without an id may be a customer's request more than once.
        versions = view.versions_of[call.phone]
        version = min((v for v in versions if newest is None or v >= newest[0]), default=max(versions))
        if newest is not None and version < newest[0]:
            what = f"{call.customer}: an older request over a newer one"
            yield Broken("P4", what, f"#{newest[1]} version {newest[0]}, then #{call.seq} version {version}")
        newest = (version, call.seq)


def _not_after(view: _View, known: Mapping[int, _LatestRequest], calls: list[Call]) -> Iterator[Broken]:
    for call in calls:
        request = view.request_of.get(call.phone)
        newer = [
            other for version, other in known.items() if request and version > request.version and other.at
        ]
        late = [other for other in newer if call.began > other.at + IN_FLIGHT_SECONDS]
        if late:
            what = f"{call.customer}: pushed {call.began - late[0].at:.1f} s after a newer request was acknowledged"
            yield Broken("P4", what, f"#{call.seq} {request}, newer: {late[0].request}")


def _last_word(view: _View, known: Mapping[int, _LatestRequest], calls: list[Call]) -> Iterator[Broken]:
    newest = known[max(known)].request
    taken_back = {delivery.recall for delivery in view.deliveries if delivery.kind == "cancel"}
    if not newest.is_recall:
        return
    latest = max(view.by_phone.get(newest.phone, []), key=lambda recall: recall.id, default=None)
    for recall in [] if latest is None else [latest]:
        if recall.state == "cancelled" and recall.id in taken_back:
            continue
        if recall.state in {"superseded", "cancelled", "expired", "simulated"}:
            yield Broken("P4", f"{newest.customer}: the newest request ended {recall.state}", f"{recall}")
        words = [call.phone for call in calls if call.effect]
        if recall.state == "accepted" and words[-1:] != [newest.phone]:
            last = view.request_of.get(words[-1]) if words else None
            yield Broken("P4", f"{newest.customer}: wolkvox's last word is another", f"{last}, not {newest}")


# --- P5: twice is once ----------------------------------------------------------------------------


def _p5(view: _View) -> Iterator[Broken]:
    for phone, recalls in view.by_phone.items():
        if len(recalls) > max(1, view.bodies_of[phone]):
            request = view.request_of.get(phone)
            yield Broken(
                "P5", f"one event, {len(recalls)} recalls: {[recall.id for recall in recalls]}", f"{request}"
            )
    for delivery in view.deliveries:
        answers = {tuple(_ids(delivery, each)) for each in delivery.attempts if each.accepted}
        if len(answers) > 1:
            yield Broken("P5", f"the same delivery was answered with {sorted(answers)}", _of(delivery))
        for answer in answers:
            yield from _its_own(view, delivery, answer)


def _its_own(view: _View, delivery: SentDelivery, answer: tuple[str, ...]) -> Iterator[Broken]:
    wanted = [request.phone for request in delivery.requests if request.is_recall]
    found = [view.recalls[recall].phone for recall in answer if recall in view.recalls]
    if delivery.kind != "cancel" and len(found) == len(answer) and found != wanted:
        yield Broken("P5", "answered with recalls that are not its own", _of(delivery))


# --- P6, P8, P9 -----------------------------------------------------------------------------------


def _p6(view: _View) -> Iterator[Broken]:
    if not view.history.drained:
        left = Counter(recall.state for recall in view.history.recalls if recall.state not in ENDS)
        yield Broken("P6", "not everything came to an end", str(dict(left)))
    for name in view.history.ended_by_themselves:
        yield Broken("P6", "a process ended by itself", name)
    for hang in view.history.hangs:
        if hang.seconds is None or hang.seconds > REPLACED_SECONDS:
            how = "not replaced" if hang.seconds is None else f"replaced after {hang.seconds:.1f} s"
            yield Broken("P6", f"{hang.what} of {hang.name} was stopped and {how}")
    for period in view.history.due_periods:
        if period.seconds > TAKEN_UP_SECONDS:
            yield Broken("P6", f"queue {period.queue} had work for {period.seconds:.1f} s and nobody took it")


def _p8(view: _View) -> Iterator[Broken]:
    for leak in view.history.leaks:
        yield Broken("P8", f"{leak.what} in {leak.place}", leak.line)


def _p9(view: _View) -> Iterator[Broken]:
    for delivery in view.deliveries:
        for each in delivery.attempts:
            late = each.seconds > ANSWER_SECONDS + MARGIN_SECONDS
            if late and not web_was_down(view.history, each):
                yield Broken("P9", f"no answer for {each.seconds:.1f} s at {each.began:.1f}", _of(delivery))


def web_was_down(history: History, one: Attempt) -> bool:
    """Tell whether the web was killed, frozen or starting while it was asked."""
    return any(
        outage.name == one.web and one.began <= outage.ended and one.ended >= outage.began
        for outage in history.outages
    )


def _answers(view: _View) -> Iterator[Broken]:
    for delivery in view.deliveries:
        for each in delivery.attempts:
            allowed = ANSWERS if delivery.kind in {"api", "cancel"} else ANSWERS - {409}
            if delivery.kind == "cancel" and view.history.restores:
                allowed |= {404}
            clash = delivery.kind == "api" and each.status == 409
            if each.status not in allowed or clash:
                yield Broken("HTTP", f"an answer that fits nothing: {each.status} {each.body}", _of(delivery))


def _told_of_losses(view: _View) -> Iterator[Broken]:
    restores, reported = view.history.restores, view.history.losses_reported
    if not 1 <= reported <= restores:
        yield Broken(
            "report", f"an old copy was put back {restores} times, and that was reported {reported} times"
        )
