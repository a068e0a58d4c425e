"""Reports the events that wait for a lookup, for `ringback recalls` and `ringback parked`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integration.cli import output
from integration.config.models import lookups_of
from integration.store.monitoring.lookup_status import LookupStatusStore
from integration.telemetry.logging import printable

if TYPE_CHECKING:
    from integration.cli.context import CliContext
    from integration.store.monitoring.lookup_status import LookupStatus


def waiting_lookups(context: CliContext) -> list[LookupStatus]:
    """Return the lookups for which events wait. Without a valid configuration the list is empty."""
    config = context.config_if_good
    found = {} if config is None else LookupStatusStore(context.store).all(lookups_of(config))
    return [status for status in found.values() if status.events]


def as_fields(status: LookupStatus) -> dict[str, Any]:
    """Return the status of a lookup as JSON fields. `failure` is None unless the latest try failed.

    Its `next_try` is None if the events wait until the lookup is changed.
    """
    failure = status.failure
    return {
        "source": status.source,
        "provider": status.provider,
        "events": status.events,
        "failure": failure
        and {
            "kind": failure.kind,
            "reason": failure.reason,
            "since": output.moment(failure.since),
            "next_try": failure.next_try and output.moment(failure.next_try),
        },
    }


def print_waiting(context: CliContext) -> None:
    """Print a line to standard error for each source whose events wait for a lookup."""
    for status in waiting_lookups(context):
        output.problem(_line(context, status))


def _line(context: CliContext, status: LookupStatus) -> str:
    events = "1 event waits" if status.events == 1 else f"{status.events} events wait"
    line = f"{events} for {status.provider} (source {status.source})"
    failure = status.failure
    if failure is None:
        return f"{line}."
    line = f"{line}: {printable(failure.reason)}."
    if failure.next_try is None:
        return (
            f"{line} The source waits until its lookup is changed in the configuration. To try it again "
            "without a change, run `ringback check --online`."
        )
    return f"{line} Next try at {output.moment(failure.next_try, context.zone_of())}."
