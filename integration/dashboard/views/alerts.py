"""The page of alerts: rules, current and past alerts, and test messages to channels."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import url_for
from flask_babel import gettext as _

from integration.alerts.channels import ChannelError, send
from integration.alerts.messages import link_to
from integration.alerts.rules import of_rule, rule_label
from integration.config.models import zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting.account_labels import alert_label
from integration.dashboard.presenting.labels import label_for
from integration.dashboard.responses import back_to, flash_message, note, page
from integration.domain.errors import NotFoundError
from integration.store.monitoring.alerts import AlertMessage

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.config.alert_models import Rule
    from integration.services.container import Services
    from integration.store.monitoring.alerts import Alert


@dataclass(frozen=True, slots=True)
class AlertRow:
    """An alert with its texts in the user's language, and the path of the page about it."""

    alert: Alert
    title: str
    text: str
    link: str


@dataclass(frozen=True, slots=True)
class RuleRow:
    """An alert rule as text, with its channels and its active alerts."""

    words: str
    channels: tuple[str, ...]
    holding: tuple[AlertRow, ...]


@signed_in
def alerts(services: Services) -> Response:
    """Show the rules, the active and past alerts, and the channels."""
    settings = services.config.alerts
    holding = [_alert_row(alert) for alert in services.alerts.holding() if alert.on]
    return page(
        "alerts.html",
        rules=[_rule_row(rule, tuple(settings.channels), holding) for rule in settings.rules],
        holding=holding,
        past=[_alert_row(alert) for alert in services.alerts.past()],
        channels=sorted(settings.channels.values(), key=lambda channel: channel.name),
        waiting=services.alerts.waiting(settings.channels),
        zone=zone_of(services.config),
    )


def _rule_row(rule: Rule, all_channels: tuple[str, ...], holding: list[AlertRow]) -> RuleRow:
    held = tuple(row for row in holding if of_rule(rule, row.alert.key))
    return RuleRow(rule_label(rule), rule.channels or all_channels, held)


def _alert_row(alert: Alert) -> AlertRow:
    title, text = alert_label(alert)
    return AlertRow(alert, title, text, link_to(alert.kind, alert.subject, "") or "/")


@role("operator")
def try_channel(services: Services, name: str) -> ResponseReturnValue:
    """Send a test message through a channel. Raise NotFoundError for an unknown channel."""
    channel = services.config.alerts.channels.get(name)
    if channel is None:
        raise NotFoundError("no such channel")
    now = datetime.now(UTC)
    message = AlertMessage(
        id=f"alert_test_{secrets.token_hex(8)}", phase="test", kind="test", subject="", since=now, at=now
    )
    note(services, "test alert", f"channel:{name}")
    try:
        send(channel, message, services.config, now)
    except ChannelError as error:
        text = _(
            "The test message to %(channel)s was not sent: %(why)s", channel=name, why=label_for(str(error))
        )
        flash_message(text, "refused")
    else:
        flash_message(_("Sent to %(channel)s. Check that the message has arrived.", channel=name))
    return back_to(url_for("dashboard.alerts"))


VIEWS = (
    ("GET /alerts", alerts),
    ("POST /alerts/<name>/test", try_channel),
)
