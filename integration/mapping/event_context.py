"""The names that templates can read, for one event and for all events of a delivery. Pure.

Templates cannot read headers that authenticate the sender.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from integration.domain.delivery import QUERY, header_name
from integration.domain.errors import UnreadableError
from integration.mapping.expressions import LOOKUP_NAMES, NotLookedUp, TemplateContext
from integration.mapping.forms import fields_of, nested

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.domain.account import Account
    from integration.domain.delivery import Delivery

_SECRET_HEADER_WORDS = (
    "authorization", "cookie", "signature", "secret", "token", "password", "api-key", "apikey", "credential",
)  # fmt: skip


_LONGEST_NAME = 256


@lru_cache(maxsize=1024)
def _is_secret(header: str) -> bool:
    return any(word in header for word in _SECRET_HEADER_WORDS)


class Headers(Mapping[str, str]):
    """A delivery's headers for templates: case-insensitive, without headers that authenticate the sender.

    QUERY is the query string, without the parameters that authenticate the sender.
    """

    __slots__ = ("_headers", "_secret", "_secret_parameter")

    def __init__(self, headers: Mapping[str, str], source: Source | None = None) -> None:
        own = getattr(source, "header", None)
        self._headers = headers
        self._secret = header_name(own) if isinstance(own, str) else None
        self._secret_parameter = getattr(source, "param", None)

    def _is_visible(self, name: str) -> bool:
        return name != self._secret and not _is_secret(name)

    def __getitem__(self, name: str) -> str:
        name = header_name(name).replace("_", "-")  # a template may write `headers.x_team`
        if not self._is_visible(name):
            raise KeyError(name)
        return self._visible_query() if name == QUERY else self._headers[name]

    def _visible_query(self) -> str:
        pairs = self._headers[QUERY].split("&")
        return "&".join(pair for pair in pairs if not self._is_secret_parameter(pair.partition("=")[0]))

    def _is_secret_parameter(self, escaped: str) -> bool:
        name = unquote_plus(escaped[:_LONGEST_NAME])
        return name == self._secret_parameter or _is_secret(name.lower().replace("_", "-"))

    def table(self) -> dict[str, str]:
        """Return the visible headers as a dict."""
        return dict(self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        return filter(self._is_visible, self._headers)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def delivery_variables(delivery: Delivery, headers: Headers, zone: tzinfo) -> dict[str, Any]:
    """Return the value of the variable `delivery` in templates. Its times are in `zone`."""
    return {
        "headers": headers,
        "query": _parameters(headers.get(QUERY, "")),
        "received_at": delivery.received_at.astimezone(zone),
        "source": delivery.source,
    }


def _parameters(query: str) -> dict[str, Any]:
    """Return the parameters of a query string, or an empty mapping if it cannot be parsed."""
    try:
        return nested(fields_of(query.encode("latin-1", "replace"))) if query else {}
    except UnreadableError:
        return {}


class DeliveryContext:
    """The names that the templates of all events of a delivery can read, computed once per account.

    `now` is aware. Times are in the account's zone.
    """

    def __init__(self, config: Config, delivery: Delivery, now: datetime) -> None:
        self.delivery = delivery
        self.now = now
        self._vars = config.vars
        self._headers = Headers(delivery.headers, config.sources.get(delivery.source))
        self._names: dict[str, dict[str, Any]] = {}

    def names(self, account: Account) -> dict[str, Any]:
        """Return the names and their values for an account, without those of an event."""
        names = self._names.get(account.name)
        if names is None:
            names = self._names[account.name] = {
                "vars": self._vars,
                "now": self.now.astimezone(account.timezone),
                "delivery": delivery_variables(self.delivery, self._headers, account.timezone),
            }
        return names


class EventContext:
    """The names that the templates of one event can read, computed once per account.

    `looked_up` has the names that a lookup adds, with their values, or is NOT_LOOKED_UP before the
    lookup.
    """

    def __init__(
        self, delivery_context: DeliveryContext, data: object, looked_up: Mapping[str, object] | NotLookedUp
    ) -> None:
        self.now = delivery_context.now
        self._delivery_context = delivery_context
        self._event_names = {"event": data}
        for name in LOOKUP_NAMES:
            value = looked_up if isinstance(looked_up, NotLookedUp) else looked_up.get(name)
            self._event_names[name] = value
        self._contexts: dict[str, TemplateContext] = {}

    def of(self, account: Account) -> TemplateContext:
        """Return the context for templates of a route of this account."""
        context = self._contexts.get(account.name)
        if context is None:
            names = {**self._delivery_context.names(account), **self._event_names}
            context = self._contexts[account.name] = TemplateContext(names)
        return context
