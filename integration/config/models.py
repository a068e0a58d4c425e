"""The configuration as one frozen model: `Config`, with the tables that concern the whole installation.

The models hold types, defaults and the rules that concern one key alone. The `description` of a field
says which values it takes; it is printed when a value is refused. Reading the file, resolving `env:` and
`file:` and reporting every error is done by `config.loader`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from integration.config.alert_models import AlertSettings
from integration.config.source_models import Source
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
    words = "a whole number of days, 1 or more; left out = retention_days"
    return Field(default=None, ge=1, description=words)


class Retention(Table):
    """Days for which some things are kept that are not kept for `retention_days`."""

    accepted: Whole | None = _days()
    dead: Whole | None = _days()
    superseded: Whole | None = _days()
    cancelled: Whole | None = _days()
    expired: Whole | None = _days()
    simulated: Whole | None = _days()
    parked: Whole | None = _days()


class StoreSettings(Table):
    """How long things are kept, and whether a store that may forget is good enough."""

    accept_loss: bool = Field(default=False, description="true or false")
    retention_days: Whole = Field(default=30, ge=1, description="a whole number of days, 1 or more")
    retention: Retention = Field(default=Retention(), description="a table of days by state")
    raw_retention_days: Whole = Field(default=7, ge=0, description="a whole number of days, 0 or more")

    @property
    def longest_days(self) -> int:
        """The longest for which anything is kept."""
        return max(self.retention_days, *map(self.days_of, Retention.model_fields))

    def days_of(self, kind: str) -> int:
        """Tell for how many days things of a kind are kept: a state that is an end, or "parked"."""
        own: int | None = getattr(self.retention, kind, None)
        return self.retention_days if own is None else own


class ApiKey(Table):
    """A caller of `/v1`. `accounts` None means all of them."""

    name: Name
    key: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    accounts: Annotated[frozenset[str], BeforeValidator(one_or_more)] | None = Field(
        default=None, min_length=1, description="a list of account names, not empty; left out = all accounts"
    )
    rate_per_minute: Whole | None = Field(
        default=None, ge=1, description="a whole number of requests a minute, 1 or more; left out = no limit"
    )


class User(Table):
    """Somebody who signs in to the dashboard by name and password."""

    name: Name
    password: PasswordHash = Field(description=HASH_WORDS)
    role: Role = Field(default="viewer", description=ROLE_WORDS)


class DashboardSettings(Table):
    """How long a sign-in lasts, and how browsers reach the dashboard."""

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
        description="how many proxies of yours stand in front, a whole number from 0 to 10",
    )


class Oidc(Table):
    """An identity provider (OpenID Connect) that signs people in beside the users of the configuration."""

    issuer: BaseUrl = Field(description=BASE_URL_WORDS)
    client_id: str = Field(min_length=1, description=FILLED_TEXT_WORDS)
    client_secret: Secret = Field(description=FILLED_TEXT_WORDS)
    name: str = Field(
        default="OpenID Connect", min_length=1, max_length=60, description="a name of 1 to 60 characters"
    )
    scope: str = Field(
        default="openid profile email",
        pattern=r"(^| )openid( |$)",
        description='a text of words with "openid" among them',
    )
    name_claim: str = Field(
        default="email", min_length=1, description="the name of the claim by which people are called"
    )
    role_claim: str = Field(
        default="groups", min_length=1, description="the name of the claim that holds people's groups"
    )
    roles: Annotated[dict[str, Role], BeforeValidator(roles_by_group)] = Field(description=ROLES_WORDS)


class Route(Table):
    """From which events, to which account, with which mapping. The texts are Jinja."""

    # A campaign is a number to its user, and `campaign_id = 12345` leaves no doubt.
    model_config = ConfigDict(coerce_numbers_to_str=True)

    name: str = Field(min_length=1, max_length=200, description="a name of 1 to 200 characters")
    source: str = Field(description="the name of a source")
    account: str = Field(description="the name of an account")
    when: Template | None = Field(default=None, description="an expression; left out = always")
    action: Literal["recall", "cancel"] = Field(default="recall", description='"recall" or "cancel"')
    campaign_id: Template = Field(description="a template for the campaign's id")
    customer_id: Template = Field(description="a template for the customer's id")
    recall_telephone: Template | None = Field(default=None, description="a template for the number to call")
    recall_date: Template | None = Field(default=None, description="a template for the date of the callback")


class Config(Table):
    """Everything `ringback.toml` says. `digest` changes when, and only when, its meaning does."""

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
    digest: str = ""

    @property
    def can_sign_in(self) -> bool:
        """Whether there is anybody who may see the dashboard, or a provider that may know somebody."""
        return bool(self.users) or self.oidc is not None

    @cached_property
    def routes_by_source(self) -> dict[str, tuple[Route, ...]]:
        """The routes of each source, in the order of the file."""
        return {name: tuple(r for r in self.routes if r.source == name) for name in self.sources}
