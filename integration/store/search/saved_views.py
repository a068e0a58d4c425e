"""The columns that a dashboard user chose for the list of recalls, and the views that the user saved.

Both belong to one user. A view has no search for a person, so it stores no telephone number or customer id.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import orjson

from integration.domain.errors import NotFoundError
from integration.domain.json_codec import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from integration.store.client import Store

MOST_VIEWS: Final = 20
_COLUMNS: Final = "columns"
_VIEW: Final = "view:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """A named arrangement of the list of recalls.

    `filters` has query parameters of the list, `sort` its order ("" for newest first), `columns` the names
    of the columns shown.
    """

    name: str
    filters: Mapping[str, str]
    sort: str
    columns: Sequence[str]


@dataclass(frozen=True, slots=True)
class ListSettings:
    """What a user chose for the list: the columns, or None, and the saved views by id, sorted by name."""

    columns: Sequence[str] | None
    views: Mapping[str, SavedView]


class SavedViews:
    """Stores and reads the columns and views of users. Each method may raise StoreAwayError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, user: str) -> ListSettings:
        """Return the columns and views of a user."""
        fields = self._store.guarded(lambda: self._store.client.hgetall(self._key(user)))
        columns = fields.pop(_COLUMNS, None)
        views = {field.removeprefix(_VIEW): SavedView(**read_json(text)) for field, text in fields.items()}
        by_name = sorted(views.items(), key=lambda each: (each[1].name.lower(), each[0]))
        return ListSettings(None if columns is None else tuple(read_json(columns)), dict(by_name))

    def choose_columns(self, user: str, columns: Sequence[str]) -> None:
        """Store the columns that a user chose."""
        self._put(user, _COLUMNS, orjson.dumps(list(columns)))

    def get(self, user: str, view_id: str) -> SavedView:
        """Return a view of a user. Raise NotFoundError."""
        view = self.of(user).views.get(view_id)
        if view is None:
            raise NotFoundError(
                "no view of this user has this id. It may have been deleted. "
                "Open a view from the list of recalls"
            )
        return view

    def add(self, user: str, view: SavedView) -> str | None:
        """Store a view of a user. Return its random id, or None if the user already has MOST_VIEWS."""
        view_id = secrets.token_urlsafe(9)
        return view_id if self._put(user, _VIEW + view_id, orjson.dumps(asdict(view))) else None

    def delete(self, user: str, view_id: str) -> bool:
        """Delete a view of a user. Return False if there is none."""
        return bool(self._store.guarded(lambda: self._store.client.hdel(self._key(user), _VIEW + view_id)))

    def _put(self, user: str, field: str, text: bytes) -> bool:
        """Store the columns or a view. Return False for a view if the user already has MOST_VIEWS views."""
        return bool(self._store.call("put_list_setting", _digest(user), field, text, MOST_VIEWS))

    def _key(self, user: str) -> str:
        return self._store.key(f"list_views:{_digest(user)}")


def _digest(user: str) -> str:
    return sha256(user.encode("utf-8", "surrogatepass")).hexdigest()[:32]
