"""Binds the accounts of the configuration to their token queues, after a check of the store's durability."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from integration.domain.errors import NotFoundError, StoreAwayError, StoreUnsafeError
from integration.store.token_queue import queue_id

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.domain.account import Account
    from integration.services.configuration import Configuration
    from integration.store.client import Store
    from integration.store.monitoring.durability_watch import DurabilityWatch
    from integration.store.token_queue import TokenQueues

log = structlog.get_logger("ringback.binding")


class QueueBinding:
    """Binds accounts to queues, in the store and for the current configuration."""

    def __init__(
        self, configuration: Configuration, store: Store, queues: TokenQueues, durability: DurabilityWatch
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._queues = queues
        self._durability = durability
        self._bound: Config | None = None
        self._bound_in = ""
        self._assured = False

    def assure_store(self) -> None:
        """Check that the store keeps acknowledged data, unless an earlier check has succeeded.

        Raise StoreUnsafeError if it may lose data, StoreAwayError if it does not answer.
        """
        if not self._assured:
            self._durability.assure()
            self._assured = True

    def bind(self) -> int:
        """Bind the accounts to their queues, once for each configuration and epoch of the store.

        Return 0, or the time (epoch milliseconds) at which to call `bind` again, because a call may still
        be running on an old token. Raise StoreAwayError, also if the store may lose acknowledged data.
        """
        config = self._configuration.current
        if self._bound is config and self._bound_in == self._store.epoch.name:
            return 0
        if self._bound_in != self._store.epoch.name:
            # A new epoch: the store was replaced, emptied or restored, so it is checked again.
            self._assured = False
        try:
            self.assure_store()
        except StoreUnsafeError as error:
            log.error("deliveries are rejected: the store may lose acknowledged recalls", why=str(error))
            raise StoreAwayError("the store may lose acknowledged recalls") from error
        key = self._queues.id_key()
        later = self._queues.bind(queue_ids(config, key))
        if later == 0:
            self._bound, self._bound_in = config, self._store.epoch.name
        return later

    def forget(self) -> None:
        """Discard the binding, so that the next `bind` writes it again."""
        self._bound = None

    def queue_of(self, account: str) -> str:
        """Return the id of an account's queue. Raise NotFoundError, StoreAwayError."""
        self.bind()
        queue = self._queues.bound().get(account)
        if queue is None:
            raise NotFoundError("no such account")
        return queue


def queue_ids(config: Config, key: bytes) -> dict[str, str]:
    """Return the queue id of every account by the account's name. `key` is the store's key for the ids."""
    return {
        name: queue_id(key, account.token.get_secret_value()) for name, account in config.accounts.items()
    }


def accounts_by_queue(config: Config, key: bytes) -> dict[str, tuple[Account, ...]]:
    """Return the accounts that share each queue by the queue's id. `key` is as in `queue_ids`."""
    queues: dict[str, list[Account]] = {}
    for name, queue in queue_ids(config, key).items():
        queues.setdefault(queue, []).append(config.accounts[name])
    return {queue: tuple(accounts) for queue, accounts in queues.items()}
