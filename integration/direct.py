"""Deliveries that are answered without the application around them: those that wait for the store alone.

Flask would do nothing for them that is not done here, and takes longer for it than the delivery itself.
Whatever is not plain (another method, an address that does not exist, a packed body, a limit that has to be
asked for) is left to the application, which knows them all.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from integration.delivery import header_name
from integration.incoming import Incoming
from integration.intake import Prepared
from integration.problems import MAX_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from integration.config import Source
    from integration.delivery import Reply
    from integration.intake import Intake

    Think = Callable[[Callable[[], Prepared | Reply]], Awaitable[Prepared | Reply]]

_PREFIX = "/hooks/"
_UNPACKED = frozenset({"", "identity"})


class Direct:
    """Answers deliveries on the server's loop."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def open(self) -> None:
        """Make ready what the first delivery would have to wait for otherwise."""
        await self._intake.open()

    def source_of(self, scope: Mapping[str, Any]) -> tuple[Source, str | None] | None:
        """Give the source of a request (ASGI) and the key in its address; None: not to be answered here."""
        path: str = scope["path"]
        if not path.startswith(_PREFIX) or scope["method"] != "POST":
            return None
        # In an address that is escaped somewhere the application may see other parts.
        if scope["raw_path"] not in {None, path.encode()}:
            return None
        name, _, url_key = path[len(_PREFIX) :].partition("/")
        if path.endswith("/") or "/" in url_key:
            return None
        settings = self._intake.source(name, url_key or None)
        if settings is None or not self._intake.waits_for_nothing_else(settings):
            return None
        return settings, url_key or None

    def incoming(self, scope: Mapping[str, Any], url_key: str | None, body: bytes) -> Incoming | None:
        """Give a request as the receiver knows it; None where the application has to look at its body."""
        headers = headers_of(scope["headers"])
        if headers.get("content-encoding", "").strip().lower() not in _UNPACKED:
            return None
        if len(body) > MAX_BODY_BYTES or headers.get("content-length", str(len(body))) != str(len(body)):
            return None
        return Incoming(
            method=scope["method"],
            scheme=scope["scheme"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            address=(scope.get("client") or ("",))[0],
            url_key=url_key,
            body=body,
        )

    async def answer(self, settings: Source, incoming: Incoming, think: Think) -> Reply:
        """Give the answer to a delivery. `think` runs what takes the processor, here or elsewhere."""
        prepared = await think(lambda: self._intake.prepare(settings, incoming))
        return await self._intake.receive_soon(prepared) if isinstance(prepared, Prepared) else prepared


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Give a request's headers (ASGI) by their names in a delivery."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key, text = _name(name), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    for key in ("content-type", "content-length"):
        if headers.get(key) == "":
            del headers[key]
    return headers


@lru_cache(maxsize=1024)
def _name(name: bytes) -> str:
    return header_name(name.decode("latin-1"))
