"""Sends alerts by e-mail, to Slack or to a webhook. Each send is one try; the caller handles failures.

A send takes at most SEND_SECONDS and follows no redirect. Its errors contain no address and no password.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

from integration.alerts.messages import message_text
from integration.clients.deadline_transport import AnswerTooLongError, DeadlineClient, DeadlineTransport
from integration.config.alert_models import EmailChannel, SlackChannel, WebhookChannel
from integration.domain.errors import RingbackError
from integration.webhooks.providers.schemes import standard_headers
from integration.webhooks.providers.signatures import SignedMessage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from integration.alerts.messages import MessageText
    from integration.config.alert_models import Channel
    from integration.config.models import Config
    from integration.store.monitoring.alerts import AlertMessage

SEND_SECONDS: Final = 10.0


class ChannelError(RingbackError):
    """A channel did not accept a message. The text says why and contains no secret.

    `partly`: some receivers have accepted it, so that it must not be sent again.
    """

    def __init__(self, why: str, *, partly: bool = False) -> None:
        super().__init__(why)
        self.partly = partly


def send(channel: Channel, message: AlertMessage, config: Config, now: datetime) -> None:
    """Send a message through a channel. Raise ChannelError."""
    words = message_text(message, config)
    match channel:
        case EmailChannel():
            _email(channel, message, words, now)
        case SlackChannel():
            _post(channel.url.get_secret_value(), orjson.dumps(_slack(words)), {})
        case WebhookChannel():
            body = orjson.dumps({**message.to_fields(), **_fields(words)})
            _post(channel.url.get_secret_value(), body, _signed(channel, message, body, now))


# --- HTTP ------------------------------------------------------------------------------------


def _fields(words: MessageText) -> dict[str, Any]:
    return {"title": words.title, "text": words.text, "link": words.link}


def _slack(words: MessageText) -> dict[str, Any]:
    """Return the body for a Slack incoming webhook. Slack interprets & < >, so they are escaped."""
    title, text = (_escaped(part) for part in (words.title, words.text))
    link = f"\n<{words.link}>" if words.link else ""
    return {"text": f"*{title}*\n{text}{link}"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _signed(channel: WebhookChannel, message: AlertMessage, body: bytes, now: datetime) -> dict[str, str]:
    """Return the Standard Webhooks headers. The id is the same when a message is sent again."""
    if channel.secret is None:
        return {"webhook-id": message.id}
    return standard_headers(SignedMessage(body=body, id=message.id, url="", now=now), channel.secret)


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        with DeadlineClient(DeadlineTransport(), seconds=SEND_SECONDS) as client:
            answer = client.post(url, content=body, headers={"Content-Type": "application/json", **headers})
    except AnswerTooLongError:
        raise ChannelError("the receiver's answer is too long; check the channel's `url`") from None
    except httpx.TransportError as error:
        raise ChannelError(f"the receiver did not answer: {error}") from None
    except httpx.InvalidURL:
        raise ChannelError("the channel's `url` is invalid; correct it") from None
    if not answer.is_success:
        raise ChannelError(f"the receiver answered {answer.status_code}; check the channel's `url`")


# --- e-mail ----------------------------------------------------------------------------------


def _email(channel: EmailChannel, message: AlertMessage, words: MessageText, now: datetime) -> None:
    mail = EmailMessage()
    mail["Subject"] = words.title
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.to)
    mail["Date"] = format_datetime(now)
    mail["AlertMessage-ID"] = make_msgid(message.id, domain=channel.sender.partition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(words.whole + "\n")
    _in_time(lambda: _deliver(channel, mail))


def _in_time(work: Callable[[], None]) -> None:
    """Run `work` in a thread for at most SEND_SECONDS. Raise ChannelError.

    smtplib restarts its time-out with every read, and has none for the name lookup.
    """
    failed: list[ChannelError] = []

    def run() -> None:
        try:
            work()
        except ChannelError as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="mail")
    thread.start()
    thread.join(SEND_SECONDS)
    if thread.is_alive():
        raise ChannelError("the mail server did not answer in time")
    if failed:
        raise failed[0]


def _deliver(channel: EmailChannel, mail: EmailMessage) -> None:
    try:
        with _connected(channel) as server:
            if channel.user is not None and channel.password is not None:
                server.login(channel.user, channel.password.get_secret_value())
            refused = server.send_message(mail)
    except smtplib.SMTPResponseException as error:
        raise ChannelError(f"the mail server answered {error.smtp_code}") from None
    except smtplib.SMTPException as error:
        raise ChannelError(f"the mail server failed: {type(error).__name__}") from None
    except (OSError, ssl.SSLError) as error:
        raise ChannelError(f"the mail server does not answer: {type(error).__name__}") from None
    if refused:
        why = f"the mail server refused {len(refused)} of {len(channel.to)} addresses"
        raise ChannelError(why, partly=True)


def _connected(channel: EmailChannel) -> smtplib.SMTP:
    trusted = ssl.create_default_context()
    local = socket.gethostname() or "localhost"
    connect: Callable[[], smtplib.SMTP] = (
        (lambda: smtplib.SMTP_SSL(channel.host, channel.port, local, timeout=SEND_SECONDS, context=trusted))
        if channel.security == "tls"
        else (lambda: smtplib.SMTP(channel.host, channel.port, local, timeout=SEND_SECONDS))
    )
    server = connect()
    if channel.security == "starttls":
        try:
            server.starttls(context=trusted)
        except (smtplib.SMTPException, OSError):
            server.close()
            raise
    return server
