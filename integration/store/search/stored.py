"""Search texts of dashboard users, stored so that URLs contain an id and no telephone number.

A stored search belongs to one user and is deleted after SEARCH_LIFETIME. An erasure of personal data
deletes all stored searches.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from integration.domain.errors import NotFoundError

if TYPE_CHECKING:
    from integration.store.client import Store

SEARCH_LIFETIME: Final = timedelta(hours=12)


class StoredSearches:
    """Stores and reads the search texts of users."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, user: str, text: str) -> str:
        """Store a user's search text. Return a random id.

        The text is stored even if the store is full. Raise StoreAwayError.
        """
        search_id = secrets.token_urlsafe(12)
        kept_ms = round(SEARCH_LIFETIME.total_seconds() * 1000)
        self._store.call("store_search", _digest(user, search_id), text, kept_ms)
        return search_id

    def read(self, user: str, search_id: str) -> str:
        """Return the text of a stored search. Raise NotFoundError or StoreAwayError."""
        key = self._store.key(f"search:{_digest(user, search_id)}")
        text = self._store.guarded(lambda: self._store.client.get(key))
        if text is None:
            raise NotFoundError("this search is no longer stored; search again")
        return str(text)


def _digest(user: str, search_id: str) -> str:
    return sha256(f"{user}\0{search_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
