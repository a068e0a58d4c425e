"""Gathers what a run left behind: what the senders sent, what wolkvox got, what the store and the logs hold."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from integration.domain.recall import Filter
from integration.local.sandbox import fingerprint
from integration.store.client import Store, connect
from integration.store.recalls import RecallStore
from integration.store.scripting.protocol import PREFIX

from .history import Call, History, Leak, StoredRecall
from .settings import SECRETS, token_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .fault_injector import FaultInjector
    from .load import Sender
    from .processes import ManagedProcess
    from .system import ChaosSystem
    from .watch import QueueWatch


def collect(
    system: ChaosSystem, senders: list[Sender], watch: QueueWatch, injector: FaultInjector, *, drained: bool
) -> History:
    accounts = range(system.settings.accounts)
    return History(
        deliveries=tuple(job.sent() for sender in senders for job in sender.jobs),
        recalls=_stored_recalls(system),
        calls=tuple(map(_call, system.sandbox.calls())),
        queues={f"a{n}": fingerprint(token_of(n, system.settings.accounts)) for n in accounts},
        overlaps=tuple(system.sandbox.stats()["overlaps"]),
        outages=tuple(outage for actor in system.actors.values() for outage in actor.outages),
        due_periods=tuple(watch.due_periods.values()),
        leaks=tuple(_leaks(system, injector.wake_ups)),
        ended_by_themselves=tuple(injector.ended_by_themselves),
        drained=drained,
        restores=injector.restores,
        losses_reported=sum(map(_losses_in, system.actors.values())),
        envelopes=len(system.sentry.received),
        hangs=tuple(injector.hangs),
        unsafe_periods=tuple(injector.unsafe_periods),
    )


def _stored_recalls(system: ChaosSystem) -> tuple[StoredRecall, ...]:
    client = connect(system.store.server.url)
    listed: dict[str, list[str]] = {}
    for key in client.keys(f"{PREFIX}in:*"):
        for recall in client.zrange(key, 0, -1):
            listed.setdefault(recall, []).append(key.rpartition(":")[2])
    recalls = RecallStore(Store(client))
    return tuple(
        StoredRecall(
            id=recall.id,
            state=str(recall.state),
            account=recall.account,
            customer=recall.customer_id,
            phone=recall.recall_telephone,
            changes=tuple((c.at.timestamp(), str(c.state), c.reason) for c in recall.history),
            listed=tuple(sorted(listed.get(recall.id, []))),
            attempts=tuple(attempt.outcome for attempt in recall.attempts),
        )
        for recall in recalls.every(Filter())
    )


def _call(shown: dict[str, Any]) -> Call:
    body = shown["body"] if isinstance(shown["body"], dict) else {}
    began = datetime.fromisoformat(shown["received_at"]).timestamp()
    ended = datetime.fromisoformat(shown["finished_at"]).timestamp() if shown["finished_at"] else began
    return Call(
        seq=shown["seq"],
        token=shown["token"],
        customer=str(body.get("customer_id")),
        phone=str(body.get("recall_telephone")),
        date=str(body.get("recall_date")),
        began=began,
        ended=ended,
        effect=shown["code"] == "202",
    )


def _losses_in(actor: ManagedProcess) -> int:
    return actor.log.read_text("utf-8", "replace").count(
        "the store lost data; each queue waits for the length of its lease"
    )


_PRIVATE = {
    "a telephone": re.compile(r"(?<![\d.])300\d{7}(?!\d)"),
    "a customer": re.compile(r"cust-s\d"),
    "a token": re.compile(r"token-of-queue-"),
    **{f"the secret {name}": re.compile(re.escape(secret)) for name, secret in SECRETS.items()},
}


def _leaks(system: ChaosSystem, wake_ups: list[bytes]) -> Iterator[Leak]:
    for actor in system.actors.values():
        yield from leaks_in(actor.name + "'s log", actor.log.read_text("utf-8", "replace").splitlines())
    yield from leaks_in("a broker message", map(message_text, wake_ups))
    yield from leaks_in("an envelope to Sentry", system.sentry.texts())


def leaks_in(place: str, lines: Iterable[str]) -> Iterator[Leak]:
    for line in lines:
        for what, pattern in _PRIVATE.items():
            if pattern.search(line):
                yield Leak(place=place, what=what, line=pattern.sub("…", line)[:200])


def message_text(message: bytes) -> str:
    """Return a broker's message as text, followed by its body decoded where that is base64."""
    text = message.decode("utf-8", "replace")
    try:
        body = base64.b64decode(json.loads(message)["body"], validate=True)
    except (ValueError, KeyError, TypeError):
        # Whatever else may lie in a broker is searched for leaks as it stands.
        return text
    return text + body.decode("utf-8", "replace")
