"""Reads the keys of a store and their texts, to search them for personal data.

Keys, and large hashes, sets and sorted sets are read in chunks, so that no command blocks the store for
long. A stream is read at once.
"""

from __future__ import annotations

import zlib
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from integration.store.client import Store

CHUNK: Final = 500
# Small hashes of which there may be millions: many are read in one round trip.
_SMALL: Final = ("recall", "delivery", "parked", "lookup", "job")
# The fields of a recall that hold or may repeat its customer's data.
_RECALL: Final = (
    *("customer", "telephone", "record", "attempts", "reason", "changes", "notes"),
    "doc",
)
_READ: Final = {"hash": "hgetall", "string": "get"}


class KeyspaceScan:
    """Iterates over the keys of a store and the texts stored in them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._client: Any = store.client

    def keys(self, pattern: str, progress: Callable[[int], None]) -> Iterator[list[str]]:
        """Yield lists of the names, without the prefix, of the keys that match a pattern of SCAN.

        A name may be in several lists. `progress` is called with the number of matching keys so far.
        Raise StoreAwayError.
        """
        cursor, seen, before = 0, 0, len(self._store.key(""))
        while True:
            cursor, keys = self._scan(cursor, pattern)
            seen += len(keys)
            progress(seen)
            # SCAN may return a key twice.
            yield [key[before:] for key in dict.fromkeys(keys)]
            if cursor == 0:
                return

    def _scan(self, cursor: int, pattern: str) -> tuple[int, list[str]]:
        match = self._store.key(pattern)
        found: tuple[int, list[str]] = self._store.guarded(
            lambda: self._client.scan(cursor, match=match, count=CHUNK)
        )
        return found

    def many(self, command: str, keys: Sequence[str]) -> list[Any]:
        """Run the same read command on each key in one round trip. Return the replies.

        `command` is the name of a method of redis-py. Raise StoreAwayError.
        """

        def commands(pipe: Any) -> None:
            for key in keys:
                getattr(pipe, command)(self._store.key(key))

        return self._store.pipelined(commands)

    def texts(self, keys: Sequence[str]) -> Iterator[tuple[str, Iterator[str]]]:
        """Yield each key with an iterator over the texts stored in it.

        Of a recall, only the texts that may hold personal data are read. Raise StoreAwayError; the
        iterator of a large key raises RedisError instead.
        """
        kinds = dict(zip(keys, self.many("type", keys), strict=True))
        for kind, command in _READ.items():
            some = [key for key in keys if kinds.get(key) == kind and (kind == "string" or _is_small(key))]
            for key, held in zip(some, self.many(command, some), strict=True):
                yield key, _held_texts(key, held)
                del kinds[key]
        for key, kind in kinds.items():
            yield key, self._large(kind, self._store.key(key))

    def _large(self, kind: str, key: str) -> Iterator[str]:
        """Yield the texts of a key of any size, several of them joined into one."""
        members: Iterator[str] = iter(())
        match kind:
            case "hash":
                pairs = self._client.hscan_iter(key, count=CHUNK)
                members = (text for pair in pairs for text in pair)
            case "zset":
                members = (member for member, _ in self._client.zscan_iter(key, count=CHUNK))
            case "set":
                members = self._client.sscan_iter(key, count=CHUNK)
            case "stream":
                entries = self._client.xrange(key)
                members = (text for _, fields in entries for pair in fields.items() for text in pair)
        while some := list(islice(members, CHUNK)):
            yield _joined(some)


def _joined(texts: Iterable[str]) -> str:
    """Return the texts as one, with a separator that occurs in no number and in no word."""
    return "|".join(texts).replace("\0", "|")


def _is_small(key: str) -> bool:
    return key.partition(":")[0] in _SMALL


def _held_texts(key: str, held: Any) -> Iterator[str]:
    if not isinstance(held, dict):
        yield held or ""
    elif key.startswith("recall:"):
        yield _joined(text for name, text in held.items() if name in _RECALL or name.startswith("answer:"))
    else:
        yield _joined(value for name, value in held.items() if name != "body")
        yield body_of(held).decode("utf-8", "replace")


def body_of(record: Mapping[str, str]) -> bytes:
    """Return the decompressed body of a stored delivery, b"" if it has none."""
    packed = record.get("body")
    return zlib.decompress(packed.encode("utf-8", "surrogateescape")) if packed else b""
