"""The configuration as values: what `ringback.toml` means once it has been read and found good.

Reading the file, resolving `env:` and `file:`, and naming every fault is `config_file`'s business;
these models hold the types, the defaults and the rules that concern one table alone.
"""

from __future__ import annotations

from datetime import time  # noqa: TC003  (pydantic reads the annotations at run time)
from functools import cached_property
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

GUARD_SECONDS = 2.0
LATEST_WRITE_SECONDS = 5.0


def _known_zone(name: object) -> ZoneInfo:
    if isinstance(name, ZoneInfo):
        return name
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("an IANA time zone such as America/Bogota") from error


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise ValueError("a secret that is not empty")
    return secret


Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
Zone = Annotated[ZoneInfo, BeforeValidator(_known_zone)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$")]
Window = tuple[time, time]


class Table(BaseModel):
    """A table of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class CallingHours(Table):
    """When customers may be called, in the account's zone.

    `windows` has seven entries, Monday first, each a tuple of (from, to) with from < to, sorted and
    not touching; a `to` of 00:00 means midnight at the end of that day. `holidays` is a country code
    of the `holidays` package whose public holidays are closed, or None.
    """

    windows: tuple[tuple[Window, ...], ...] = Field(min_length=7, max_length=7)
    holidays: str | None = None


class Account(Table):
    """One wolkvox operation: server, token, clock, rules."""

    name: Name
    server: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,63}$")] | None = None
    base_url: str | None = None
    token: Secret
    timezone: Zone
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = "CO"
    dial_format: str = "{national}"
    type_campaign: Literal["predictive", ""] = "predictive"
    timeout_seconds: float = Field(default=20, gt=0, le=600)
    server_limit_seconds: float = Field(default=60, ge=0, le=3600)
    daily_limit: int | None = Field(default=None, ge=1)
    quota_resets_at: time = time(0, 0)
    min_lead_minutes: int = Field(default=30, ge=0, le=7 * 24 * 60)
    late: Literal["asap", "drop"] = "asap"
    calling_hours: CallingHours | None = None
    mode: Literal["live", "dry-run"] = "live"

    @model_validator(mode="after")
    def _server_or_base_url(self) -> Account:
        if (self.server is None) == (self.base_url is None):
            raise ValueError("exactly one of server and base_url")
        return self

    @property
    def endpoint(self) -> str:
        """The address before `/api/v2/…`, without a slash at its end."""
        if self.base_url is not None:
            return self.base_url.rstrip("/")
        return f"https://wv{self.server}.wolkvox.com"

    @property
    def latest_write_seconds(self) -> float:
        """D: the latest moment after a claim at which the request may be written."""
        return min(self.timeout_seconds, LATEST_WRITE_SECONDS)

    @property
    def lease_seconds(self) -> float:
        """L: how long a claim holds the lane, derived so that no call can outlive it."""
        longest = max(self.latest_write_seconds + self.server_limit_seconds, self.timeout_seconds)
        return longest + GUARD_SECONDS

    @property
    def quiet_seconds(self) -> float:
        """How long after a call was sent wolkvox may still be working on it, guard included."""
        return self.server_limit_seconds + GUARD_SECONDS


class StoreSettings(Table):
    """How long things are kept, and whether a store that may forget is good enough."""

    accept_loss: bool = False
    retention_days: int = Field(default=30, ge=1)
    raw_retention_days: int = Field(default=7, ge=0)


class ApiKey(Table):
    """A caller of `/v1`. `accounts` None means all of them."""

    name: Name
    key: Secret
    accounts: frozenset[str] | None = None
    rate_per_minute: int | None = Field(default=None, ge=1)


class _Source(Table):
    name: Name
    rate_per_minute: int | None = Field(default=None, ge=1)
    event_time: str | None = None
    url_key: Secret | None = None
    dedup_hours: float = Field(default=168, gt=0)


class Lookup(Table):
    """How a HubSpot contact is read before mapping."""

    token: Secret
    properties: tuple[str, ...] = Field(min_length=1)
    base_url: str = "https://api.hubapi.com"


class HubspotSource(_Source):
    """HubSpot: app subscriptions, the workflow action "Send a webhook", custom workflow actions."""

    kind: Literal["hubspot"]
    secrets: tuple[Secret, ...] = Field(min_length=1)
    signatures: tuple[Literal["v1", "v2", "v3"], ...] = Field(default=("v3",), min_length=1)
    public_url: str | None = None
    lookup: Lookup | None = None


class SalesforceSource(_Source):
    """Salesforce outbound messages (SOAP)."""

    kind: Literal["salesforce"]
    url_key: Secret
    organization_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$")]


class JsonSource(_Source):
    """Any system that can POST JSON or a form."""

    kind: Literal["json"]
    verify: Literal["standard-webhooks", "hmac-sha256", "bearer", "basic", "header", "url-key"]
    secrets: tuple[Secret, ...] = ()
    header: str | None = None
    encoding: Literal["hex", "base64"] = "hex"
    prefix: str = ""
    events: str | None = None
    dedup_key: str | None = None


Source = HubspotSource | SalesforceSource | JsonSource


class Route(Table):
    """From which events, to which account, with which mapping. The texts are Jinja."""

    name: str = Field(min_length=1)
    source: str
    account: str
    when: str | None = None
    action: Literal["recall", "cancel"] = "recall"
    campaign_id: str
    customer_id: str
    recall_telephone: str | None = None
    recall_date: str | None = None


class Config(Table):
    """Everything `ringback.toml` says. `digest` changes when, and only when, its meaning does."""

    accounts: dict[str, Account] = Field(default_factory=dict)
    vars: dict[str, Any] = Field(default_factory=dict)
    store: StoreSettings = StoreSettings()
    api_keys: dict[str, ApiKey] = Field(default_factory=dict)
    sources: dict[str, Source] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    digest: str = ""

    @cached_property
    def routes_by_source(self) -> dict[str, tuple[Route, ...]]:
        """The routes of each source, in the order of the file."""
        return {name: tuple(r for r in self.routes if r.source == name) for name in self.sources}
