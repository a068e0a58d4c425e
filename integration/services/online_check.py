"""`ringback check --online`: one read-only call for each token, and one lookup for each source.

A source without a lookup is left out. A queue that pushes or waits is not called, and a free queue is
leased for the call, so that calls of Ringback do not overlap on a token. Without a store no queue is
leased, and the command says so. If a lookup succeeds, a source that waits after a failure goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.clients.lookups import UNREADABLE_SAMPLES, LookupFailedError, look_up
from integration.config.source_models import lookup_of
from integration.services.connection_probe import QueueInUseError, probe_campaigns, probe_in_queue
from integration.store.token_queue import TokenQueues, queue_id

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.domain.account import Account
    from integration.services.connection_probe import ProbeResult
    from integration.store.client import Store
    from integration.store.monitoring.lookup_status import LookupStatusStore


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineCheck:
    """The result of one call. `who` has the names of the accounts that share the token, or the source."""

    who: tuple[str, ...]
    good: bool
    detail: str

    def to_fields(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {"who": list(self.who), "good": self.good, "detail": self.detail}


def check_queues(config: Config, store: Store | None) -> list[OnlineCheck]:
    """Read the campaigns of every token, and return the results. Raise StoreAwayError.

    With `store=None` no queue is leased.
    """
    queues: dict[str, list[Account]] = {}
    for account in config.accounts.values():
        queues.setdefault(account.token.get_secret_value(), []).append(account)
    return [_ask_queue(accounts, store) for accounts in queues.values()]


def check_lookups(config: Config, status: LookupStatusStore | None) -> list[OnlineCheck]:
    """Read one record for every source with a lookup, and return the results. Raise StoreAwayError.

    The record need not exist: only the credentials are checked. If they are accepted, `status` ends the
    wait of a source, so that its events are looked up at once.
    """
    results = []
    for name, source in config.sources.items():
        lookup = lookup_of(source)
        if lookup is None:
            continue
        try:
            found = look_up(lookup, (lookup.sample_id,))
        except LookupFailedError as error:
            results.append(OnlineCheck(who=(name,), good=False, detail=error.reason))
        else:
            failure = next(iter(found.failed.values()), None)
            detail = failure.reason if failure else f"{lookup.provider} accepts the lookup's credentials"
            good = failure is None or failure.reason in UNREADABLE_SAMPLES
            accepted = failure is None or not failure.kind.is_about_source
            if accepted and status is not None and status.succeeded(name, lookup.digest):
                detail += ". Its waiting events are looked up now"
            results.append(OnlineCheck(who=(name,), good=good, detail=detail))
    return results


def _ask_queue(accounts: list[Account], store: Store | None) -> OnlineCheck:
    account, names = accounts[0], tuple(account.name for account in accounts)
    try:
        answer = _ask(account, store)
    except QueueInUseError as error:
        return OnlineCheck(who=names, good=False, detail=f"no test call was made: {error}")
    return OnlineCheck(who=names, good=answer.good, detail=answer.message)


def _ask(account: Account, store: Store | None) -> ProbeResult:
    key = None if store is None else _queue_key(store)
    if store is None or key is None:
        return probe_campaigns(account)
    queue = queue_id(key, account.token.get_secret_value())
    # No wake-up is published, because the workers' sweep finds a queue that has work.
    return probe_in_queue(TokenQueues(store), queue, account, lambda _: None)


def _queue_key(store: Store) -> bytes | None:
    """Return the store's key for queue ids, None if no worker has used the store."""
    key: Any = store.guarded(lambda: store.client.hget(store.key("store"), "queue_key"))
    return None if key is None else bytes.fromhex(key)
