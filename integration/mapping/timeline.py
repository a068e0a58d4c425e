"""The story of one recall: what came, how it was mapped, what was sent, what is known of each. Pure.

The mapping is worked out anew from the event as it was kept; where the configuration has changed since, that
is said, because then it shows what would become of the event today.
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
    """How an event is mapped.

    `changed`: by another configuration than then. `lacks_contact`: it cannot be, since it needs the contact
    that was looked up, which is not kept.
    """

    explained: Explained
    changed: bool
    lacks_contact: bool


def mapped(book: CompiledRoutes, delivery: Delivery, event: Event, recall: Recall) -> MappedFields:
    """Work out anew how an event became a recall, at the moment at which it came."""
    explained = explain_event(book, delivery, event, delivery.received_at)
    return MappedFields(
        explained=explained,
        changed=recall.digest is None or not book.config.digest.startswith(recall.digest),
        lacks_contact=isinstance(explained.outcome, Pending),
    )


def call_of(account: Account, recall: Recall, attempt: Attempt | None = None) -> Call:
    """Build the call of an attempt as it was made, with the account as it is configured now.

    Without an attempt, the call with the date that the recall has now.
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
    """Write a call as a command; the token is a variable of the shell that runs it."""
    parts = [f"curl -X {call.method} {shlex.quote(call.url)}", f'-H "{TOKEN_HEADER}: $WOLKVOX_TOKEN"']
    parts += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in call.public_headers.items()]
    if call.body:
        parts.append(f"--data-binary {shlex.quote(call.body.decode())}")
    return " \\\n  ".join(parts)


def superseded_by(recall: Recall) -> str | None:
    """Give the id of the recall that took a superseded one's place."""
    reason = recall.reason or ""
    return reason.removeprefix(NEWER) if recall.state == "superseded" and reason.startswith(NEWER) else None


def supersedes(recall: Recall, others: Iterable[Recall]) -> list[str]:
    """Give the ids of the recalls among `others` whose place this one took."""
    return [other.id for other in others if superseded_by(other) == recall.id]
