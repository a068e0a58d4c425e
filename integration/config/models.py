"""The configuration as one frozen model, `Config`, and the tables that concern the whole installation.

The models define types, defaults and rules for single keys. The `description` of a field completes the
sentence "Use …" in a fault. `config.loader` reads the files and reports the faults.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, tzinfo
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from integration.config.alert_models import AlertSettings
from integration.config.source_models import Lookup, Source, lookup_of
from integration.domain.account import Account
from integration.domain.field_types import (
    BASE_URL_WORDS,
    FILLED_TEXT_WORDS,
    HEADER_TEXT_WORDS,
    ROLE_WORDS,
    ROLES_WORDS,
    SITE_WORDS,
    BaseUrl,
    HeaderSecret,
    Name,
    Number,
    PasswordHash,
    Role,
    Secret,
    Site,
    Table,
    Template,
    Whole,
    one_or_more,
    roles_by_group,
)
from integration.domain.passwords import HASH_WORDS


def _days() -> Any:
    description = "a whole number of days, 1 or more (default: retention_days)"
    return Field(default=None, ge=1, description=description)


class Retention(Table):
    """Retention in days of single states. None stands for `retention_days`."""

    accepted: Whole | None = _days()
    dead: Whole | None = _days()
    superseded: Whole | None = _days()
    cancelled: Whole | None = _days()
    expired: Whole | None = _days()
    simulated: Whole | None = _days()
    parked: Whole | None = _days()


class StoreSettings(Table):
    """The `[store]` table: retention, and whether a store that may lose data is accepted."""

    accept_loss: bool = Field(default=False, description="true or false")
    retention_days: Whole = Field(default=30, ge=1, description="a whole number of days, 1 or more")
    retention: Retention = Field(
        default=Retention(), description="a table with a number of days for each state"
    )
    raw_retention_days: Whole = Field(default=7, ge=0, description="a whole number of days, 0 or more")

    @property
    def longest_days(self) -> int:
        """The longest retention of all states, in days."""
        return max(self.retention_days, *map(self.days_of, Retention.model_fields))

    def days_of(self, kind: str) -> int:
        """Return the retention in days of a final state, "parked" or "dismissed" (parked events)."""
        own: int | None = getattr(self.retention, "parked" if kind == "dismissed" else kind, None)
        return self.retention_days if own is None else own


class ApiKey(Table):
    """A caller of `/v1` and its limits. With `accounts=None` it may use all accounts."""

    name: Name
    key: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    accounts: Annotated[frozenset[str], BeforeValidator(one_or_more)] | None = Field(
        default=None, min_length=1, description="a list of account names, not empty (default: all accounts)"
    )
    rate_per_minute: Whole | None = Field(
        default=None, ge=1, description="a whole number of requests a minute, 1 or more (default: no limit)"
    )


class User(Table):
    """A user who signs in to the dashboard by name and password."""

    name: Name
    password: PasswordHash = Field(description=HASH_WORDS)
    role: Role = Field(default="viewer", description=ROLE_WORDS)


class DashboardSettings(Table):
    """The `[dashboard]` table: session lifetimes, the address in a browser, and the number of proxies."""

    session_hours: Number = Field(
        default=12, gt=0, le=720, description="a number of hours, more than 0 and at most 720"
    )
    idle_minutes: Number = Field(
        default=120, gt=0, le=43200, description="a number of minutes, more than 0 and at most 43200"
    )
    public_url: Site | None = Field(default=None, description=SITE_WORDS)
    proxies: Whole = Field(
        default=0,
        ge=0,
        le=10,
        description="the number of your reverse proxies in front of Ringback, a whole number from 0 to 10",
    )


class Oidc(Table):
    """The `[oidc]` table: an OpenID Connect provider whose users may sign in besides `[users]`."""

    issuer: BaseUrl = Field(description=BASE_URL_WORDS)
    client_id: str = Field(min_length=1, description=FILLED_TEXT_WORDS)
    client_secret: Secret = Field(description=FILLED_TEXT_WORDS)
    name: str = Field(
        default="OpenID Connect", min_length=1, max_length=60, description="a name of 1 to 60 characters"
    )
    scope: str = Field(
        default="openid profile email",
        pattern=r"(^| )openid( |$)",
        description='scopes separated by spaces, one of them "openid"',
    )
    name_claim: str = Field(
        default="email", min_length=1, description="the name of the claim that holds the user's name"
    )
    role_claim: str = Field(
        default="groups", min_length=1, description="the name of the claim that holds the user's groups"
    )
    roles: Annotated[dict[str, Role], BeforeValidator(roles_by_group)] = Field(description=ROLES_WORDS)


class Route(Table):
    """A `[[routes]]` table: the events that it matches, their account, and the templates of a recall."""

    # Users write campaign ids as numbers, as in `campaign_id = 12345`.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    name: str = Field(min_length=1, max_length=200, description="a name of 1 to 200 characters")
    source: str = Field(description="the name of a source")
    account: Template = Field(description="the name of an account, or a template that returns one")
    accounts: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] | None = Field(
        default=None,
        min_length=1,
        description="a list of account names, not empty (only with a template in account)",
    )
    when: Template | None = Field(
        default=None, description="a Jinja expression (default: every event matches)"
    )
    action: Literal["recall", "cancel"] = Field(default="recall", description='"recall" or "cancel"')
    campaign_id: Template = Field(description="a template for the campaign's id")
    customer_id: Template = Field(description="a template for the customer's id")
    recall_telephone: Template | None = Field(default=None, description="a template for the number to call")
    recall_date: Template | None = Field(default=None, description="a template for the date of the callback")

    @property
    def has_account_template(self) -> bool:
        """True if `account` is a template. The name of an account has no braces."""
        return "{" in self.account

    @property
    def account_names(self) -> tuple[str, ...]:
        """The accounts that the route may use, in the order of the file."""
        return (self.account,) if self.accounts is None else self.accounts


class Config(Table):
    """The content of `ringback.toml` and the files that it includes.

    `digest` identifies the configuration without its secrets. `exposed_files` are the files with a secret
    that every user of the machine can read.
    """

    accounts: dict[str, Account] = Field(default_factory=dict)
    vars: dict[str, Any] = Field(default_factory=dict)
    store: StoreSettings = StoreSettings()
    alerts: AlertSettings = AlertSettings()
    api_keys: dict[str, ApiKey] = Field(default_factory=dict)
    users: dict[str, User] = Field(default_factory=dict)
    dashboard: DashboardSettings = DashboardSettings()
    oidc: Oidc | None = None
    sources: dict[str, Source] = Field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    exposed_files: tuple[str, ...] = ()
    digest: str = ""

    @property
    def can_sign_in(self) -> bool:
        """True if users or an identity provider are configured."""
        return bool(self.users) or self.oidc is not None

    @cached_property
    def routes_by_source(self) -> dict[str, tuple[Route, ...]]:
        """The routes of each source, by the source's name, in the order of the file."""
        return {name: tuple(r for r in self.routes if r.source == name) for name in self.sources}


def lookups_of(config: Config) -> dict[str, Lookup]:
    """Return the lookups by the name of their source. Sources without a lookup are left out."""
    found = ((name, lookup_of(source)) for name, source in config.sources.items())
    return {name: lookup for name, lookup in found if lookup is not None}


def zone_of(config: Config, account: str | None = None) -> tzinfo:
    """Return an account's time zone. Without a known account, return the most common zone, else UTC."""
    known = config.accounts.get(account) if account is not None else None
    if known is not None:
        return known.timezone
    zones = Counter(each.timezone for each in config.accounts.values())
    return zones.most_common(1)[0][0] if zones else UTC
