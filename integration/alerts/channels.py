"""Sends alerts by e-mail, to Slack or to a webhook. Each send is one try; the caller retries.

A send takes at most SEND_SECONDS and follows no redirect. The errors contain no password, no URL and no
e-mail address.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from http import HTTPStatus
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
_CHECK_SERVER: Final = "Check `host`, `port` and `security` of the channel."


class ChannelError(RingbackError):
    """A channel could not be reached or did not accept a message. The text contains no secret.

    `partly` is True if some recipients accepted the message; then the caller must not send it again.
    """

    def __init__(self, why: str, *, partly: bool = False) -> None:
        super().__init__(why)
        self.partly = partly


def send(channel: Channel, message: AlertMessage, config: Config, now: datetime) -> None:
    """Send a message through a channel. Raise ChannelError. `now` is aware."""
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
    """Return the body for a Slack incoming webhook, with & < > escaped, which Slack interprets."""
    title, text = (_escaped(part) for part in (words.title, words.text))
    link = f"\n<{words.link}>" if words.link else ""
    return {"text": f"*{title}*\n{text}{link}"}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _signed(channel: WebhookChannel, message: AlertMessage, body: bytes, now: datetime) -> dict[str, str]:
    """Return the Standard Webhooks headers, only `webhook-id` if the channel has no secret.

    A retry has the same `webhook-id`.
    """
    if channel.secret is None:
        return {"webhook-id": message.id}
    return standard_headers(SignedMessage(body=body, id=message.id, url="", now=now), channel.secret)


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        with DeadlineClient(DeadlineTransport(), seconds=SEND_SECONDS) as client:
            answer = client.post(url, content=body, headers={"Content-Type": "application/json", **headers})
    except AnswerTooLongError:
        raise ChannelError("the receiver's response is too long. Check `url` of the channel.") from None
    except httpx.TransportError as error:
        raise ChannelError(f"the receiver did not respond: {error}. Check `url` of the channel.") from None
    except httpx.InvalidURL:
        raise ChannelError("`url` of the channel is not a valid URL. Correct it.") from None
    if not answer.is_success:
        busy = answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
        remedy = "Check the receiver." if busy else "Check `url` of the channel."
        raise ChannelError(f"the receiver responded with status {answer.status_code}. {remedy}")


# --- e-mail ----------------------------------------------------------------------------------


def _email(channel: EmailChannel, message: AlertMessage, words: MessageText, now: datetime) -> None:
    mail = EmailMessage()
    mail["Subject"] = words.title
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.to)
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = make_msgid(message.id, domain=channel.sender.partition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(words.whole + "\n")
    _in_time(lambda: _deliver(channel, mail))


def _in_time(work: Callable[[], None]) -> None:
    """Run `work` in a thread. Raise the ChannelError of `work`, or a ChannelError after SEND_SECONDS.

    The time-out of smtplib is not enough: it applies to each socket operation, and not to the name
    lookup.
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
        why = f"the mail server did not respond within {SEND_SECONDS:g} s"
        raise ChannelError(f"{why}. {_CHECK_SERVER}")
    if failed:
        raise failed[0]


def _deliver(channel: EmailChannel, mail: EmailMessage) -> None:
    try:
        with _connected(channel) as server:
            if channel.user is not None and channel.password is not None:
                server.login(channel.user, channel.password.get_secret_value())
            refused = server.send_message(mail)
    except smtplib.SMTPAuthenticationError as error:
        why = f"the mail server rejected the sign-in with code {error.smtp_code}"
        raise ChannelError(f"{why}. Check `user` and `password` of the channel.") from None
    except smtplib.SMTPResponseException as error:
        why = f"the mail server answered with the error code {error.smtp_code}"
        raise ChannelError(f"{why}. Look up the code in the documentation of the mail server.") from None
    except smtplib.SMTPRecipientsRefused:
        raise ChannelError("the mail server rejected all addresses. Check `to` of the channel.") from None
    except smtplib.SMTPException as error:
        why = f"the connection to the mail server failed ({type(error).__name__})"
        raise ChannelError(f"{why}. {_CHECK_SERVER}") from None
    except OSError as error:
        why = f"the mail server cannot be reached ({type(error).__name__})"
        raise ChannelError(f"{why}. {_CHECK_SERVER}") from None
    if refused:
        why = f"the mail server rejected {len(refused)} of {len(channel.to)} addresses"
        raise ChannelError(f"{why}. Check `to` of the channel.", partly=True)


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
