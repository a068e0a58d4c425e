"""Every preset: it loads, identifies events, maps its sample, and has a page and a set-up text.

What its sender gets as an answer is in tests/integration/test_sender_contract.py.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from integration.cli.main import main
from integration.cli.webhooks.presets import toml_lines
from integration.config.source_models import JsonSource, presets, with_preset
from integration.config.source_models.checks import PROOF_KEYS
from integration.config.warnings import config_warnings
from integration.dashboard.language import LANGUAGES
from integration.domain.delivery import Answer, Delivery, ErrorAnswer
from integration.domain.errors import NotVerifiedError
from integration.mapping.expressions import NOT_LOOKED_UP
from integration.mapping.planner import RecallWanted, explain_event
from integration.mapping.routes import CompiledRoutes
from integration.services.configuration import load_config
from integration.webhooks.preview import preset_config
from integration.webhooks.providers import SOURCES
from support.config_texts import faults_of, written

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ROOT / "tests/samples/presets"
RECORDS = ROOT / "tests/samples/records"
NOW = datetime(2026, 5, 1, 20, 0, 0, tzinfo=UTC)
JSON = SOURCES["json"]
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
ACCOUNT = '[accounts.bogota]\nserver = "0003"\ntoken = "env:T"\ntimezone = "America/Bogota"\ncountry = "CO"\n'
# These senders put no id into the body, so a body is a duplicate while it equals its customer's newest request.
WITHOUT_ID = {"elementor", "contact-form-7"}
WITHOUT_TIME = {
    "elementor",
    "contact-form-7",
    "wpforms",
    "freshsales",
    "slack",
    "dynamics-365",
    "zapier",
    "make",
    "n8n",
}

each = pytest.mark.parametrize("name", sorted(presets()))


def sample(name) -> Path:
    (found,) = SAMPLES.glob(f"{name}.*")
    return found


def settings_of(name) -> JsonSource:
    source = preset_config(presets()[name]).sources[name]
    if source.verify == "ed25519":  # only the sender has the private key of the preset
        source = source.model_copy(update={"public_keys": (PUBLIC,)})
    return source


def delivered(name, body=None) -> Delivery:
    """Return the sample as its sender posts it."""
    settings, path = settings_of(name), sample(name)
    body = path.read_bytes() if body is None else body
    url = f"https://hooks.example.com/hooks/{name}"
    if settings.verify == "query-key":
        url += f"?{settings.param}={settings.secrets[0].get_secret_value()}"
    if settings.verify == "ed25519":
        headers = {
            settings.header: base64.b64encode(PRIVATE.sign(body)).decode(),
            "Content-Type": "application/json",
        }
    else:
        headers = JSON.sign(body, settings, url=url, method="POST", message_id="m-1", now=NOW)
    return Delivery(
        id="d-1",
        source=name,
        method="POST",
        url=url,
        headers={key.lower(): value for key, value in headers.items()},
        body=body,
        received_at=NOW,
        url_key=None if settings.url_key is None else settings.url_key.get_secret_value(),
    )


def record_file(name) -> Path | None:
    """Return the record that the lookup of a sender of ids finds."""
    path = RECORDS / f"{name}.json"
    return path if path.exists() else None


def explained(name, event):
    book = CompiledRoutes.of(preset_config(presets()[name]))
    path = record_file(name)
    looked_up = (
        NOT_LOOKED_UP if path is None else {"record": json.loads(path.read_text("utf-8")), "contact": None}
    )
    return explain_event(book, delivered(name), event, NOW, looked_up).plan


def test_there_are_presets():
    assert len(presets()) >= 29
    assert {path.stem for path in SAMPLES.iterdir()} == set(presets())


@each
def test_the_tables_that_are_printed_load_without_a_warning(tmp_path, name):
    secret = (
        "user:secret-0123456789" if presets()[name].source["verify"] == "basic" else "secret-0123456789abc"
    )
    variable = name.upper().replace("-", "_")
    environ = {"T": "token"} | {f"{variable}_{what}": secret for what in ("SECRET", "URL_KEY")}
    environ |= {
        f"{variable}_VERIFY_TOKEN": "verify-token",
        f"{variable}_LOOKUP_TOKEN": "page-token",
        f"{variable}_LOOKUP_URL": "https://x.example/rest/1/k/",
    }
    config = load_config(written(tmp_path, ACCOUNT + "\n".join(toml_lines(presets()[name]))), environ)
    assert config_warnings(config) == ()
    assert config.sources[name].preset == name


@pytest.mark.parametrize("name", [name for name, preset in presets().items() if "timestamp" in preset.source])
def test_a_signed_time_expires(name):
    settings, made = settings_of(name), delivered(name)
    for minutes in (-6, 6):
        with pytest.raises(NotVerifiedError, match="timestamp"):
            JSON.verify(made, settings, NOW + timedelta(minutes=minutes))


@each
def test_an_event_that_is_sent_twice_is_the_same_event(name):
    settings = settings_of(name)
    first, second = (JSON.read(replace(delivered(name), id=f"d-{n}"), settings) for n in (1, 2))
    keys = [event.dedup_key for event in first]
    assert keys == [event.dedup_key for event in second]
    assert len(set(keys)) == len(keys)
    assert all((key is None) == (name in WITHOUT_ID) for key in keys)
    # An unsigned header never identifies a delivery of a preset with an id.
    made = delivered(name)
    named = replace(made, headers={**made.headers, "idempotency-key": "x"})
    assert name in WITHOUT_ID or [event.dedup_key for event in JSON.read(named, settings)] == keys


@each
def test_the_sample_becomes_a_recall_with_the_time_of_the_sender(name):
    (event,) = JSON.read(delivered(name), settings_of(name))
    outcome = explained(name, event)
    assert isinstance(outcome, RecallWanted), outcome
    assert len(outcome.request.recall_telephone) >= 10
    assert (outcome.request.version == NOW) == (name in WITHOUT_TIME)
    assert outcome.request.version <= NOW


def mapped(name, body):
    """Return the plan, and the id, of the only event of a body."""
    (event,) = JSON.read(delivered(name, body.encode()), settings_of(name))
    return explained(name, event), event.dedup_key


@pytest.mark.parametrize(
    ("name", "change", "phone"),
    [
        # The vendor's guide reads `body.data`, the pages of its events show a flat body.
        ("gohighlevel", lambda one: {"type": one["type"], "webhookId": one["webhookId"], "timestamp": one["timestamp"], "data": {"id": one["id"], "phone": "+573001112233"}}, "3001112233"),
        ("gohighlevel", lambda one: {"type": one["type"], "data": one}, "3001234567"),
        ("odoo", lambda one: one | {"mobile": "3001112233", "phone": False}, "3001112233"),
        ("odoo", lambda one: one | {"write_date": "2026-05-01 19:05:11.123456"}, "3001234567"),
    ],
)  # fmt: skip
def test_another_shape_of_a_body_gives_the_same_recall(name, change, phone):
    given = json.loads(sample(name).read_text("utf-8"))
    plan, key = mapped(name, json.dumps(change(given)))
    assert isinstance(plan, RecallWanted), plan
    assert plan.request.recall_telephone == phone
    assert plan.request.version < NOW
    assert key is not None


@pytest.mark.parametrize(
    ("answer", "phone"),
    [
        ('{"full":"(300) 123-4567"}', "3001234567"),
        ('{"area":"300","phone":"1112233"}', "3001112233"),
        ('{"full":"","area":"300","phone":"1112233"}', "3001112233"),
    ],
)
def test_a_telephone_of_jotform_has_one_box_or_two(answer, phone):
    body = sample("jotform").read_text("utf-8").replace('{"area":"300","phone":"1234567"}', answer)
    assert mapped("jotform", body)[0].request.recall_telephone == phone


@pytest.mark.parametrize(
    "text",
    ["3001112233", "<tel:3001112233|300-111-2233> please", "<tel:3001112233>", "<tel:+573001112233|x>"],
)
def test_a_number_in_a_command_of_slack_may_be_a_link(text):
    body = sample("slack").read_text("utf-8").replace("3001234567+please", quote_plus(text))
    plan, _ = mapped("slack", body)
    assert plan.request.recall_telephone == "3001112233"
    assert plan.request.customer_id.endswith("3001112233")


def test_a_contact_of_kommo_that_gets_its_telephone_in_the_same_second_is_not_a_duplicate():
    body = sample("kommo").read_text("utf-8")
    fields = [pair for pair in body.split("&") if "custom_fields" not in pair]
    added = JSON.read(delivered("kommo", "&".join(fields).encode()), settings_of("kommo"))
    changed = JSON.read(
        delivered("kommo", body.replace("contacts[add]", "contacts[update]").encode()), settings_of("kommo")
    )
    assert len({added[0].dedup_key, changed[0].dedup_key, None}) == 3


def test_a_moved_appointment_of_calendly_cancels_nothing():
    for language in ("en", "es"):
        assert "invitee.canceled' and not event.payload.rescheduled" in "\n".join(
            presets()["calendly"].steps(language)
        )


def test_a_preset_that_no_page_describes_asks_for_a_check_with_a_real_delivery():
    of_docs = (ROOT / "docs/other-senders.md").read_text("utf-8")
    (sentence,) = [line for line in of_docs.splitlines() if line.startswith("No page of the vendor")]
    named = set(re.findall(r"`([a-z0-9-]+)`", sentence))
    assert named == {name for name, preset in presets().items() if not preset.described}
    assert named >= {"elementor", "wpforms", "contact-form-7", "jotform", "kommo", "odoo"}
    for name, preset in presets().items():
        assert ("Check it with a real delivery" in preset.steps("en")[-1]) == (name in named)
        assert ("Compruébelo con una entrega real" in preset.steps("es")[-1]) == (name in named)
        if name in named:
            assert preset.steps("en")[-1] in run("presets", name).stdout


@each
def test_a_success_is_answered_as_the_preset_says(name):
    settings, made = settings_of(name), delivered(name)
    assert JSON.acknowledge(made, settings, Answer(delivery="d-1")).status == settings.answer_status
    later = JSON.acknowledge(made, settings, ErrorAnswer(status=503, title="x", retry_after_seconds=5))
    assert later.status == (settings.retry_status or 503)


@each
def test_a_preset_says_where_its_facts_are_from_and_how_it_is_set_up(name):
    preset = presets()[name]
    assert preset.page.startswith("https://")
    assert preset.set_up.lstrip().startswith("1. ")
    assert name in (ROOT / "docs/other-senders.md").read_text("utf-8")
    texts = {preset.steps(language) for language in LANGUAGES}
    assert len(texts) == len(LANGUAGES)
    for lines in zip(*texts, strict=True):
        assert len({line[:2] if line[:1].isdigit() else "" for line in lines}) == 1
    assert set(preset.source) <= set(JsonSource.model_fields)
    assert "secrets" not in preset.source


def test_gohighlevel_sends_again_on_429_only_and_dataverse_on_503():
    assert presets()["gohighlevel"].source["retry_status"] == 429
    assert presets()["dynamics-365"].source["retry_status"] == 503


# --- overriding ------------------------------------------------------------------------------------


@each
def test_each_key_of_a_preset_can_be_overridden(name):
    preset = presets()[name]
    for key in {*preset.source, *preset.with_secrets} - {"lookup"}:
        assert with_preset({key: "mine"}, preset)[key] == "mine"
    for key in preset.source.get("lookup", ()):
        assert with_preset({"lookup": {key: "mine"}}, preset)["lookup"][key] == "mine"


@pytest.mark.parametrize("verify", sorted(set(PROOF_KEYS) - {"hmac"}))
def test_another_verify_drops_what_the_preset_says_about_its_own(verify):
    table = with_preset({"verify": verify}, presets()["calendly"])
    assert not {"header", "signed", "timestamp", "prefix", "tolerance_seconds"} & table.keys()
    assert table["dedup_key"] == presets()["calendly"].source["dedup_key"]


@pytest.mark.parametrize(
    ("keys", "key", "found", "allowed"),
    [
        ('preset = "typefrom"\nsecrets = "s"\nverify = "bearer"\n', "sources.s.preset", '"typefrom"', 'Did you mean "typeform"?'),
        ('preset = 5\nsecrets = "s"\nverify = "bearer"\n', "sources.s.preset", "the number 5", "one of the presets"),
        ('preset = "typeform"\n', "sources.s.secrets", "missing", "needs one"),
        ('preset = "monday"\n', "sources.s.url_key", "missing", "needs one"),
        ('preset = "bitrix24"\nsecrets = "application-token-0123"\n', "sources.s.lookup.url", "missing", "inbound webhook"),
        ('preset = "meta-lead-ads"\nsecrets = "s"\nverify_token = "v"\nlookup = {base_url = "x"}\n', "sources.s.lookup.token", "missing", "access token"),
        ('preset = "meta-lead-ads"\nsecrets = "s"\nverify_token = "v"\nlookup = {token = "t", versoin = "v1.0"}\n', "sources.s.lookup.versoin", "an unknown key", "api_version"),
        ('verify = "bearer"\nsecrets = "s"\nlookup = {kind = "other"}\n', "sources.s.lookup", "a table", "meta-lead-ads"),
        ('verify = "bearer"\nsecrets = "s"\nlookup = 5\n', "sources.s.lookup", "the number 5", "meta-lead-ads"),
        ('preset = "bitrix24"\nsecrets = "application-token-0123"\nlookup = 5\n', "sources.s.lookup", "the number 5", "meta-lead-ads"),
        ('preset = "whatsapp-cloud"\nsecrets = "s"\n', "sources.s.verify_token", "missing", "hub-challenge"),
    ],
)  # fmt: skip
def test_a_fault_beside_a_preset_is_named(tmp_path, keys, key, found, allowed):
    faults = faults_of(written(tmp_path, f'[sources.s]\nkind = "json"\n{keys}'))
    assert found in faults[key][0]
    assert allowed in faults[key][1]


# --- the commands ----------------------------------------------------------------------------------


def run(*arguments):
    return CliRunner().invoke(main, arguments, env={"RINGBACK_CONFIG": "/nowhere/ringback.toml"})


def test_presets_are_listed_and_shown():
    listed = run("presets", "--json")
    assert [one["name"] for one in json.loads(listed.stdout)["items"]] == list(presets())
    assert all(name in run("presets").stdout for name in presets())
    shown = run("presets", "typeform")
    assert shown.exit_code == 0
    assert 'preset = "typeform"' in shown.stdout
    assert "Connect > Webhooks" in shown.stdout


@pytest.mark.parametrize("arguments", [("presets", "nobody"), ("map", "--preset", "nobody", "x.json")])
def test_an_unknown_preset_is_a_wrong_usage(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "`ringback presets`" in done.stderr


@pytest.mark.parametrize(
    "arguments", [("--preset", "typeform", "forms", "x.json"), ("x.json",), ("a", "b", "c")]
)
def test_map_takes_a_source_or_a_preset(arguments):
    assert run("map", *arguments).exit_code == 2


@each
def test_a_sample_is_mapped_without_a_configuration(name):
    record = [] if record_file(name) is None else ["--record", str(record_file(name))]
    done = run("map", "--preset", name, str(sample(name)), *record, "--at", NOW.isoformat(), "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"] == {"recall": 1}


def test_a_preview_says_that_account_and_campaign_are_examples(tmp_path):
    body = tmp_path / "body.json"
    body.write_text("{}")
    assert "The account and the campaign are examples" in run("map", "--preset", "typeform", str(body)).stdout


def test_a_suggested_route_says_which_customer_id_is_needed():
    shown = run("presets", "typeform").stdout.splitlines()
    (place,) = [number for number, line in enumerate(shown) if line.startswith("customer_id")]
    assert shown[place - 1].startswith("# The id of the customer in the campaign.")
