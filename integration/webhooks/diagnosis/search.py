"""Search for the fewest changes that make a digest match: none, one or two. Pure.

A budget limits the number of digests. Comparisons take constant time, as in the verification.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.webhooks.verification import matches_any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.webhooks.diagnosis.findings import Finding, Guess

MOST_DIGESTS = 1000
MOST_BYTES = 16 * 1024 * 1024
MOST_CHANGES = 2

_HEX = re.compile(r"[0-9a-fA-F]{32,128}")
_PREFIX = re.compile(r"\A(?:(?:sha1|sha256|sha512|hmac|v\d+)[=,: ]\s*|\"|')", re.IGNORECASE)


class SearchBudget:
    """The number of digests and of bytes that a diagnosis may still compute."""

    def __init__(self) -> None:
        self._digests = MOST_DIGESTS
        self._bytes = MOST_BYTES

    def spend(self, size: int) -> bool:
        """Deduct a digest over `size` bytes. Return False if the budget is exceeded."""
        self._digests -= 1
        self._bytes -= size
        return self._digests >= 0 and self._bytes >= 0


@dataclass(frozen=True, slots=True)
class SentDigest:
    """A received digest: its bytes, encoding and prefix."""

    raw: bytes
    encoding: str
    prefix: str


def search(
    dimensions: Sequence[Sequence[Guess]],
    digest: Callable[..., bytes],
    sent_digests: Sequence[bytes],
    budget: SearchBudget,
) -> tuple[Finding, ...] | None:
    """Return the findings of the fewest changes with which `digest` returns one of `sent_digests`.

    Each dimension has the guesses for one argument of `digest`, in the order of the arguments. Return an
    empty tuple if the digest matches without changes, None if nothing matches within the budget.
    """
    for combination in _by_changes(dimensions):
        values = [guess.value for guess in combination]
        if not budget.spend(sum(_size(value) for value in values)):
            return None
        if matches_any(digest(*values), sent_digests):
            return tuple(guess.finding for guess in combination if guess.finding is not None)
    return None


def _by_changes(dimensions: Sequence[Sequence[Guess]]) -> Iterator[tuple[Guess, ...]]:
    right = [[guess for guess in guesses if guess.finding is None] for guesses in dimensions]
    wrong = [[guess for guess in guesses if guess.finding is not None] for guesses in dimensions]
    places = range(len(dimensions))
    for changes in range(min(MOST_CHANGES, len(dimensions)) + 1):
        for changed in itertools.combinations(places, changes):
            yield from itertools.product(
                *(wrong[place] if place in changed else right[place] for place in places)
            )


def _size(value: Any) -> int:
    return len(value) if isinstance(value, bytes | str) else 0


def read_digests(text: str) -> tuple[SentDigest, ...]:
    """Return the possible digests in a text: hex or base64, with or without prefix or quotes."""
    digests = []
    prefix = _PREFIX.match(text)
    bare = text[prefix.end() :] if prefix else text
    for part, before in ((text, ""), (bare, prefix[0] if prefix else "")):
        digests += [SentDigest(raw, encoding, before) for raw, encoding in _decoded(part.strip("\"' "))]
    return tuple(digests)


def _decoded(text: str) -> Iterator[tuple[bytes, str]]:
    if _HEX.fullmatch(text) and len(text) % 2 == 0:
        yield bytes.fromhex(text), "hex"
    for encoding, altered in (("base64", text), ("base64url", text.translate(_URL_SAFE))):
        if encoding == "base64url" and altered == text:
            continue
        try:
            yield base64.b64decode(altered + "=" * (-len(altered) % 4), validate=True), encoding
        except (binascii.Error, ValueError):
            continue


_URL_SAFE = str.maketrans("-_", "+/")
