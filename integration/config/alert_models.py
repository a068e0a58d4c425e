"""Models of the `[alerts]` tables: the channels that receive messages, and the rules of alerts."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator

from integration.domain.field_types import (
    FILLED_TEXT_WORDS,
    HOOK_URL_WORDS,
    MAIL_WORDS,
    HookUrl,
    Mail,
    Name,
    Number,
    Secret,
    Table,
    Whole,
    invalid,
    is_this_machine,
    one_or_more,
)

CHANNELS_WORDS = "a list of names of alerts.channels, not empty (default: all channels)"


class EmailChannel(Table):
    """A channel that sends alerts by e-mail through the operator's SMTP server."""

    name: Name
    kind: Literal["email"] = Field(description='"email"')
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:-]+$")] = Field(
        description="the host name of the mail server"
    )
    port: Whole = Field(default=587, ge=1, le=65535, description="a port number from 1 to 65535")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description='"starttls" (port 587), "tls" (port 465) or "none"'
    )
    user: str | None = Field(
        default=None, min_length=1, description="the user name for the mail server (default: no sign-in)"
    )
    password: Secret | None = Field(default=None, description=FILLED_TEXT_WORDS)
    sender: Mail = Field(description=MAIL_WORDS)
    to: Annotated[tuple[Mail, ...], BeforeValidator(one_or_more)] = Field(
        min_length=1, description=MAIL_WORDS + ", or a list of them"
    )

    @model_validator(mode="after")
    def _user_and_password(self) -> EmailChannel:
        if (self.user is None) != (self.password is None):
            found = "missing although password is set" if self.user is None else "set without password"
            raise invalid("both user and password, or neither", found, key="user")
        if self.security == "none" and self.password is not None and not is_this_machine(self.host):
            allowed = '"starttls" or "tls", because a password is sent only over an encrypted connection'
            raise invalid(allowed, key="security")
        return self


class SlackChannel(Table):
    """A channel that posts alerts to an incoming webhook of Slack."""

    name: Name
    kind: Literal["slack"] = Field(description='"slack"')
    url: HookUrl = Field(description=HOOK_URL_WORDS)


class WebhookChannel(Table):
    """A channel that posts alerts as JSON. With `secret`, they are signed as Standard Webhooks."""

    name: Name
    kind: Literal["webhook"] = Field(description='"webhook"')
    url: HookUrl = Field(description=HOOK_URL_WORDS)
    secret: Secret | None = Field(
        default=None, description='the receiver\'s secret: "whsec_" followed by base64 (default: not signed)'
    )


Channel = EmailChannel | SlackChannel | WebhookChannel
CHANNEL_KINDS: Final[dict[str, type[EmailChannel | SlackChannel | WebhookChannel]]] = {
    "email": EmailChannel,
    "slack": SlackChannel,
    "webhook": WebhookChannel,
}


class AlertRule(Table):
    """Base class of the alert rules. A rule begins an alert when its condition is true.

    `channels` are the names of the channels that receive the messages, None for all channels.
    """

    channels: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] | None = Field(
        default=None, min_length=1, description=CHANNELS_WORDS
    )


class _OfAccounts(AlertRule):
    accounts: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] | None = Field(
        default=None, min_length=1, description="a list of account names, not empty (default: all accounts)"
    )


class _OfSources(AlertRule):
    sources: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] | None = Field(
        default=None, min_length=1, description="a list of source names, not empty (default: all sources)"
    )


class QueueStopped(_OfAccounts):
    """Rule: the queue of an account is stopped, for example because wolkvox rejects the token."""

    kind: Literal["queue-stopped"] = Field(description='"queue-stopped"')


class OldestQueued(_OfAccounts):
    """Rule: the oldest queued recall of an account has been queued for more than `minutes`."""

    kind: Literal["oldest-queued"] = Field(description='"oldest-queued"')
    minutes: Number = Field(
        default=15, gt=0, le=10080, description="a number of minutes, more than 0 and at most 10080"
    )


class DeadLetters(_OfAccounts):
    """Rule: at least `count` recalls of an account are dead."""

    kind: Literal["dead-letters"] = Field(description='"dead-letters"')
    count: Whole = Field(default=1, ge=1, description="a whole number, 1 or more")


class QuotaUsed(_OfAccounts):
    """Rule: at least `percent` of an account's `daily_limit` is used."""

    kind: Literal["quota-used"] = Field(description='"quota-used"')
    percent: Number = Field(default=80, gt=0, le=100, description="a number, more than 0 and at most 100")


class SourceSilent(_OfSources):
    """Rule: no delivery of a source has been accepted for `hours`.

    A source without an accepted delivery begins no alert. With `hours_of`, only the calling hours of that
    account count.
    """

    kind: Literal["source-silent"] = Field(description='"source-silent"')
    hours: Number = Field(
        default=4, gt=0, le=720, description="a number of hours, more than 0 and at most 720"
    )
    hours_of: str | None = Field(
        default=None,
        description="an account with calling_hours, to count only those hours (default: all hours)",
    )


class NothingVerified(_OfSources):
    """Rule: every delivery of a source has been rejected for `minutes`, the last one within 24 hours."""

    kind: Literal["nothing-verified"] = Field(description='"nothing-verified"')
    minutes: Number = Field(default=15, ge=0, le=10080, description="a number of minutes from 0 to 10080")


class DeliveriesLost(_OfSources):
    """Rule: deliveries of a source with `resends = false` were not stored in the last `minutes`."""

    kind: Literal["deliveries-lost"] = Field(description='"deliveries-lost"')
    minutes: Number = Field(
        default=60, gt=0, le=1440, description="a number of minutes, more than 0 and at most 1440"
    )


class LookupsFailing(_OfSources):
    """Rule: the lookups of a source have failed for `minutes`, and events wait for them."""

    kind: Literal["lookups-failing"] = Field(description='"lookups-failing"')
    minutes: Number = Field(default=5, ge=0, le=10080, description="a number of minutes from 0 to 10080")


class NoWorker(AlertRule):
    """Rule: no worker has sent a heartbeat for `minutes`. A web process evaluates this rule."""

    kind: Literal["no-worker"] = Field(description='"no-worker"')
    minutes: Number = Field(default=2, ge=0, le=10080, description="a number of minutes from 0 to 10080")


class DueLag(AlertRule):
    """Rule: a due queue has waited for a worker for `seconds`."""

    kind: Literal["due-lag"] = Field(description='"due-lag"')
    seconds: Number = Field(
        default=30, gt=0, le=86400, description="a number of seconds, more than 0 and at most 86400"
    )


Rule = (
    QueueStopped
    | OldestQueued
    | DeadLetters
    | QuotaUsed
    | SourceSilent
    | NothingVerified
    | DeliveriesLost
    | LookupsFailing
    | NoWorker
    | DueLag
)
RULE_KINDS: Final[dict[str, type[Rule]]] = {
    "queue-stopped": QueueStopped,
    "oldest-queued": OldestQueued,
    "dead-letters": DeadLetters,
    "quota-used": QuotaUsed,
    "source-silent": SourceSilent,
    "nothing-verified": NothingVerified,
    "deliveries-lost": DeliveriesLost,
    "lookups-failing": LookupsFailing,
    "no-worker": NoWorker,
    "due-lag": DueLag,
}


class AlertSettings(Table):
    """The `[alerts]` table: the channels, the rules, and the language of the messages."""

    language: Literal["en", "es", "pt_BR"] = Field(default="en", description='"en", "es" or "pt_BR"')
    channels: dict[str, Channel] = Field(default_factory=dict, description="tables [alerts.channels.NAME]")
    rules: tuple[Rule, ...] = Field(default=(), description="a list of tables, each headed [[alerts.rules]]")
