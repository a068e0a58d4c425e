"""What the machine knows: constants, outcomes of pushes, the store as it was read, and the expected state."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from integration.domain.recall import State
from integration.store.token_queue import Claim, PushResult

TIMEOUT, SERVER_LIMIT, LATEST_WRITE, GUARD = 20, 60, 5, 2

LEASE = max(LATEST_WRITE + SERVER_LIMIT, TIMEOUT) + GUARD

QUIET = SERVER_LIMIT + GUARD

PATIENCE = 30

SWEEP_ROOM = 99

HALF_HOUR_MS = 1_800_000

DAILY_LIMIT = 6

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

ACCOUNTS = {"bogota": "L1", "cali": "L1", "lima": "L2"}

QUEUES = ("L1", "L2", "L3", "L4")

CUSTOMERS = ("c1", "c2", "c3", "c4", "c5")

ENDS = frozenset(State) - {State.QUEUED, State.PUSHING}

OFTEN = st.sampled_from([True, True, True, False])

MEANWHILE = st.sampled_from(["nothing", "nothing", "asked again", "taken back"])

HOW = st.integers(0, 10)

SECONDS = st.sampled_from([0.1, 1, 19, 21, 70])

RARELY = st.sampled_from([False, False, False, True])

# What may follow from a push: which of these, by whether the request was written and answered in time.
CLEAR = {
    "accepted": PushResult(kind="ended", state="accepted", reason="202", passed=True),
    "dead": PushResult(kind="ended", state="dead", reason="refused", passed=True),
    "poison": PushResult(kind="ended", state="dead", reason="poison", wait_ms=1000),
    "error": PushResult(kind="again", reason="500", counts_against_recall=True, wait_ms=1000, history="h"),
    "concurrency": PushResult(kind="again", reason="403", wait_ms=5000),
    "aside": PushResult(kind="aside", reason="again and again", wait_ms=1000),
    "stop": PushResult(kind="again", reason="401", stop="the token is refused"),
    "stop, dead": PushResult(kind="ended", state="dead", reason="five", passed=True, stop="five"),
}

UNKNOWN = {
    "time-out": PushResult(
        kind="again", reason="no answer", counts_against_recall=True, quiet=True, wait_ms=1000
    ),
    "aside": PushResult(kind="aside", reason="no answer", quiet=True, wait_ms=1000),
    "poison": PushResult(kind="ended", state="dead", reason="poison", quiet=True, wait_ms=1000),
}

UNSENT = {
    "expired": PushResult(kind="ended", state="expired", reason="late"),
    "simulated": PushResult(kind="ended", state="simulated", reason="dry-run"),
    "no connection": PushResult(kind="again", reason="not sent", wait_ms=1000),
    "too late": PushResult(kind="again", reason="no time was left", wait_ms=200),
}


def changed(outcome: PushResult, **more) -> PushResult:
    named = {name: getattr(outcome, name) for name in outcome.__slots__}
    return PushResult(**{**named, **more})


@dataclass
class NewestRequest:
    """The newest thing that is known of a campaign and customer: a recall, or that none is wanted."""

    version: int
    recall: str | None
    account: str


@dataclass
class Owner:
    """a worker that drains a queue: what it asked, and what it holds."""

    queue: str
    nonce: str
    clock: timedelta
    asked_at: datetime
    claim: Claim | None = None
    step: int = 0
    sent_at: datetime | None = None
    unanswered: tuple = ()
    process: int = 0
    stale: bool = False


@dataclass
class Queue:
    """A queue as the store holds it."""

    fields: dict[str, str]
    waiting: dict[str, float]
    newest: dict[str, str]

    def has_work(self) -> bool:
        return bool(self.waiting or self.fields.get("inflight"))

    def without_wake_up(self) -> tuple:
        fields = {
            name: text for name, text in self.fields.items() if name not in {"wake_up_at", "publications"}
        }
        return fields, self.waiting, self.newest


@dataclass
class View:
    """All that the store holds of queues and recalls, at one moment."""

    recalls: dict[str, dict[str, str]]
    queues: dict[str, Queue]
    by_state: dict[str, list[str]]
    by_account: dict[tuple[str, str], list[str]]
    due: dict[str, float]
    ended: dict[str, float]
    calendar: dict[tuple[str, str, str, str], int]

    def same_as(self, other: View) -> bool:
        """Tell whether nothing but wake-ups differs."""
        return (self.recalls, self.by_state, self.by_account, self.ended, self.calendar) == (
            other.recalls,
            other.by_state,
            other.by_account,
            other.ended,
            other.calendar,
        ) and all(
            queue.without_wake_up() == other.queues[name].without_wake_up()
            for name, queue in self.queues.items()
        )


@dataclass
class Model:
    """What the machine knows beside the store: the requests, the calls as wolkvox sees them, the workers."""

    bound: dict[str, str] = field(default_factory=lambda: dict(ACCOUNTS))
    requests: dict[tuple[str, str, str], NewestRequest] = field(default_factory=dict)
    recalls: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    sent: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    last: dict[tuple[str, str, str], int] = field(default_factory=dict)
    until: dict[str, datetime] = field(default_factory=dict)
    calls: dict[tuple[str, str], int] = field(default_factory=dict)
    holder: dict[str, Owner | None] = field(default_factory=dict)
    claimed_at: dict[str, datetime] = field(default_factory=dict)
    events: list = field(default_factory=list)
    bodies: dict[str, str] = field(default_factory=dict)
    """The latest recall of each body without an id."""

    def without_owners(self) -> Model:
        return replace(self, holder={})


@dataclass
class StoreCopy:
    """The store as it was, and what the machine knew then; the calls at wolkvox do not go back."""

    keys: dict[bytes, tuple[bytes, int]]
    model: Model
    holder: dict[str, Owner | None]
    owners: list[tuple]
