"""`ringback alerts`: shows current alerts and unsent messages, and sends test messages."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from integration.alerts.channels import ChannelError, send
from integration.alerts.messages import text_of
from integration.alerts.rules import rule_label
from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_cli_context,
    unknown,
)
from integration.domain.errors import NotFoundError, RingbackError
from integration.domain.timestamps import iso_seconds
from integration.store.monitoring.alerts import AlertMessage

if TYPE_CHECKING:
    from datetime import tzinfo

    from integration.store.monitoring.alerts import Alert, Backlog

COLUMNS = ("kind", "subject", "since", "sent", "alert")
ALL = "all channels"


@click.command(cls=AsWritten)
@click.option(
    "--test",
    "channel",
    is_flag=False,
    flag_value=ALL,
    metavar="[CHANNEL]",
    help="Send a test message to CHANNEL. Default: to every channel.",
)
@config_option
@json_option
@pass_cli_context
def alerts(context: CliContext, channel: str | None, *, as_json: bool) -> None:
    """Show current alerts, or send test messages.

    Ringback evaluates the rules every 10 seconds. It sends one message when an alert begins, and one when
    the alert ends, a minute after its cause has ended.

    Example:
      ringback alerts                 current alerts
      ringback alerts --test          send a test message to every channel
      ringback alerts --test oncall   send it to one channel
    """
    if channel is None:
        _show(context, as_json=as_json)
    else:
        _test(context, channel, as_json=as_json)


def _show(context: CliContext, *, as_json: bool) -> None:
    settings = context.config.alerts
    holding = context.services.alerts.holding()
    waiting = context.services.alerts.waiting(settings.channels)
    if as_json:
        rules = [rule_label(rule) for rule in settings.rules]
        channels = {name: _waiting_fields(found) for name, found in waiting.items()}
        report = {"rules": rules, "items": [_fields(alert) for alert in holding], "channels": channels}
        output.as_json(report)
        return
    # Alerts may exist without rules: see `integration.alerts.rules.matching_rules`.
    if holding:
        output.table(COLUMNS, (_row(alert, context.zone_of()) for alert in holding))
    elif settings.rules:
        output.line(f"No alerts. {output.counted(len(settings.rules), 'rules')} checked.")
    else:
        output.line("No alert rules are configured. Add tables [[alerts.rules]] to ringback.toml.")
    for name, found in waiting.items():
        if found.messages:
            trouble = f": {found.trouble}" if found.trouble else ""
            output.line(f"channel {name}: {output.counted(found.messages, 'messages')} not sent{trouble}")


def _row(alert: Alert, zone: tzinfo) -> tuple[object, ...]:
    sent = "no, not active long enough" if not alert.on else "yes"
    title, text = text_of(alert.kind, alert.subject, alert.values, "en")
    return alert.kind, alert.subject, output.moment(alert.since, zone), sent, f"{title}. {text}"


def _fields(alert: Alert) -> dict[str, Any]:
    return {
        "kind": alert.kind,
        "subject": alert.subject,
        "since": iso_seconds(alert.since),
        "sent": alert.on,
        "channels": sorted(alert.channels),
        "values": dict(alert.values),
    }


def _waiting_fields(found: Backlog) -> dict[str, Any]:
    return {"messages": found.messages, "tries": found.tries, "trouble": found.trouble}


def _test(context: CliContext, name: str, *, as_json: bool) -> None:
    channels = context.config.alerts.channels
    if name != ALL and name not in channels:
        raise NotFoundError(unknown("channel", name, channels))
    names = list(channels) if name == ALL else [name]
    if not names:
        raise RingbackError("no channel is configured. Add a table [alerts.channels.NAME] to ringback.toml.")
    outcomes = {each: _send_test(context, each) for each in names}
    if as_json:
        output.as_json({each: why or "sent" for each, why in outcomes.items()})
    else:
        for each, why in outcomes.items():
            output.line(f"{each}: {why or 'sent'}")
    if any(outcomes.values()):
        click.get_current_context().exit(1)


def _send_test(context: CliContext, name: str) -> str | None:
    """Send a test message. Return the error text, or None if it was sent."""
    now = datetime.now(UTC)
    message = AlertMessage(
        id=f"alert_test_{secrets.token_hex(8)}", phase="test", kind="test", subject="", since=now, at=now
    )
    try:
        send(context.config.alerts.channels[name], message, context.config, now)
    except ChannelError as error:
        return f"not sent: {error}"
    return None
