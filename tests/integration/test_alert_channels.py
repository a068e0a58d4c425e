"""Alerts on their way: real receivers on loopback, what they get, and what a failure says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks.webhooks import Webhook

from integration.alerts import channels
from integration.alerts.channels import ChannelError, send
from integration.alerts.messages import _MANY, _OVER, _REFUSED_LOOKUPS, _WORDS, message_text, text_of
from integration.alerts.problems import KINDS
from integration.alerts.rules import PENDING_KIND, STORE_UNSAFE_KIND
from integration.config.alert_models import (
    RULE_KINDS,
    AlertSettings,
    EmailChannel,
    SlackChannel,
    WebhookChannel,
)
from integration.config.models import Config, DashboardSettings
from integration.dashboard.language import LANGUAGES
from integration.store.monitoring.alerts import AlertMessage
from integration.telemetry.redaction import masked
from support.alert_receivers import HttpReceiver, MailServer, dripping, running

NOW = datetime(2026, 11, 25, 15, 30, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENGLISH = Config(dashboard=DashboardSettings(public_url="https://ringback.example.com/"))
SPANISH = Config(alerts=AlertSettings(language="es"))
PORTUGUESE = Config(alerts=AlertSettings(language="pt_BR"))


def message(phase="begins", kind="queue-stopped", subject="bogota", **values):
    told = {"reason": "wolkvox rejects the token", "queued": 7, **values}
    return AlertMessage(
        id="alert_1",
        phase=phase,
        kind=kind,
        subject=subject,
        since=NOW - timedelta(minutes=75),
        at=NOW,
        values=told,
    )


def mail_channel(server, **more):
    fields = {
        "security": "none",
        "sender": "ringback@example.com",
        "to": ["ana@example.com", "li@example.com"],
    }
    return EmailChannel(name="m", kind="email", host="127.0.0.1", port=server.port, **{**fields, **more})


STOPPED_TEXT = (
    "wolkvox rejects the token. Waiting recalls: 7. Fix the cause, then run: ringback resume bogota"
)

# --- words -------------------------------------------------------------------------------------


def test_every_kind_of_alert_has_its_words_in_every_language():
    placeholders = {kind: sorted(re.findall(r"{\w+}", "".join(pair))) for kind, pair in _WORDS["en"].items()}
    for others in (_MANY, _OVER, _REFUSED_LOOKUPS):
        assert set(others) == set(LANGUAGES)
    for language in LANGUAGES:
        assert set(_WORDS[language]) == {*KINDS, "test"}
        for kind, pair in _WORDS[language].items():
            assert sorted(re.findall(r"{\w+}", "".join(pair))) == placeholders[kind]
        assert AlertSettings(language=language).language == language
    assert {*RULE_KINDS, PENDING_KIND, STORE_UNSAFE_KIND} <= set(KINDS)


def test_an_alert_that_begins_is_told_with_its_reason_and_the_page_about_it():
    words = message_text(message(), ENGLISH)
    assert words.title == "Ringback: Account bogota is stopped"
    assert words.text == STOPPED_TEXT
    assert words.link == "https://ringback.example.com/accounts/bogota"


def test_one_that_is_over_says_how_long_it_lasted():
    words = message_text(message("is over"), SPANISH)
    assert words.title == "Ringback: Resuelto: La cuenta bogota está detenida"
    assert (words.text, words.link) == ("La alerta duró 1 h 15 min.", None)
    words = message_text(message("is over"), PORTUGUESE)
    assert words.title == "Ringback: Resolvido: A conta bogota está parada"
    assert words.text == "O alerta durou 1 h 15 min."


@pytest.mark.parametrize(
    "value", ["customer 80123456 +57 300 111 2233", "cedula 52-77181", "a\r\nBcc: x@y.co"]
)
def test_no_number_of_a_customer_and_no_line_end_is_in_a_message(value):
    text = masked(value)
    assert not [part for part in text.split() if sum(map(str.isdigit, part)) > 4]
    assert "\n" not in text
    assert text in text_of("queue-stopped", "bogota", {"reason": value, "queued": 1}, "en")[1]


def test_a_message_comes_back_from_the_store_as_it_was():
    assert AlertMessage.from_fields(message().to_fields()) == message()


# --- HTTP --------------------------------------------------------------------------------------


def test_slack_gets_one_text_in_which_nothing_is_markup_of_a_stranger():
    with running(HttpReceiver()) as receiver:
        channel = SlackChannel(name="chat", kind="slack", url=receiver.url)
        send(channel, message(reason="<!channel> & <https://evil.example|here>"), ENGLISH, NOW)
    (body,) = receiver.bodies()
    assert body["text"].startswith("*Ringback: Account bogota is stopped*\n&lt;!channel&gt; &amp; &lt;https:")
    assert body["text"].endswith("\n<https://ringback.example.com/accounts/bogota>")


def test_a_webhook_is_signed_so_that_the_library_of_standard_webhooks_takes_it():
    now = datetime.now(UTC)
    with running(HttpReceiver()) as receiver:
        channel = WebhookChannel(name="pager", kind="webhook", url=receiver.url, secret=SECRET)
        send(channel, message(), ENGLISH, now)
    ((headers, body),) = receiver.posts
    verified = Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    assert (verified["phase"], verified["kind"], verified["subject"]) == ("begins", "queue-stopped", "bogota")
    assert verified["values"]["queued"] == 7
    assert verified["since"] == "2026-11-25T14:15:00+00:00"
    assert verified["title"] == "Ringback: Account bogota is stopped"


def test_a_webhook_without_a_secret_is_not_signed():
    with running(HttpReceiver()) as receiver:
        send(WebhookChannel(name="p", kind="webhook", url=receiver.url), message(), ENGLISH, NOW)
    ((headers, body),) = receiver.posts
    names = {name.lower() for name in headers}
    assert "webhook-id" in names
    assert "webhook-signature" not in names
    assert json.loads(body)["id"] == "alert_1"


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (302, "Check `url` of the channel."),
        (404, "Check `url` of the channel."),
        (429, "Check the receiver."),
        (500, "Check the receiver."),
    ],
)
def test_an_answer_that_is_no_success_is_a_failure_that_names_no_address(status, remedy):
    with running(HttpReceiver()) as receiver:
        receiver.answers = [status]
        with pytest.raises(ChannelError) as caught:
            send(SlackChannel(name="c", kind="slack", url=receiver.url), message(), ENGLISH, NOW)
    assert str(caught.value) == f"the receiver responded with status {status}. {remedy}"
    assert receiver.posts == []


def test_nobody_who_answers_is_a_failure_that_names_no_address():
    with running(HttpReceiver()) as receiver:
        channel = SlackChannel(name="c", kind="slack", url=receiver.url)
    with pytest.raises(ChannelError) as caught:
        send(channel, message(), ENGLISH, NOW)
    assert "secretpart" not in str(caught.value)


def test_a_receiver_that_drips_its_answer_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(channels, "SEND_SECONDS", 0.4)
    with dripping() as port, pytest.raises(ChannelError, match="no complete answer in time"):
        send(SlackChannel(name="c", kind="slack", url=f"http://127.0.0.1:{port}/"), message(), ENGLISH, NOW)


def test_a_mail_server_that_drips_its_greeting_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(channels, "SEND_SECONDS", 0.4)
    channel = EmailChannel(
        name="m", kind="email", host="127.0.0.1", port=1, security="none", sender="a@b.co", to=["c@d.co"]
    )
    with dripping(b"220 ") as port, pytest.raises(ChannelError, match="did not respond within"):
        send(channel.model_copy(update={"port": port}), message(), ENGLISH, NOW)


# --- e-mail ------------------------------------------------------------------------------------


def test_a_mail_reaches_everybody_with_title_text_and_link(tmp_path):
    with running(MailServer(tmp_path)) as server:
        send(mail_channel(server), message(), ENGLISH, NOW)
    ((to, mail, secure),) = server.mails
    assert (to, secure) == (("ana@example.com", "li@example.com"), False)
    assert mail["Subject"] == "Ringback: Account bogota is stopped"
    assert mail["From"] == "ringback@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail.get_content().splitlines() == [
        STOPPED_TEXT,
        "https://ringback.example.com/accounts/bogota",
    ]


def test_spanish_signs_arrive_as_they_are(tmp_path):
    with running(MailServer(tmp_path)) as server:
        send(mail_channel(server), message(), SPANISH, NOW)
    ((_, mail, _),) = server.mails
    assert mail["Subject"] == "Ringback: La cuenta bogota está detenida"


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_encrypted_and_signed_in(tmp_path, monkeypatch, security):
    how = {"tls": security == "tls", "starttls": security == "starttls"}
    with running(MailServer(tmp_path, login=("ringback", "word"), **how)) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        channel = mail_channel(server, security=security, user="ringback", password="word")
        send(channel, message(), ENGLISH, NOW)
    ((_, _, secure),) = server.mails
    assert secure


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_that_nobody_vouches_for_gets_no_password(tmp_path, security):
    how = {"tls": security == "tls", "starttls": security == "starttls"}
    with running(MailServer(tmp_path, login=("ringback", "word"), **how)) as server:
        channel = mail_channel(server, security=security, user="ringback", password="word")
        with pytest.raises(ChannelError, match="cannot be reached"):
            send(channel, message(), ENGLISH, NOW)
    assert server.mails == []


def test_a_server_that_offers_no_encryption_gets_no_mail(tmp_path):
    with running(MailServer(tmp_path)) as server, pytest.raises(ChannelError):
        send(mail_channel(server, security="starttls"), message(), ENGLISH, NOW)
    assert server.mails == []


def test_a_wrong_password_is_a_failure_that_does_not_say_it(tmp_path):
    with running(MailServer(tmp_path, login=("ringback", "word"))) as server:
        channel = mail_channel(server, user="ringback", password="another")
        with pytest.raises(ChannelError) as caught:
            send(channel, message(), ENGLISH, NOW)
    assert str(caught.value) == (
        "the mail server rejected the sign-in with code 535. Check `user` and `password` of the channel."
    )


def test_one_address_that_is_refused_is_told(tmp_path):
    with running(MailServer(tmp_path)) as server:
        server.refuse = ("li@example.com",)
        with pytest.raises(ChannelError, match="rejected 1 of 2") as caught:
            send(mail_channel(server), message(), ENGLISH, NOW)
    assert caught.value.partly
    assert [to for to, _, _ in server.mails] == [("ana@example.com",)]


def test_a_mail_that_is_not_taken_is_a_failure(tmp_path):
    with running(MailServer(tmp_path)) as server:
        server.refuse_data = True
        with pytest.raises(ChannelError, match="451"):
            send(mail_channel(server), message(), ENGLISH, NOW)
