"""Explain one recall: the mapping of its event, and its calls. Pure.

The mapping is recomputed from the stored event with the current configuration. The recall may have been
mapped with an earlier configuration.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.clients.wolkvox_protocol import TOKEN_HEADER, build_call
from integration.mapping.planner import Explained, Pending, explain_event

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from integration.clients.wolkvox_protocol import Call
    from integration.domain.account import Account
    from integration.domain.delivery import Delivery, Event
    from integration.domain.recall import Attempt, Recall
    from integration.mapping.routes import CompiledRoutes

NEWER = "a newer request: "


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedFields:
    """The mapping of an event with the current configuration.

    `changed` is True if another or an unknown configuration mapped the event originally. `lacks_contact`
    is True if the mapping needs the looked-up record, which is not stored.
    """

    explained: Explained
    changed: bool
    lacks_contact: bool


def mapped(compiled_routes: CompiledRoutes, delivery: Delivery, event: Event, recall: Recall) -> MappedFields:
    """Return the mapping of a recall's event, computed as at the time of its arrival."""
    explained = explain_event(compiled_routes, delivery, event, delivery.received_at)
    return MappedFields(
        explained=explained,
        changed=recall.digest is None or not compiled_routes.config.digest.startswith(recall.digest),
        lacks_contact=isinstance(explained.plan, Pending),
    )


def call_of(account: Account, recall: Recall, attempt: Attempt | None = None) -> Call:
    """Return the call of an attempt, built with the account's current configuration.

    Without an attempt, or for an attempt without a `recall_date`, the call has the recall's current date.
    """
    date: datetime | None = None if attempt is None else attempt.recall_date
    return build_call(
        account,
        campaign_id=recall.campaign_id,
        customer_id=recall.customer_id,
        recall_telephone=recall.recall_telephone,
        recall_date=date or recall.recall_date,
    )


def as_curl(call: Call) -> str:
    """Return a call as a curl command, which reads the token from the variable WOLKVOX_TOKEN."""
    parts = [f"curl -X {call.method} {shlex.quote(call.url)}", f'-H "{TOKEN_HEADER}: $WOLKVOX_TOKEN"']
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in call.public_headers.items()]
    if call.body:
        parts.append(f"--data-binary {shlex.quote(call.body.decode())}")
    return " \\\n  ".join(parts)


def superseded_by(recall: Recall) -> str | None:
    """Return the id of the recall that superseded this one, or None."""
    reason = recall.reason or ""
    return reason.removeprefix(NEWER) if recall.state == "superseded" and reason.startswith(NEWER) else None


def supersedes(recall: Recall, others: Iterable[Recall]) -> list[str]:
    """Return the ids of the recalls among `others` that this recall superseded."""
    return [other.id for other in others if superseded_by(other) == recall.id]
