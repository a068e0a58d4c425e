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

    from .history import AnsweredWish, Call, History, StoredRecall, Try, Wish

ENDS = frozenset({"accepted", "dead", "superseded", "cancelled", "expired", "simulated"})
ANSWERS = frozenset({0, 200, 202, 409, 429, 503})

ANSWER_SECONDS = 2.0
MARGIN_SECONDS = 3.0
"""What a crowded machine may add to an answer."""
TAKEN_UP_SECONDS = 30.0
"""The promise is 3 s; only the absence of progress is to decide here, never a crowded machine."""
IN_FLIGHT_SECONDS = 5.0
"""How long after a newer wish was acknowledged an older one that was on its way may still arrive."""


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
    parts = (_p1, _p2, _p3, _p4, _p5, _p6, _p8, _p9, _answers)
    if history.restores:
        parts = (_p2, _p3, _p6, _p8, _p9, _answers, _told_of_losses)
    return [broken for part in parts for broken in part(view)]


class _View:
    """A history, sorted so that it can be asked."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.told = tuple(map(_dated_by_arrival, history.told))
        self.kept = {recall.id: recall for recall in history.kept}
        self.calls: dict[tuple[str, str], list[Call]] = _grouped(
            history.calls, lambda call: (call.token, call.customer)
        )
        self.by_phone: dict[str, list[StoredRecall]] = _grouped(history.kept, lambda kept: kept.phone)
        self.wishes: dict[tuple[str, str], dict[int, _LatestWish]] = defaultdict(dict)
        self.wish_of: dict[str, Wish] = {}
        for told in self.told:
            for wish in told.wishes:
                self._note(wish, told)

    def _note(self, wish: Wish, told: AnsweredWish) -> None:
        known = self.wishes[wish.account, wish.customer]
        at = told.acknowledged
        old = known.get(wish.version)
        # One event may come in two deliveries: the first that was acknowledged counts.
        if old is None or (at is not None and (old.at is None or at < old.at)):
            known[wish.version] = _LatestWish(wish, at)
        if wish.is_recall:
            self.wish_of[wish.phone] = wish


@dataclass(frozen=True, slots=True)
class _LatestWish:
    wish: Wish
    at: float | None


def _grouped(items: Iterable, key) -> dict:
    groups = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def _dated_by_arrival(told: AnsweredWish) -> AnsweredWish:
    """Order what callers of the API asked for: one after the other per customer, so by the first answer."""
    if told.kind != "api" or told.acknowledged is None:
        return told
    version = round(told.acknowledged * 1000)
    return replace(told, wishes=tuple(replace(wish, version=version) for wish in told.wishes))


def _of(told: AnsweredWish) -> str:
    tries = ", ".join(
        f"{each.web} {each.status or each.why} {each.seconds:.2f} s" for each in told.tries[-6:]
    )
    return f"delivery {told.key} ({told.kind}): {tries}"


# --- P1: what was acknowledged is there ---------------------------------------------------------


def _p1(view: _View) -> Iterator[Broken]:
    for told in view.told:
        if not told.settled:
            yield Broken("P1", "never taken, though the faults were over", _of(told))
        elif told.kind != "cancel":
            yield from _missing(view, told)
    for phone, recalls in view.by_phone.items():
        if phone not in view.wish_of:
            yield Broken("P1", "a recall that nobody asked for", recalls[0].id)


def _missing(view: _View, told: AnsweredWish) -> Iterator[Broken]:
    for wish in told.wishes:
        if wish.is_recall and not view.by_phone.get(wish.phone):
            yield Broken("P1", f"acknowledged and lost: {wish.customer} version {wish.version}", _of(told))
    for each in told.tries:
        for recall in _ids(told, each):
            if recall not in view.kept:
                yield Broken("P1", f"acknowledged as {recall}, which is not there", _of(told))


def _ids(told: AnsweredWish, one: Try) -> list[str]:
    if not one.taken or told.kind == "cancel":
        return []
    return [one.body["id"]] if told.kind == "api" else list(one.body["recalls"])


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
    for kept in view.history.kept:
        states = [state for _, state, _ in kept.changes]
        # A cancel that came too late is recorded beside the end, in the same state.
        ends = [state for n, state in enumerate(states) if state in ENDS and states[n - 1 : n] != [state]]
        fine = kept.state in ENDS and ends == [kept.state] and states[-1] == kept.state
        if not fine:
            yield Broken("P3", f"{kept.id} is {kept.state}", " -> ".join(states))
        if kept.listed != (kept.state,):
            yield Broken("P3", f"{kept.id} is {kept.state} and listed as {kept.listed}")


# --- P4: the newest wins --------------------------------------------------------------------------


def _p4(view: _View) -> Iterator[Broken]:
    yield from _taken_back(view)
    for (account, customer), known in view.wishes.items():
        theirs = view.calls.get((view.history.queues[account], customer), [])
        yield from _as_asked(view, theirs)
        yield from _in_order(view, theirs)
        yield from _not_after(view, known, theirs)
        yield from _last_word(view, known, theirs)


def _taken_back(view: _View) -> Iterator[Broken]:
    for told in view.told:
        kept = view.kept.get(told.recall)
        if told.acknowledged is not None and kept is not None and kept.state != "cancelled":
            yield Broken("P4", f"{told.recall} was taken back, and ended {kept.state}", _of(told))


def _as_asked(view: _View, calls: list[Call]) -> Iterator[Broken]:
    for call in calls:
        wish = view.wish_of.get(call.phone)
        if wish is None or (wish.customer, wish.date) != (call.customer, call.date):
            yield Broken("P4", f"wolkvox got what nobody asked for: #{call.seq} {call.customer} {call.date}")


def _in_order(view: _View, calls: list[Call]) -> Iterator[Broken]:
    newest = None
    for call in calls:
        if not call.effect or call.phone not in view.wish_of:
            continue
        version = view.wish_of[call.phone].version
        if newest is not None and version < newest[0]:
            what = f"{call.customer}: an older wish over a newer one"
            yield Broken("P4", what, f"#{newest[1]} version {newest[0]}, then #{call.seq} version {version}")
        newest = (version, call.seq)


def _not_after(view: _View, known: Mapping[int, _LatestWish], calls: list[Call]) -> Iterator[Broken]:
    for call in calls:
        wish = view.wish_of.get(call.phone)
        newer = [told for version, told in known.items() if wish and version > wish.version and told.at]
        late = [told for told in newer if call.began > told.at + IN_FLIGHT_SECONDS]
        if late:
            what = (
                f"{call.customer}: pushed {call.began - late[0].at:.1f} s after a newer wish was acknowledged"
            )
            yield Broken("P4", what, f"#{call.seq} {wish}, newer: {late[0].wish}")


def _last_word(view: _View, known: Mapping[int, _LatestWish], calls: list[Call]) -> Iterator[Broken]:
    newest = known[max(known)].wish
    taken_back = {told.recall for told in view.told if told.kind == "cancel"}
    if not newest.is_recall:
        return
    for kept in view.by_phone.get(newest.phone, []):
        if kept.state == "cancelled" and kept.id in taken_back:
            continue
        if kept.state in {"superseded", "cancelled", "expired", "simulated"}:
            yield Broken("P4", f"{newest.customer}: the newest wish ended {kept.state}", f"{kept}")
        words = [call.phone for call in calls if call.effect]
        if kept.state == "accepted" and words[-1:] != [newest.phone]:
            last = view.wish_of.get(words[-1]) if words else None
            yield Broken("P4", f"{newest.customer}: wolkvox's last word is another", f"{last}, not {newest}")


# --- P5: twice is once ----------------------------------------------------------------------------


def _p5(view: _View) -> Iterator[Broken]:
    for phone, recalls in view.by_phone.items():
        if len(recalls) > 1:
            wish = view.wish_of.get(phone)
            yield Broken(
                "P5", f"one event, {len(recalls)} recalls: {[kept.id for kept in recalls]}", f"{wish}"
            )
    for told in view.told:
        answers = {tuple(_ids(told, each)) for each in told.tries if each.taken}
        if len(answers) > 1:
            yield Broken("P5", f"the same delivery was answered with {sorted(answers)}", _of(told))
        for answer in answers:
            yield from _its_own(view, told, answer)


def _its_own(view: _View, told: AnsweredWish, answer: tuple[str, ...]) -> Iterator[Broken]:
    wanted = [wish.phone for wish in told.wishes if wish.is_recall]
    found = [view.kept[recall].phone for recall in answer if recall in view.kept]
    if told.kind != "cancel" and len(found) == len(answer) and found != wanted:
        yield Broken("P5", "answered with recalls that are not its own", _of(told))


# --- P6, P8, P9 -----------------------------------------------------------------------------------


def _p6(view: _View) -> Iterator[Broken]:
    if not view.history.drained:
        left = Counter(kept.state for kept in view.history.kept if kept.state not in ENDS)
        yield Broken("P6", "not everything came to an end", str(dict(left)))
    for name in view.history.ended_by_themselves:
        yield Broken("P6", "a process ended by itself", name)
    for spell in view.history.spells:
        if spell.seconds > TAKEN_UP_SECONDS:
            yield Broken("P6", f"queue {spell.queue} had work for {spell.seconds:.1f} s and nobody took it")


def _p8(view: _View) -> Iterator[Broken]:
    for leak in view.history.leaks:
        yield Broken("P8", f"{leak.what} in {leak.place}", leak.line)


def _p9(view: _View) -> Iterator[Broken]:
    for told in view.told:
        for each in told.tries:
            late = each.seconds > ANSWER_SECONDS + MARGIN_SECONDS
            if late and not web_was_down(view.history, each):
                yield Broken("P9", f"no answer for {each.seconds:.1f} s at {each.began:.1f}", _of(told))


def web_was_down(history: History, one: Try) -> bool:
    """Tell whether the web was killed, frozen or starting while it was asked."""
    return any(
        outage.name == one.web and one.began <= outage.ended and one.ended >= outage.began
        for outage in history.outages
    )


def _answers(view: _View) -> Iterator[Broken]:
    for told in view.told:
        for each in told.tries:
            allowed = ANSWERS if told.kind in {"api", "cancel"} else ANSWERS - {409}
            if told.kind == "cancel" and view.history.restores:
                allowed |= {404}
            clash = told.kind == "api" and each.status == 409
            if each.status not in allowed or clash:
                yield Broken("HTTP", f"an answer that fits nothing: {each.status} {each.body}", _of(told))


def _told_of_losses(view: _View) -> Iterator[Broken]:
    restores, told = view.history.restores, view.history.losses_told
    if not 1 <= told <= restores:
        yield Broken(
            "report", f"an old copy was put back {restores} times, and that was reported {told} times"
        )
