"""The configuration as values: what `ringback.toml` means once it has been read and found good.

Reading the file, resolving `env:` and `file:`, and naming every fault is `config_file`'s business;
these models hold the types, the defaults and the rules that concern one key alone. Every key's
`description` says in plain words what is allowed there: it is what a user reads when it is not.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import time
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Final, Literal, get_args
from urllib.parse import SplitResult, urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from integration.domain.passwords import HASH_WORDS, is_sound

GUARD_SECONDS = 2.0
LATEST_WRITE_SECONDS = 5.0

CLOCK_WORDS = 'a time of day such as "00:00"'
ZONE_WORDS = 'an IANA time zone such as "America/Bogota"'
SERVER_WORDS = 'the server as wolkvox support names it, in quotes, without "wv" and domain, such as "0003"'
NAME_WORDS = "1 to 63 letters, digits, - and _, the first a letter or a digit"
FILLED_TEXT_WORDS = "a text that is not empty"
HEADER_TEXT_WORDS = "a text of visible ASCII characters without spaces, as it travels in a header"
URL_KEY_WORDS = "at least 16 characters of A-Z a-z 0-9 . _ ~ -"
BASE_URL_WORDS = (
    "https://HOST[:PORT][/PATH] without user, query and fragment; http:// only for this machine "
    "(localhost, 127.0.0.1) or a name without dots, since the token travels in a header"
)
PUBLIC_URL_WORDS = (
    "the full https:// address as the sender signs it, without user and fragment; "
    "http:// only for this machine"
)
SITE_WORDS = "https://HOST[:PORT], the dashboard's address as a browser has it; http:// only for this machine"
ROLE_WORDS = '"viewer", "operator" or "admin"'
ROLES_WORDS = 'a table of the provider\'s groups with a role for each, such as { "callcentre" = "operator" }'
HOOK_URL_WORDS = "an https:// address without user and fragment; http:// only for this machine"
MAIL_WORDS = "an address such as operator@example.com, without a name before it"
CHANNELS_WORDS = "a list of names of alerts.channels, not empty; left out = all of them"
DIAL_FORMAT_WORDS = "a text with a hole {national} or {e164}, such as 9{national}; at most 64 characters"


Role = Literal["viewer", "operator", "admin"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that is not what its key takes.

    `place` leads to it from the table at hand (texts are keys, numbers count from 0), `allowed` says
    what would do. `found` stands in for the usual description of the value, and quotes no secret.
    """

    place: tuple[str | int, ...]
    allowed: str
    found: str | None = None


def refuse(allowed: str, found: str | None = None, *, key: str = "") -> PydanticCustomError:
    """Make the error of a value that is not `allowed`.

    `found` replaces the usual description of the value, and must not quote a secret. `key` names the
    key at fault where the error concerns a whole table.
    """
    return PydanticCustomError("refused", "{allowed}", {"allowed": allowed, "found": found, "key": key})


def _known_zone(name: object) -> ZoneInfo:
    if isinstance(name, ZoneInfo):
        return name
    try:
        return ZoneInfo(str(name))
    except (KeyError, ValueError, OSError) as error:
        close = get_close_matches(str(name), available_timezones(), n=1)
        raise refuse(f'perhaps "{close[0]}"; {ZONE_WORDS}' if close else ZONE_WORDS) from error


def _clock(value: object) -> time:
    # Pydantic alone would read 30 as thirty seconds past midnight, and "1800" as half past midnight.
    if isinstance(value, str) and re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?", value, re.ASCII):
        hour, minute, second, *_ = map(int, [*value.split(":"), "0"])
        return time(hour, minute, second)
    if isinstance(value, time) and value.tzinfo is None:
        return value.replace(microsecond=0)
    raise refuse(CLOCK_WORDS)


def _not_bool(value: object) -> object:
    # True is the number 1 to Python, and to nobody who writes a configuration.
    if isinstance(value, bool):
        raise ValueError("true and false are no numbers")  # noqa: TRY004 (pydantic reports this kind)
    return value


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str | SecretStr) else value


def _not_empty(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().strip():
        raise refuse(FILLED_TEXT_WORDS, "an empty text")
    return secret


def _fits_header(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", _not_empty(secret).get_secret_value()):
        raise refuse(HEADER_TEXT_WORDS, "a text with spaces, line ends or other characters")
    return secret


def _fits_path(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9._~-]{16,}", _not_empty(secret).get_secret_value()):
        raise refuse(URL_KEY_WORDS)
    return secret


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _address(text: str, allowed: str) -> SplitResult:
    """Read an http or https address; user names and fragments are refused, as is white space."""
    try:
        parts = urlsplit(text)
        sound = parts.port != 0
    except ValueError as error:
        raise refuse(allowed) from error
    sound = sound and parts.scheme in {"http", "https"} and bool(parts.hostname)
    if not sound or parts.fragment or "@" in parts.netloc or not re.fullmatch(r"[!-~]+", text):
        raise refuse(allowed)
    return parts


def _base_url(text: str) -> str:
    parts = _address(text, BASE_URL_WORDS)
    host = parts.hostname or ""
    # A name without dots means something only inside one network, such as a container's.
    near = _is_this_machine(host) or re.fullmatch(r"[a-z][a-z0-9_-]*", host)
    if "?" in text or "#" in text or (parts.scheme == "http" and not near):
        raise refuse(BASE_URL_WORDS)
    return text


def _public_url(text: str) -> str:
    parts = _address(text, PUBLIC_URL_WORDS)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise refuse(PUBLIC_URL_WORDS)
    return text


def _site(text: str) -> str:
    parts = _address(text, SITE_WORDS)
    if (
        parts.path.strip("/")
        or "?" in text
        or (parts.scheme == "http" and not _is_this_machine(parts.hostname or ""))
    ):
        raise refuse(SITE_WORDS)
    return text.rstrip("/")


def _password_hash(secret: SecretStr) -> SecretStr:
    if not is_sound(secret.get_secret_value()):
        raise refuse(HASH_WORDS, "another text")
    return secret


def _roles(value: object) -> object:
    if not isinstance(value, dict) or not value or not set(map(str, value.values())) <= set(get_args(Role)):
        raise refuse(ROLES_WORDS)
    return value


def _hook_url(secret: SecretStr) -> SecretStr:
    parts = _address(_not_empty(secret).get_secret_value(), HOOK_URL_WORDS)
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise refuse(HOOK_URL_WORDS)
    return secret


def _server(text: str) -> str:
    # wolkvox' own pages write the whole host, so a pasted "wv0003" would become wvwv0003.
    if not re.fullmatch(r"(?!wv\d)[A-Za-z0-9-]{1,63}", text):
        raise refuse(SERVER_WORDS)
    return text


Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
HeaderSecret = Annotated[SecretStr, AfterValidator(_fits_header)]
UrlKey = Annotated[SecretStr, AfterValidator(_fits_path)]
PasswordHash = Annotated[SecretStr, AfterValidator(_password_hash)]
Zone = Annotated[ZoneInfo, BeforeValidator(_known_zone)]
Clock = Annotated[time, BeforeValidator(_clock)]
Whole = Annotated[int, BeforeValidator(_not_bool)]
Number = Annotated[float, BeforeValidator(_not_bool), Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$", description=NAME_WORDS)]
Template = Annotated[str, Field(min_length=1)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
PublicUrl = Annotated[str, AfterValidator(_public_url)]
Site = Annotated[str, AfterValidator(_site)]
HookUrl = Annotated[SecretStr, AfterValidator(_hook_url)]
Mail = Annotated[str, Field(pattern=r"^[^\s@,;<>\"]+@[A-Za-z0-9.-]+$", max_length=254)]
Window = tuple[time, time]


class Table(BaseModel):
    """A table of the configuration: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


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
    server: Annotated[str, AfterValidator(_server)] | None = Field(
        default=None,
        description=SERVER_WORDS,
    )
    base_url: BaseUrl | None = Field(default=None, description=BASE_URL_WORDS)
    token: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    timezone: Zone = Field(description=ZONE_WORDS)
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] = Field(
        default="CO", description='a country code of two capital letters such as "CO"'
    )
    dial_format: str = Field(default="{national}", description=DIAL_FORMAT_WORDS)
    type_campaign: Literal["predictive", ""] = Field(
        default="predictive",
        description='"predictive", or "" to leave the parameter out; '
        "wolkvox takes no callbacks for preview campaigns",
    )
    timeout_seconds: Number = Field(
        default=20, gt=0, le=600, description="a number of seconds, more than 0 and at most 600"
    )
    server_limit_seconds: Number = Field(
        default=60, ge=0, le=3600, description="a number of seconds from 0 to 3600"
    )
    daily_limit: Whole | None = Field(
        default=None, ge=1, description="a whole number of calls a day, 1 or more; left out = no limit"
    )
    quota_resets_at: Clock = Field(default=time(0, 0), description=CLOCK_WORDS)
    min_lead_minutes: Whole = Field(
        default=30, ge=0, le=7 * 24 * 60, description="a whole number of minutes from 0 to 10080"
    )
    late: Literal["asap", "drop"] = Field(default="asap", description='"asap" or "drop"')
    calling_hours: CallingHours | None = Field(
        default=None, description="a preset's name or a table of windows"
    )
    mode: Literal["live", "dry-run"] = Field(default="live", description='"live" or "dry-run"')

    @model_validator(mode="after")
    def _server_or_base_url(self) -> Account:
        if (self.server is None) == (self.base_url is None):
            found = "neither server nor base_url" if self.server is None else "both server and base_url"
            raise refuse("exactly one of server and base_url", found, key="server")
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


class EmailChannel(Table):
    """Alerts by e-mail, through a server of the operator's."""

    name: Name
    kind: Literal["email"] = Field(description='"email"')
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")] = Field(description="the mail server's name")
    port: Whole = Field(default=587, ge=1, le=65535, description="a port, 1 to 65535")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description='"starttls" (port 587), "tls" (port 465) or "none"'
    )
    user: str | None = Field(default=None, min_length=1, description="the user's name; left out = no sign-in")
    password: Secret | None = Field(default=None, description=FILLED_TEXT_WORDS)
    sender: Mail = Field(description=MAIL_WORDS)
    to: Annotated[tuple[Mail, ...], BeforeValidator(_one_or_more)] = Field(
        min_length=1, description=MAIL_WORDS + "; or a list of them"
    )

    @model_validator(mode="after")
    def _user_and_password(self) -> EmailChannel:
        if (self.user is None) != (self.password is None):
            raise refuse("user and password together, or neither of them", "one of the two", key="user")
        if self.security == "none" and self.password is not None and not _is_this_machine(self.host):
            allowed = '"starttls" or "tls": a password is sent only where nobody can read it'
            raise refuse(allowed, key="security")
        return self


class SlackChannel(Table):
    """Alerts to a Slack channel, by an incoming webhook."""

    name: Name
    kind: Literal["slack"] = Field(description='"slack"')
    url: HookUrl = Field(description=HOOK_URL_WORDS)


class WebhookChannel(Table):
    """Alerts to any webhook, as JSON, signed by Standard Webhooks where there is a secret."""

    name: Name
    kind: Literal["webhook"] = Field(description='"webhook"')
    url: HookUrl = Field(description=HOOK_URL_WORDS)
    secret: Secret | None = Field(
        default=None, description='"whsec_" and base64, as the receiver has it; left out = not signed'
    )


Channel = EmailChannel | SlackChannel | WebhookChannel
CHANNEL_KINDS: Final[dict[str, type[EmailChannel | SlackChannel | WebhookChannel]]] = {
    "email": EmailChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
}


class AlertRule(Table):
    """What an operator wants to be told; which keys there are depends on `kind`."""

    channels: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] | None = Field(
        default=None, min_length=1, description=CHANNELS_WORDS
    )


class _OfAccounts(AlertRule):
    accounts: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] | None = Field(
        default=None, min_length=1, description="a list of account names, not empty; left out = all accounts"
    )


class _OfSources(AlertRule):
    sources: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] | None = Field(
        default=None, min_length=1, description="a list of source names, not empty; left out = all sources"
    )


class LaneStopped(_OfAccounts):
    """wolkvox does not take an account's token, or refuses everything: nothing is pushed."""

    kind: Literal["lane-stopped"] = Field(description='"lane-stopped"')


class OldestQueued(_OfAccounts):
    """The oldest recall that waits for its push is older than so many minutes."""

    kind: Literal["oldest-queued"] = Field(description='"oldest-queued"')
    minutes: Number = Field(default=15, gt=0, le=10080, description="a number of minutes, at most 10080")


class DeadLetters(_OfAccounts):
    """So many recalls, or more, were refused and wait for somebody."""

    kind: Literal["dead-letters"] = Field(description='"dead-letters"')
    count: Whole = Field(default=1, ge=1, description="a whole number, 1 or more")


class QuotaUsed(_OfAccounts):
    """So much of an account's daily_limit is used."""

    kind: Literal["quota-used"] = Field(description='"quota-used"')
    percent: Number = Field(default=80, gt=0, le=100, description="a number from 1 to 100")


class SourceSilent(_OfSources):
    """A source that was heard before sent nothing for so many hours."""

    kind: Literal["source-silent"] = Field(description='"source-silent"')
    hours: Number = Field(default=4, gt=0, le=720, description="a number of hours, more than 0, at most 720")
    hours_of: str | None = Field(
        default=None,
        description="an account with calling_hours: only hours inside them count; left out = all hours",
    )


class NothingVerified(_OfSources):
    """For so many minutes a source's deliveries were refused, every one."""

    kind: Literal["nothing-verified"] = Field(description='"nothing-verified"')
    minutes: Number = Field(default=15, ge=0, le=10080, description="a number of minutes, at most 10080")


class NoWorker(AlertRule):
    """No worker has been seen for so many minutes; a web tells it."""

    kind: Literal["no-worker"] = Field(description='"no-worker"')
    minutes: Number = Field(default=2, ge=0, le=10080, description="a number of minutes, at most 10080")


class DueLag(AlertRule):
    """A lane with work has waited so long for a worker."""

    kind: Literal["due-lag"] = Field(description='"due-lag"')
    seconds: Number = Field(default=30, gt=0, le=86400, description="a number of seconds, at most 86400")


Rule = (
    LaneStopped | OldestQueued | DeadLetters | QuotaUsed | SourceSilent | NothingVerified | NoWorker | DueLag
)
RULE_KINDS: Final[dict[str, type[Rule]]] = {
    "lane-stopped": LaneStopped,
    "oldest-queued": OldestQueued,
    "dead-letters": DeadLetters,
    "quota-used": QuotaUsed,
    "source-silent": SourceSilent,
    "nothing-verified": NothingVerified,
    "no-worker": NoWorker,
    "due-lag": DueLag,
}


class AlertSettings(Table):
    """Who is told of what, in which language."""

    language: Literal["en", "es"] = Field(default="en", description='"en" or "es"')
    channels: dict[str, Channel] = Field(default_factory=dict, description="tables [alerts.channels.NAME]")
    rules: tuple[Rule, ...] = Field(default=(), description="a list of tables, each headed [[alerts.rules]]")


class ApiKey(Table):
    """A caller of `/v1`. `accounts` None means all of them."""

    name: Name
    key: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    accounts: Annotated[frozenset[str], BeforeValidator(_one_or_more)] | None = Field(
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
    roles: Annotated[dict[str, Role], BeforeValidator(_roles)] = Field(description=ROLES_WORDS)


class _Source(Table):
    name: Name
    rate_per_minute: Whole | None = Field(
        default=None, ge=1, description="a whole number of requests a minute, 1 or more; left out = no limit"
    )
    event_time: Template | None = Field(
        default=None, description="a template for when the CRM says it happened; left out = the arrival"
    )
    url_key: UrlKey | None = Field(default=None, description=URL_KEY_WORDS)
    dedup_hours: Number = Field(
        default=168, gt=0, le=8784, description="a number of hours, more than 0, at most 8784"
    )


class Lookup(Table):
    """How a HubSpot contact is read before mapping."""

    token: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    properties: Annotated[tuple[Template, ...], BeforeValidator(_one_or_more)] = Field(
        min_length=1, description="a list of the contact properties to read, not empty"
    )
    base_url: BaseUrl = Field(default="https://api.hubapi.com", description=BASE_URL_WORDS)


class HubspotSource(_Source):
    """HubSpot: app subscriptions, the workflow action "Send a webhook", custom workflow actions."""

    kind: Literal["hubspot"] = Field(description='"hubspot"')
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(_one_or_more)] = Field(
        min_length=1,
        description="the app's client secret, or a list of them while rotating; none may be empty",
    )
    signatures: Annotated[tuple[Literal["v1", "v2", "v3"], ...], BeforeValidator(_one_or_more)] = Field(
        default=("v3",), min_length=1, description='a list of "v3", "v2" and "v1", not empty'
    )
    public_url: PublicUrl | None = Field(default=None, description=PUBLIC_URL_WORDS)
    lookup: Lookup | None = Field(default=None, description="a table with token and properties")


class SalesforceSource(_Source):
    """Salesforce outbound messages (SOAP)."""

    kind: Literal["salesforce"] = Field(description='"salesforce"')
    url_key: UrlKey = Field(description=URL_KEY_WORDS)
    organization_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$")] = Field(
        description="the organization's id, 15 or 18 letters and digits"
    )


class JsonSource(_Source):
    """Any system that can POST JSON or a form."""

    kind: Literal["json"] = Field(description='"json"')
    verify: Literal["standard-webhooks", "hmac-sha256", "bearer", "basic", "header", "url-key"] = Field(
        description='"standard-webhooks", "hmac-sha256", "bearer", "basic", "header" or "url-key"'
    )
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(_one_or_more)] = Field(
        default=(), description="a secret, or a list of them while rotating; none may be empty"
    )
    # The web drops headers with `_` in their name.
    header: Annotated[str, Field(pattern=r"^[!#$%&'*+.^`|~0-9A-Za-z-]+$")] | None = Field(
        default=None, description='the name of a header without "_", such as "X-Signature"'
    )
    encoding: Literal["hex", "base64"] = Field(default="hex", description='"hex" or "base64"')
    prefix: Annotated[str, Field(pattern=r"^[ -~]*$")] = Field(
        default="", description='the text before the signature, such as "sha256="'
    )
    events: Template | None = Field(
        default=None, description='an expression such as "body.items"; left out = the body is one event'
    )
    dedup_key: Template | None = Field(
        default=None,
        description="a template for what makes an event the same event; left out = the message id",
    )


Source = HubspotSource | SalesforceSource | JsonSource
SOURCE_KINDS: Final[dict[str, type[HubspotSource | SalesforceSource | JsonSource]]] = {
    "hubspot": HubspotSource,
    "salesforce": SalesforceSource,
    "json": JsonSource,
}


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
