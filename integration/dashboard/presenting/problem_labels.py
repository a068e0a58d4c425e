"""The rows of the page "Requires attention" with their texts, and the number of open rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import url_for
from flask_babel import gettext as _

from integration.alerts.facts import read_facts
from integration.alerts.messages import text_of
from integration.alerts.problems import INSTALLATION, problems_found, problems_known, rows_of
from integration.alerts.rules import all_matches
from integration.dashboard.language import language
from integration.dashboard.presenting.labels import label_for
from integration.domain.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.alerts.problems import ActiveProblem, ProblemRow
    from integration.dashboard.presenting.account_cache import AccountSnapshot
    from integration.domain.errors import ConfigError
    from integration.services.container import Services

MOST_KEYS: Final = 8


@dataclass(frozen=True, slots=True)
class FaultyFile:
    """A configuration file with faults: the first keys with faults, and the number of further keys."""

    path: str
    keys: tuple[str, ...]
    more: int


def faulty_files(error: ConfigError | None) -> list[FaultyFile]:
    """Return the files with faults, without values, in the order of their first fault; [] for None."""
    keys: dict[str, dict[str, None]] = {}
    for fault in error.faults if error is not None else ():
        keys.setdefault(fault.file, {})[fault.key] = None
    return [
        FaultyFile(path, tuple(found)[:MOST_KEYS], max(0, len(found) - MOST_KEYS))
        for path, found in keys.items()
    ]


def problem_rows(services: Services, snapshot: AccountSnapshot) -> list[ProblemRow]:
    """Return the rows of the page "Requires attention" as of now. Raise StoreAwayError."""
    facts = read_facts(services, snapshot.moment, snapshot.views)
    found = all_matches(services.config, facts).values()
    problems = problems_found(found, services.alerts.problems(), snapshot.moment)
    return rows_of(problems, services.problem_notes.all(), snapshot.moment)


def open_problems(services: Services) -> int:
    """Return the number of open rows, by the latest evaluation of the rules; 0 while the store is away."""
    try:
        problems = problems_known(services.alerts.problems())
        notes = services.problem_notes.all() if problems else {}
        now = services.store.now()
    except StoreAwayError:
        return 0
    return sum(row.is_open(now) for row in rows_of(problems, notes, now))


def problem_label(problem: ActiveProblem) -> tuple[str, str]:
    """Return the title and the text of a problem, in the user's language."""
    return text_of(problem.kind, problem.subject, problem.values, language(), label_for)


def row_name(row: ProblemRow) -> str:
    """Return the name of the account or source of a row, or the label of the installation."""
    return row.name if row.id != INSTALLATION else str(_("The installation"))


def row_kind(row: ProblemRow) -> str:
    """Return the label of the kind of a row: account or source; "" for the installation."""
    words = {"account": _("Account"), "source": _("Source")}
    return str(words.get(row.id.partition(":")[0], ""))


def row_address(row: ProblemRow) -> str:
    """Return the address of the account or source of a row, "" for the installation."""
    about, _separator, name = row.id.partition(":")
    return "" if row.id == INSTALLATION else url_for(f"dashboard.{about}", name=name)


def links_of(problem: ActiveProblem) -> Sequence[tuple[str, str]]:
    """Return links to pages about a problem, as pairs of address and label; () if there are none."""
    name = problem.subject
    match problem.kind:
        case "dead-letters":
            return ((url_for("dashboard.recalls", state="dead", account=name), _("Dead recalls")),)
        case "oldest-queued" | "queue-stopped" | "quota-used":
            return ((url_for("dashboard.recalls", state="queued", account=name), _("Queued recalls")),)
        case "parked-events":
            return ((url_for("dashboard.parked"), _("Parked events")),)
        case "nothing-verified":
            rejected = url_for("dashboard.deliveries", source=name, result="refused")
            return ((rejected, _("Rejected deliveries")),)
        case "source-silent" | "lookups-failing":
            return ((url_for("dashboard.deliveries", source=name), _("Deliveries")),)
        case "no-worker" | "due-lag" | "workers-stalled":
            return ((url_for("dashboard.now") + "#processes", _("Processes seen")),)
        case _:
            return ()
