"""The pages of sources and alerts: address, set-up with the real values, live state, alarm, test of channels."""

from __future__ import annotations

import html
import itertools
import os
import re
import shutil
import subprocess
import threading
import tomllib
from datetime import UTC, datetime, timedelta

import pytest
from werkzeug.serving import make_server
from werkzeug.test import Client

from integration.alerts.lifecycle import next_steps
from integration.alerts.monitor import AlertMonitor
from integration.app import UNKNOWN_RECEIVER, compose
from integration.config.environment import hooks_url, served_applications
from integration.config.source_models import JsonSource
from integration.dashboard.presenting import setup
from integration.domain.errors import ConfigError
from integration.local.stack import dashboard_environment
from integration.webhooks.providers.schemes import SCHEMES
from support import ENVIRON, SOURCES_AND_ROUTES, NoRates, make_services, two_accounts
from support.alert_receivers import HttpReceiver, running
from support.dashboard_client import Pages, SignedIn, text_of
from support.reporters import SilentReporter

SITE = '\n[dashboard]\npublic_url = "https://ringback.example.com"\n'
TEXT = two_accounts() + SOURCES_AND_ROUTES


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, TEXT + SITE)


def count_delivery(services, source, result):
    services.counters.delivery(source, result)
    services.counter_flusher.flush()


# --- the list ----------------------------------------------------------------------------------


def test_each_source_shows_whether_it_is_heard(services):
    count_delivery(services, "forms", "admitted")
    count_delivery(services, "hubspot", "not verified")
    text = text_of(Pages(services).get("/sources"))
    assert text.index("hubspot") < text.index("salesforce") < text.index("forms"), (
        "who needs a look comes first"
    )
    assert "every delivery is rejected" in text
    assert "waiting for the first event" in text
    assert " receiving " in text


def test_a_source_that_waits_goes_live_when_its_first_event_comes(services):
    pages = Pages(services)
    assert "Waiting for the first event" in text_of(pages.get("/sources/forms"))
    count_delivery(services, "forms", "admitted")
    text = text_of(pages.get("/sources/forms"))
    assert "Waiting for the first event" not in text
    assert "Accepted 1" not in text or "receiving" in text
    assert 'id="receiving"' in pages.get("/sources/forms").text, "it is asked for again while it is seen"


def test_refusals_are_counted_and_lead_to_their_reasons(services):
    for _ in range(3):
        count_delivery(services, "hubspot", "not verified")
    page = Pages(services).get("/sources/hubspot")
    assert "3 deliveries were rejected, and none was accepted, since" in text_of(page)
    assert "/deliveries?source=hubspot&amp;result=refused" in page.text


def test_an_unknown_source_is_a_page_that_says_so(services):
    assert Pages(services).get("/sources/nobody").status_code == 404


# --- address -----------------------------------------------------------------------------------


def test_the_key_of_an_address_is_masked_until_an_operator_reveals_it_and_that_is_noted(services):
    pages = Pages(services)
    page = pages.get("/sources/salesforce")
    assert ENVIRON["URL_KEY"] not in page.text
    assert "https://ringback.example.com/hooks/salesforce/••••" in page.text
    revealed = pages.post("/sources/salesforce/reveal", htmx=True)
    assert f"https://ringback.example.com/hooks/salesforce/{ENVIRON['URL_KEY']}" in revealed.text
    (entry,), _ = services.audit.page()
    assert (entry.who, entry.what, entry.about) == ("ana", "reveal", ("source:salesforce",))


def test_a_viewer_reveals_nothing(services):
    pages = Pages(services, "viewer")
    assert "Reveal" not in text_of(pages.get("/sources/salesforce"))
    assert pages.post("/sources/salesforce/reveal").status_code == 403


def test_the_address_is_the_one_that_hubspot_signs_where_it_is_configured(tmp_path, store):
    text = TEXT.replace(
        'kind = "hubspot"', 'kind = "hubspot"\npublic_url = "https://hooks.example.com/hooks/hubspot"'
    )
    assert (
        "https://hooks.example.com/hooks/hubspot"
        in Pages(make_services(tmp_path, store, text)).get("/sources/hubspot").text
    )


@pytest.mark.parametrize("name", ["hubspot", "salesforce", "forms"])
def test_a_dashboard_in_a_process_of_its_own_shows_the_address_of_the_receiver(tmp_path, store, name):
    environ = dashboard_environment({}, receiver_port=18080)
    services = make_services(tmp_path, store, TEXT)
    served = {"served": served_applications(environ), "receiver_url": hooks_url(environ)}
    client = Client(compose(services, NoRates(), SignedIn(), **served))
    page = client.get(f"/sources/{name}", base_url="http://127.0.0.1:18081")
    assert f"http://127.0.0.1:18080/hooks/{name}" in page.text
    assert "18081/hooks" not in page.text


def test_a_dashboard_that_does_not_know_the_receiver_shows_no_address_of_its_own(tmp_path, store):
    web = compose(make_services(tmp_path, store, TEXT), NoRates(), SignedIn(), frozenset({"dashboard"}))
    page = Client(web).get("/sources/forms", base_url="http://127.0.0.1:18081")
    assert f"{UNKNOWN_RECEIVER}/hooks/forms" in page.text
    assert "18081/hooks" not in page.text


def test_a_given_address_of_the_receiver_is_used():
    given = {"RINGBACK_HOOKS_URL": "https://hooks.example.com"}
    assert hooks_url(dashboard_environment(given, receiver_port=18080)) == "https://hooks.example.com"


@pytest.mark.parametrize(
    "text", ["hooks.example.com", "ftp://a", "https://u:p@a", "https://a/hooks", "https://"]
)
def test_an_address_of_the_receiver_that_is_none_is_a_fault(text):
    with pytest.raises(ConfigError, match="RINGBACK_HOOKS_URL"):
        hooks_url({"RINGBACK_HOOKS_URL": text})


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
@pytest.mark.parametrize("name", ["hubspot", "salesforce", "forms"])
def test_no_page_holds_a_secret(services, role, name):
    text = Pages(services, role).get(f"/sources/{name}").text
    for secret in ENVIRON.values():
        assert secret not in text


# --- how it is set up --------------------------------------------------------------------------


def test_hubspots_steps_name_the_properties_and_fields_of_the_routes(services):
    text = text_of(Pages(services).get("/sources/hubspot"))
    assert "property callback_at" in text
    assert "signatures must name v2" in text
    assert "add a lookup" in text


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        (
            "en",
            [
                "Project app with webhooks",
                "Send a webhook",
                "Schedule a callback",
                "Existing legacy private app",
            ],
        ),
        (
            "es",
            [
                "App de proyecto con webhooks",
                "Enviar un webhook",
                "Schedule a callback",
                "App privada heredada",
            ],
        ),
    ],
)
def test_hubspots_four_ways_and_its_drop_downs_are_on_the_page(tmp_path, store, language, texts):
    route = """[[routes]]
name = "workflow"
source = "hubspot"
account = "{{ event.inputFields.operation }}"
accounts = ["bogota"]
when = "event.inputFields"
campaign_id = "1"
customer_id = "{{ event.inputFields.customer }}"
recall_telephone = "3001112233"
recall_date = "{{ event.inputFields.date }}"
"""
    url = "https://hooks.example.com/hooks/hubspot"
    text = two_accounts() + SOURCES_AND_ROUTES.replace(
        'kind = "hubspot"', f'kind = "hubspot"\npublic_url = "{url}"'
    )
    page = text_of(
        Pages(make_services(tmp_path, store, text + route), language=language).get("/sources/hubspot")
    )
    assert [each for each in texts if each not in page] == []
    assert f"{url}/options" in page
    assert {"en": "Drop-downs: operation", "es": "Listas desplegables: operation"}[language] in page


def test_salesforces_steps_name_fields_and_organization(services):
    text = text_of(Pages(services).get("/sources/salesforce"))
    assert "Wolkvox_Campaign__c , Id , MobilePhone , Callback_At__c" in text
    assert "00Dxx0000000000EAA" in text


@pytest.mark.parametrize("name", ["hubspot", "salesforce", "forms"])
@pytest.mark.parametrize(("language", "title"), [("es", "Cómo configurarlo"), ("pt", "Como configurar")])
def test_every_language_has_every_step(services, name, language, title):
    page = Pages(services, language=language).get(f"/sources/{name}").text
    assert title in page
    assert "How to set it up" not in page


@pytest.mark.parametrize(
    ("language", "step", "other"),
    [
        ("en", "Without a secret Typeform", "Sin secreto"),
        ("es", "Sin secreto, Typeform", "Without a secret"),
        ("pt-BR", "Sem segredo, o Typeform", "Without a secret"),
    ],
)
def test_a_source_with_a_preset_shows_the_steps_of_its_sender(tmp_path, store, language, step, other):
    source = '[sources.typeform]\nkind = "json"\npreset = "typeform"\nsecrets = "a-typeform-secret"\n'
    services = make_services(tmp_path, store, two_accounts() + source)
    text = text_of(Pages(services, language=language).get("/sources/typeform"))
    assert step in text
    assert other not in text
    assert "Method POST" not in text
    assert "curl -sS" in text
    assert "a-typeform-secret" not in text


def test_a_sample_has_the_fields_of_the_first_route():

    tomorrow = datetime(2030, 6, 4, 20, 30, tzinfo=UTC)
    config = _config('events = "body.data.items"\n', "event.kind == 'callback' and event.lead.phone")
    sample = setup.sample_of(config, config.sources["x"], tomorrow)
    assert tomllib.loads(f"a = {sample.replace(': ', ' = ')}")["a"] == {
        "data": {
            "items": [
                {"kind": "callback", "lead": {"phone": "3211234567"}, "id": "80123456", "day": "04/06/2030"}
            ]
        }
    }


def _config(more, when, folder=None):
    import tempfile
    from pathlib import Path

    text = two_accounts() + (
        f'[sources.x]\nkind = "json"\nverify = "bearer"\nsecrets = "s3cret-word"\n{more}'
        f'[[routes]]\nname = "r"\nsource = "x"\naccount = "bogota"\nwhen = "{when}"\ncampaign_id = "1"\n'
        'customer_id = "{{ event.id }}"\nrecall_telephone = "{{ event.lead.phone }}"\n'
        "recall_date = '{{ event.day | date(\"%d/%m/%Y\") }}'\n"
    )
    with tempfile.TemporaryDirectory() as path:
        (Path(path) / "ringback.toml").write_text(text)
        from integration.services.configuration import load_config

        return load_config(Path(path) / "ringback.toml", ENVIRON)


SHAPES = [
    {"verify": "standard-webhooks", "secrets": (ENVIRON["FORMS_SECRET"],)},
    {"verify": "hmac-sha256", "secrets": ("word 'of' $two",), "header": "X-Signature", "prefix": "sha256="},
    {"verify": "hmac-sha256", "secrets": ("word",), "header": "X-Hub", "encoding": "base64"},
    {
        "verify": "hmac",
        "secrets": ("a $word",),
        "header": "X-Sig",
        "timestamp": "t",
        "prefix": "v1=",
        "signed": "{timestamp}.{body}",
    },
    {
        "verify": "hmac",
        "secrets": ("word",),
        "header": "X-Sig",
        "encoding": "base64",
        "algorithm": "sha512",
        "message_id": "X-Id",
        "timestamp": "X-Time",
        "signed": "v0 $:{id}:{timestamp}:{body}",
    },
    {
        "verify": "body-token",
        "secrets": ("a-token-0123456789",),
        "token": "{{ body.auth.application_token }}",
    },
    {"verify": "query-key", "secrets": ("a-code-0123456789",), "param": "code"},
    {"verify": "jwt", "secrets": ("a-signing-secret",)},
    {"verify": "bearer", "secrets": ("a-bearer-word",)},
    {"verify": "basic", "secrets": ("user:pass word",)},
    {"verify": "header", "secrets": ("a-header-word",), "header": "X-Api-Key"},
    {"verify": "url-key", "url_key": "a-url-key-0123456789"},
]


def test_every_scheme_is_tried():
    # Only the sender has the private key of `ed25519`, so no command is shown for it.
    assert {shape["verify"] for shape in SHAPES} == set(SCHEMES) - {"ed25519"}


@pytest.mark.skipif(
    not all(map(shutil.which, ("sh", "curl", "openssl", "od", "base64"))), reason="a tool is missing"
)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape['verify']} {shape.get('encoding', '')}")
def test_the_command_that_is_shown_is_taken(tmp_path, store, shape):
    lines = "\n".join(f"{key} = {_toml(value)}" for key, value in shape.items())
    forms = re.search(r"\[sources\.forms\].*?\n\n", SOURCES_AND_ROUTES, re.DOTALL)[0]
    text = two_accounts() + SOURCES_AND_ROUTES.replace(forms, f'[sources.forms]\nkind = "json"\n{lines}\n\n')
    services = make_services(tmp_path, store, text)
    source = services.config.sources["forms"]
    server = make_server("127.0.0.1", 0, compose(services, NoRates()), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        address = setup.address_of(source, f"http://127.0.0.1:{server.server_port}", revealed=True).text
        sample = setup.sample_of(services.config, source, datetime.now(UTC) + timedelta(days=1))
        command = setup.command_of(source, address, sample)
        secret = shape.get("secrets", ("",))[0]
        done = subprocess.run(
            ["sh", "-c", command], env={**os.environ, "SECRET": secret, "no_proxy": "*"},
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
    assert '"recalls":["rc_' in done.stdout.replace(" ", ""), done.stdout + done.stderr
    assert not secret or secret not in command


def _toml(value):
    import json

    return json.dumps(list(value)) if isinstance(value, tuple) else json.dumps(value)


def test_a_header_with_signs_of_the_shell_stays_text():
    source = JsonSource(
        name="x", kind="json", verify="hmac-sha256", secrets=("s",), header="X-A`b$c", prefix='"$(id)`'
    )
    command = setup.command_of(source, "https://x.example.com/hooks/x", '{"it": "it\'s"}')
    assert '\\"\\$(id)\\`$signature' in command
    assert "'{\"it\": \"it'\\''s\"}'" in command


# --- alarms ------------------------------------------------------------------------------------

RULES = '[[alerts.rules]]\nkind = "source-silent"\nsources = "forms"\nhours = 4\n'


def test_a_source_without_a_rule_says_how_to_add_one(services):
    assert "kind = &#34;source-silent&#34;" in Pages(services).get("/sources/forms").text


def test_a_silent_source_shows_its_alarm(tmp_path, store):
    services = make_services(tmp_path, store, TEXT + SITE + RULES)
    count_delivery(services, "forms", "admitted")
    later = datetime.now(UTC) + timedelta(hours=5)
    AlertMonitor(services, "web:1", SilentReporter(), lambda: later).evaluate()
    pages = Pages(services)
    assert "silent" in text_of(pages.get("/sources"))
    assert "source-silent 4 hours" in text_of(pages.get("/sources/forms"))
    assert "Source forms has sent nothing for 5 hours" in text_of(pages.get("/alerts"))
    assert "El origen forms no envía nada desde hace 5 horas" in text_of(
        Pages(services, language="es").get("/alerts")
    )
    much_later = later + timedelta(minutes=2)
    count_delivery(services, "forms", "admitted")
    for moment in (later, much_later):
        known = {alert.key: alert for alert in services.alerts.holding()}
        services.alerts.settle(next_steps(known, {}, moment))
    text = text_of(pages.get("/alerts"))
    assert "No rule holds." in text
    assert "Over" in text


def test_the_reason_of_an_alert_is_in_the_readers_language(tmp_path, store):
    services = make_services(tmp_path, store, TEXT + '[[alerts.rules]]\nkind = "queue-stopped"\n')
    services.binding.bind()
    reason = "wolkvox rejects the token: check the account's token and server, then resume the account"
    store.hset(f"{{ringback}}:queue:{services.queues.bound()['bogota']}", "stopped", reason)
    AlertMonitor(services, "web:1", SilentReporter()).evaluate()
    assert reason in html.unescape(text_of(Pages(services).get("/alerts")))
    spanish = html.unescape(text_of(Pages(services, language="es").get("/alerts")))
    assert "La cuenta bogota está detenida" in spanish
    assert "does not take" not in spanish


def test_an_operator_tries_a_channel_and_it_is_noted(tmp_path, store):
    with running(HttpReceiver()) as receiver:
        channel = f'[alerts.channels.chat]\nkind = "slack"\nurl = "{receiver.url}"\n'
        services = make_services(tmp_path, store, TEXT + SITE + channel)
        assert "secretpart" not in Pages(services).get("/alerts").text
        assert "Sent to chat. Check that the message has arrived." in text_of(
            Pages(services).post("/alerts/chat/test")
        )
        receiver.answers = [500]
        assert "The test message to chat was not sent: the receiver responded with status 500" in text_of(
            Pages(services).post("/alerts/chat/test")
        )
        assert len(receiver.posts) == 1
        assert Pages(services, "viewer").post("/alerts/chat/test").status_code == 403
        assert Pages(services).post("/alerts/nobody/test").status_code == 404
    assert {entry.what for entry in services.audit.page()[0]} == {"test alert"}


def test_the_axis_of_a_day_ends_now_and_its_texts_lie_at_equal_distances(services):
    page = Pages(services).get("/sources/forms").text
    texts = re.findall(r"<span>([^<]+)</span>", re.search(r'<div class="plot-ticks">(.*?)</div>', page)[1])
    assert texts[-1] == "now"
    minutes = [int(text[:2]) * 60 + int(text[3:]) for text in texts[:-1]]
    steps = {(after - before) % (24 * 60) for before, after in itertools.pairwise(minutes)}
    assert steps <= {23 * 60 // (len(texts) - 1), 23 * 60 // (len(texts) - 1) + 1}


def test_a_legend_has_the_sum_of_the_period():
    from integration.dashboard.charts.plots import PlotSeries

    assert PlotSeries("taken", [3, None, 4, 0]).total == 7
    assert PlotSeries("taken", [None]).total is None
