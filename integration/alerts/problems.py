"""The rows of the page "Requires attention": accounts, sources and the installation with problems.

Does no I/O. The page evaluates the alert rules at once. The number in the title of each tab is from the
latest evaluation of the alert monitor.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from integration.config.alert_models import RULE_KINDS
from integration.store.monitoring.problem_notes import ProblemNote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from integration.alerts.rules import RuleMatch
    from integration.store.monitoring.alerts import Alert

# The kinds, most urgent first.
KINDS: Final = (
    "store-unsafe",
    "no-worker",
    "queue-stopped",
    "config-faulty",
    "config-pending",
    "nothing-verified",
    "deliveries-lost",
    "lookups-failing",
    "due-lag",
    "quota-used",
    "dead-letters",
    "oldest-queued",
    "parked-events",
    "source-silent",
    "workers-stalled",
)
_OF_SOURCES: Final = {
    "parked-events",
    *(kind for kind, rule in RULE_KINDS.items() if "sources" in rule.model_fields),
}
INSTALLATION: Final = "installation"


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveProblem:
    """A current problem of an account, a source or the installation. `since` is aware."""

    kind: str
    subject: str
    since: datetime
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemRow:
    """The problems of one account, one source or the installation, most urgent first.

    `id` is "account:NAME", "source:NAME" or "installation".
    """

    id: str
    name: str
    problems: tuple[ActiveProblem, ...]
    note: ProblemNote

    @property
    def since(self) -> datetime:
        """Return the time when the earliest of the problems began (aware)."""
        return min(problem.since for problem in self.problems)

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds of the problems."""
        return frozenset(problem.kind for problem in self.problems)

    def is_acknowledged(self) -> bool:
        """Return True if every kind of problem in the row is acknowledged."""
        return self.kinds <= self.note.acknowledged_kinds

    def is_snoozed(self, now: datetime) -> bool:
        """Return True if the row is snoozed at `now` (aware)."""
        return self.note.snoozed_until is not None and self.note.snoozed_until > now

    def is_open(self, now: datetime) -> bool:
        """Return True if the row is neither acknowledged nor snoozed at `now` (aware)."""
        return not self.is_acknowledged() and not self.is_snoozed(now)


def problems_found(
    matches: Iterable[RuleMatch], known: Iterable[Alert], now: datetime
) -> list[ActiveProblem]:
    """Return the matches as problems.

    A problem begins with the alert in `known` that has the same key. Without one, it begins at `now`
    (aware).
    """
    since = {alert.key: alert.since for alert in known}
    return [
        ActiveProblem(
            kind=match.kind,
            subject=match.subject,
            since=since.get(match.key, now),
            values=match.values,
        )
        for match in matches
    ]


def problems_known(known: Iterable[Alert]) -> list[ActiveProblem]:
    """Return the alerts in `known` as problems, if they have begun and their cause continues."""
    return [
        ActiveProblem(kind=alert.kind, subject=alert.subject, since=alert.since, values=alert.values)
        for alert in known
        if alert.on and alert.clear_since is None
    ]


def rows_of(
    problems: Iterable[ActiveProblem], notes: Mapping[str, ProblemNote], now: datetime
) -> list[ProblemRow]:
    """Return the rows: open, then acknowledged, then snoozed ones; each group most urgent first.

    `notes` has the notes by `ProblemRow.id`. `now` is aware.
    """
    groups: dict[str, dict[str, ActiveProblem]] = {}
    for problem in problems:
        # Several rules may find the same problem: a built-in and a configured one, or different limits.
        kinds = groups.setdefault(row_id(problem.kind, problem.subject), {})
        earlier = kinds.get(problem.kind)
        if earlier is None or problem.since < earlier.since:
            kinds[problem.kind] = problem
    rows = [
        ProblemRow(
            id=each,
            name=next(iter(kinds.values())).subject,
            problems=tuple(sorted(kinds.values(), key=_urgency)),
            note=notes.get(each, ProblemNote()),
        )
        for each, kinds in groups.items()
    ]
    return sorted(rows, key=lambda row: (_rank(row, now), _urgency(row.problems[0]), row.since, row.id))


def row_id(kind: str, subject: str) -> str:
    """Return the `ProblemRow.id` of an alert with this kind and subject."""
    if not subject:
        return INSTALLATION
    return f"source:{subject}" if kind in _OF_SOURCES else f"account:{subject}"


def row_ids(alerts: Sequence[Alert]) -> set[str]:
    """Return the `ProblemRow.id` of each alert."""
    return {row_id(alert.kind, alert.subject) for alert in alerts}


def _rank(row: ProblemRow, now: datetime) -> int:
    if row.is_snoozed(now):
        return 2
    return 1 if row.is_acknowledged() else 0


def _urgency(problem: ActiveProblem) -> int:
    return KINDS.index(problem.kind) if problem.kind in KINDS else len(KINDS)
