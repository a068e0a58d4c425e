"""Which calls of the script share one run of it. Pure.

Each run builds the script's functions, looks at the history and counts: for a delivery of one event as much
work again as the delivery itself. Small admissions that are on their way together therefore share a run; in
it each stands for itself, as lua/together.lua says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Words = tuple[str | int | bytes, ...]

MOST_IN_A_RUN = 32
# A larger admission gains nothing, and would hold the store up together with others.
SMALL_BYTES = 8 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run: what the script is asked, and the places of the calls that it answers."""

    words: Words
    places: tuple[int, ...]

    def replies(self, reply: Any) -> list[Any]:
        """Give the reply to each of its calls, of the script's own or of an error."""
        shared = len(self.places) > 1 and not isinstance(reply, Exception)
        return list(reply) if shared else [reply] * len(self.places)


def runs_of(calls: Sequence[Words]) -> Iterator[Run]:
    """Put calls together; each is in one run."""
    small: list[int] = []
    for place, words in enumerate(calls):
        if words[0] == "admit" and size_of(words) <= SMALL_BYTES:
            small.append(place)
        else:
            yield Run(words, (place,))
    for start in range(0, len(small), MOST_IN_A_RUN):
        yield _shared(calls, tuple(small[start : start + MOST_IN_A_RUN]))


def _shared(calls: Sequence[Words], places: tuple[int, ...]) -> Run:
    if len(places) == 1:
        return Run(calls[places[0]], places)
    first = calls[places[0]]
    words = [word for place in places for word in calls[place][1:]]
    return Run(("admit_all", len(first) - 1, *words), places)


def size_of(words: Words) -> int:
    """Give how much a call hands in: bytes, and of texts letters."""
    return sum(len(word) for word in words if not isinstance(word, int))
