"""What both ends saw, as frozen values: what was sent and answered, what wolkvox got, what the store holds.

Moments are epoch seconds by this machine's clock. Judges nothing: that is `checker`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerRequest:
    """One event: a customer wants a callback, or (`phone` empty) no longer wants it.

    The telephone is made up anew for every request, so that it names the request wherever it turns up; only a
    body without an id is sent several times as several requests. `version` orders the requests of a customer; for
    callers of the API and bodies without an id it is filled in by the checker.
    """

    account: str
    customer: str
    version: int
    phone: str = ""
    date: str = ""

    @property
    def is_recall(self) -> bool:
        return bool(self.phone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One HTTP request: `status` 0 is a connection that was refused, closed or timed out."""

    web: str
    began: float
    ended: float
    status: int
    body: dict = field(default_factory=dict)
    why: str = ""

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def accepted(self) -> bool:
        """Whether all of it was taken. What is parked waits for a corrected configuration, and is sent again."""
        return 200 <= self.status < 300 and not self.parked

    @property
    def parked(self) -> int:
        return int(self.body.get("parked") or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SentDelivery:
    """One delivery, all the times it was sent. `kind`: hubspot, forms, plain, api, or cancel (of a recall's id)."""

    key: str
    kind: str
    requests: tuple[CustomerRequest, ...]
    attempts: tuple[Attempt, ...]
    recall: str = ""

    @property
    def acknowledged(self) -> float | None:
        """When it was accepted first, None when never."""
        return min((each.ended for each in self.attempts if each.accepted), default=None)

    @property
    def settled(self) -> bool:
        """Whether the sender is done with it: it was accepted, or answered that there is nothing left to cancel."""
        return self.acknowledged is not None or (
            self.kind == "cancel" and any(each.status == 409 for each in self.attempts)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRecall:
    """One recall as the store holds it; `listed` are the states under which its indexes name it."""

    id: str
    state: str
    account: str
    customer: str
    phone: str
    changes: tuple[tuple[float, str, str], ...]
    listed: tuple[str, ...]
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call as wolkvox saw it. `effect`: it was put on record there, answered or not."""

    seq: int
    token: str
    customer: str
    phone: str
    date: str
    began: float
    ended: float
    effect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """From when to when a web was killed, frozen or starting."""

    name: str
    began: float
    ended: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DuePeriod:
    """How long a queue had work, no reason to wait, and nobody who took it, after all faults were over."""

    queue: str
    began: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """A process that was stopped for good, and how long it took until it was killed; None if it was not."""

    name: str
    what: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsafePeriod:
    """From when to when the store's settings allowed a loss, and what `/readyz` of a web said in the end."""

    began: float
    ended: float
    readiness: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A secret, a customer or a number where none may be; the word itself is left out."""

    place: str
    what: str
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything a run left behind. `queues` is account -> the mark of its token at wolkvox.

    `restores`: how often an old copy of the store was put back; `losses_reported`: how often that was reported.
    """

    deliveries: tuple[SentDelivery, ...]
    recalls: tuple[StoredRecall, ...]
    calls: tuple[Call, ...]
    queues: dict[str, str]
    overlaps: tuple[dict, ...] = ()
    outages: tuple[Outage, ...] = ()
    due_periods: tuple[DuePeriod, ...] = ()
    leaks: tuple[Leak, ...] = ()
    ended_by_themselves: tuple[str, ...] = ()
    drained: bool = True
    restores: int = 0
    losses_reported: int = 0
    envelopes: int = 0
    hangs: tuple[Hang, ...] = ()
    unsafe_periods: tuple[UnsafePeriod, ...] = ()
