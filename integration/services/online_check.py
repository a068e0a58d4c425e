"""`ringback check --online`: one real call that only reads, per queue, and one lookup per HubSpot source.

Never a second call on a token: a queue that is pushing or waiting is left alone, and a free one is held by
a lease for the call. Where no store can be seen, nobody can tell, and the operator is told so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.clients.hubspot import ContactsAway, read_contacts
from integration.config.source_models import HubspotSource
from integration.services.connection_probe import QueueInUseError, probe_campaigns, probe_in_queue
from integration.store.token_queue import TokenQueues, queue_id

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.domain.account import Account
    from integration.services.connection_probe import ProbeResult
    from integration.store.client import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCheck:
    """What a real call came to. `who` names accounts or a source."""

    who: tuple[str, ...]
    good: bool
    told: str

    def shown(self) -> dict[str, Any]:
        """Give it as JSON values."""
        return {"who": list(self.who), "good": self.good, "told": self.told}


def ask_queues(config: Config, store: Store | None) -> list[OnlineCheck]:
    """Ask wolkvox for the campaigns of every token; `store` None: no store is there to hold a queue in."""
    queues: dict[str, list[Account]] = {}
    for account in config.accounts.values():
        queues.setdefault(account.token.get_secret_value(), []).append(account)
    return [_ask_queue(accounts, store) for accounts in queues.values()]


def ask_lookups(config: Config) -> list[OnlineCheck]:
    """Read one contact, whether it exists or not, for every source that looks contacts up."""
    asked = []
    for name, source in config.sources.items():
        if not isinstance(source, HubspotSource) or source.lookup is None:
            continue
        try:
            read_contacts(source.lookup, ("1",))
        except ContactsAway as away:
            asked.append(OnlineCheck(who=(name,), good=False, told=away.reason))
        else:
            asked.append(OnlineCheck(who=(name,), good=True, told="HubSpot takes the lookup's token"))
    return asked


def _ask_queue(accounts: list[Account], store: Store | None) -> OnlineCheck:
    account, names = accounts[0], tuple(account.name for account in accounts)
    try:
        answer = _ask(account, store)
    except QueueInUseError as error:
        return OnlineCheck(who=names, good=False, told=f"not asked: {error}")
    return OnlineCheck(who=names, good=answer.good, told=answer.told)


def _ask(account: Account, store: Store | None) -> ProbeResult:
    key = None if store is None else _queue_key(store)
    if store is None or key is None:
        return probe_campaigns(account)
    queue = queue_id(key, account.token.get_secret_value())
    # No wake-up is published: the workers' sweep finds what the queue has to do.
    return probe_in_queue(TokenQueues(store), queue, account, lambda _: None)


def _queue_key(store: Store) -> bytes | None:
    """Give the key of queue ids; None in a store that no worker has ever seen."""
    key: Any = store.guarded(lambda: store.client.hget(store.key("meta"), "queue_key"))
    return None if key is None else bytes.fromhex(key)
