"""Searches recalls by any filter, newest or oldest first, within a time limit.

Each step examines a bounded number of recalls, so that no search blocks the store for long. When the time
limit is reached, the search returns a cursor for the next call.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.timestamps import epoch_ms, from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from integration.domain.recall import Filter, State
    from integration.store.client import Store

# Recalls examined in one step, which takes the store a few milliseconds with any filter.
STEP = 200
BUDGET_SECONDS = 0.1
_INDEXED = ("state", "states", "accounts")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Ids of recalls, in the order of the search.

    `next` is the cursor of the next search, or None when all recalls were examined. `back_to` is the
    admission time (aware, UTC) of the last recall examined, if the time limit ended the search; otherwise
    None.
    """

    ids: tuple[str, ...]
    next: str | None
    back_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchCount:
    """The recalls counted by one call. `next` is the cursor for the next call, or None at the end."""

    number: int
    next: str | None


class RecallSearch:
    """Searches the recalls of a store. `clock` returns monotonic seconds."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock

    def find(
        self,
        which: Filter,
        *,
        limit: int,
        cursor: str | None = None,
        oldest_first: bool = False,
        budget_seconds: float | None = BUDGET_SECONDS,
    ) -> SearchResult:
        """Return at most `limit` matching recalls, newest first or oldest first.

        With `cursor`, the id of a recall, the search continues after it. It ends early after
        `budget_seconds`, unless that is None. Raise StoreAwayError.
        """
        ids: list[str] = []
        spec, over = _spec(which, oldest_first=oldest_first), self._timer(budget_seconds)
        while True:
            step = self._step(spec, cursor, limit - len(ids))
            ids += step.ids
            cursor = step.next
            if cursor is None or len(ids) == limit:
                return SearchResult(ids=tuple(ids), next=cursor)
            if over():
                return SearchResult(ids=tuple(ids), next=cursor, back_to=step.back_to)

    def count(
        self, which: Filter, *, cursor: str | None = None, budget_seconds: float | None = BUDGET_SECONDS
    ) -> SearchCount:
        """Return the number of matching recalls, only those older than `cursor` if that is given.

        Unless the filter has only states and accounts, counting ends early after `budget_seconds`; None
        sets no limit. Raise StoreAwayError.
        """
        if cursor is None and _is_indexed(which):
            return SearchCount(number=int(self._store.call("count", orjson.dumps(_spec(which)))), next=None)
        number = 0
        spec, over = _spec(which), self._timer(budget_seconds)
        while True:
            step = self._step(spec, cursor, STEP)
            number += len(step.ids)
            cursor = step.next
            if cursor is None or over():
                return SearchCount(number=number, next=cursor)

    def every(self, which: Filter, *, oldest_first: bool = False) -> Iterator[str]:
        """Yield the ids of all matching recalls, newest first or oldest first. Raise StoreAwayError."""
        spec, cursor = _spec(which, oldest_first=oldest_first), None
        while True:
            step = self._step(spec, cursor, STEP)
            yield from step.ids
            cursor = step.next
            if cursor is None:
                return

    def _step(self, spec: Mapping[str, Any], cursor: str | None, want: int) -> SearchResult:
        """Examine the next `STEP` recalls or fewer. Return at most `want` matching ids."""
        request = {**spec, "after": cursor or "", "want": want, "most": STEP}
        ids, last, created = self._store.call("search", orjson.dumps(request))
        back_to = from_epoch_ms(created) if created else None
        return SearchResult(ids=tuple(ids), next=last or None, back_to=back_to)

    def _timer(self, budget_seconds: float | None) -> Callable[[], bool]:
        """Return a function that returns True once the time limit is reached."""
        ends_at = math.inf if budget_seconds is None else self._clock() + budget_seconds
        return lambda: self._clock() >= ends_at


def _is_indexed(which: Filter) -> bool:
    return not any(getattr(which, name) is not None for name in which.__slots__ if name not in _INDEXED)


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else epoch_ms(moment)


def _states(which: Filter) -> list[State] | None:
    if which.state is None:
        return None if which.states is None else sorted(which.states)
    return [which.state] if which.states is None or which.state in which.states else []


def _spec(which: Filter, *, oldest_first: bool = False) -> dict[str, Any]:
    """Return a filter in the format of lua/search.lua."""
    spec = {
        "states": _states(which),
        "accounts": None if which.accounts is None else sorted(which.accounts),
        "customer": which.customer_id,
        "campaign": which.campaign_id,
        "source": which.source,
        "route": which.route,
        "record": which.record,
        "words": which.words,
        "outcome": which.outcome,
        "about": which.about,
        "prefix": which.prefix,
        "telephones": None if which.telephones is None else [number[::-1] for number in which.telephones],
        "created_from": _ms(which.created_from),
        "created_until": _ms(which.created_until),
        "score_from": _ms(which.date_from),
        "score_until": _ms(which.date_until),
        "oldest": oldest_first or None,
    }
    return {name: value for name, value in spec.items() if value is not None}
