import base64
import copy
import json
import os
import string
import threading
import tomllib
from datetime import UTC, time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from integration.config.alert_models import CHANNEL_KINDS, RULE_KINDS, AlertSettings
from integration.config.models import (
    ApiKey,
    Config,
    DashboardSettings,
    Oidc,
    Retention,
    Route,
    StoreSettings,
    User,
)
from integration.config.source_models import HubspotSource, JsonSource, Lookup, SalesforceSource
from integration.config.warnings import config_warnings
from integration.domain.account import Account
from integration.domain.calling_hours import PRESETS
from integration.domain.errors import ConfigError
from integration.services.configuration import load_config, watch_config

EXAMPLE = Path(__file__).parent.parent.parent / "ringback.example.toml"
EXAMPLE_ENVIRON = {
    "WOLKVOX_TOKEN": "wolkvox-token-bogota",
    "WOLKVOX_TOKEN_LIMA": "wolkvox-token-lima",
    "RINGBACK_KEY_ZAPIER": "key-of-zapier-0123456789",
    "RINGBACK_KEY_PARTNER": "key-of-partner-0123456789",
    "HUBSPOT_CLIENT_SECRET": "hubspot-client-secret",
    "HUBSPOT_PRIVATE_APP_TOKEN": "hubspot-private-app-token",
    "SALESFORCE_URL_KEY": "salesforce-url-key-0123456789",
    "FORMS_SECRET": "whsec_" + base64.b64encode(b"forms secret of 24 bytes").decode(),
    "TIENDA_SECRET": "tienda-secret",
    "OIDC_CLIENT_SECRET": "oidc-client-secret",
    "SMTP_PASSWORD": "smtp-password",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.example.com/services/T0/B0/secretpart",
    "PAGER_URL": "https://pager.example.com/ringback",
    "ALERTS_SECRET": "whsec_" + base64.b64encode(b"alerts secret of 24 byte").decode(),
}

ACCOUNT = '[accounts.a]\nserver = "0003"\ntoken = "token-a"\ntimezone = "America/Bogota"\n'
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
OIDC = '[oidc]\nissuer = "https://id.example.com"\nclient_id = "x"\nclient_secret = "client-secret-x"\nroles = { it = "admin" }\n'
SITE = '[dashboard]\npublic_url = "https://ringback.example.com"\n'
ROUTE = (
    '[[routes]]\nname = "r"\nsource = "s"\naccount = "a"\ncampaign_id = "1"\ncustomer_id = "{{ event.id }}"\n'
)
RECALL = 'recall_telephone = "{{ event.phone }}"\nrecall_date = "{{ event.date }}"\n'
HUBSPOT = '[sources.s]\nkind = "hubspot"\nsecrets = ["client-secret"]\n'
SALESFORCE = (
    '[sources.s]\nkind = "salesforce"\nurl_key = "0123456789abcdef"\norganization_id = "00Dxx0000000000EAA"\n'
)
JSON = '[sources.s]\nkind = "json"\n'
BEARER = JSON + 'verify = "bearer"\nsecrets = ["bearer-secret"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "ringback.toml"
    path.write_text(text, encoding="utf-8")
    return path


def faults_of(path: Path, environ: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    assert {fault.file for fault in caught.value.faults} == {str(path)}
    return {fault.key: (fault.found, fault.allowed) for fault in caught.value.faults}


# --- what is good ------------------------------------------------------------------------------


def test_the_example_loads_without_a_warning():
    config = load_config(EXAMPLE, EXAMPLE_ENVIRON)
    assert config_warnings(config) == ()
    assert config.accounts["bogota"].token.get_secret_value() == "wolkvox-token-bogota"
    assert config.accounts["bogota"].calling_hours == PRESETS["co-ley-2300"]
    assert [bool(day) for day in config.accounts["lima"].calling_hours.windows] == [True] * 5 + [False] * 2
    assert config.sources["hubspot"].lookup.properties == ("phone", "mobilephone", "numero_documento")
    assert config.api_keys["partner"].accounts == {"bogota"}
    assert [route.action for route in config.routes] == ["recall", "cancel", "recall", "recall", "recall"]


TABLES_OF = {
    "accounts": [Account],
    "store": [StoreSettings],
    "api_keys": [ApiKey],
    "users": [User],
    "dashboard": [DashboardSettings],
    "oidc": [Oidc],
    "sources": [HubspotSource, SalesforceSource, JsonSource],
    "lookup": [Lookup],
    "retention": [Retention],
    "routes": [Route],
    "alerts": [AlertSettings],
    "channels": list(CHANNEL_KINDS.values()),
    "rules": list(RULE_KINDS.values()),
}


def test_the_example_shows_every_key():
    tree = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    tables = {
        "accounts": tree["accounts"].values(),
        "store": [tree["store"]],
        "api_keys": [key for key in tree["api_keys"].values() if isinstance(key, dict)],
        "users": tree["users"].values(),
        "dashboard": [tree["dashboard"]],
        "oidc": [tree["oidc"]],
        "sources": tree["sources"].values(),
        "lookup": [tree["sources"]["hubspot"]["lookup"]],
        "retention": [tree["store"]["retention"]],
        "routes": tree["routes"],
        "alerts": [tree["alerts"]],
        "channels": tree["alerts"]["channels"].values(),
        "rules": tree["alerts"]["rules"],
    }
    for kind, models in TABLES_OF.items():
        shown = {key for table in tables[kind] for key in table}
        keys = {key for model in models for key in model.model_fields}
        assert keys - shown - ({"name"} if kind not in {"routes", "oidc"} else set()) == set()
    assert Config.model_fields.keys() - tree.keys() == {"digest"}


@pytest.mark.parametrize("model", [model for models in TABLES_OF.values() for model in models])
def test_every_key_says_in_words_what_is_allowed(model):
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_keys_left_out_have_the_values_of_the_contract(tmp_path):
    config = load_config(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL), {})
    account = config.accounts["a"]
    assert (account.country, account.dial_format, account.type_campaign) == ("CO", "{national}", "predictive")
    assert (account.timeout_seconds, account.server_limit_seconds, account.min_lead_minutes) == (20, 60, 30)
    assert (account.daily_limit, account.calling_hours, account.base_url) == (None, None, None)
    assert (account.quota_resets_at.isoformat(), account.late, account.mode) == ("00:00:00", "asap", "live")
    assert (config.store.accept_loss, config.store.retention_days, config.store.raw_retention_days) == (
        False,
        30,
        7,
    )
    source = config.sources["s"]
    assert (source.dedup_hours, source.rate_per_minute, source.events, source.dedup_key) == (
        168,
        None,
        None,
        None,
    )


def test_an_empty_file_is_a_configuration_that_does_nothing(tmp_path):
    config = load_config(written(tmp_path, ""), {})
    assert (config.accounts, config.routes) == ({}, ())
    assert config_warnings(config) == (
        "There is no account, so no callback can be made. Add a table [accounts.NAME].",
    )


def test_one_text_stands_for_a_list_of_one(tmp_path):
    text = '[sources.s]\nkind = "hubspot"\nsecrets = "x"\nsignatures = "v3"\nlookup = {token = "t", properties = "phone"}\n'
    source = load_config(
        written(tmp_path, ACCOUNT + text + '[api_keys]\nk = {key = "key", accounts = "a"}\n'), {}
    )
    assert [secret.get_secret_value() for secret in source.sources["s"].secrets] == ["x"]
    assert source.sources["s"].signatures == ("v3",)
    assert source.sources["s"].lookup.properties == ("phone",)
    assert source.api_keys["k"].accounts == {"a"}


def test_an_api_key_given_as_text_is_for_all_accounts(tmp_path):
    config = load_config(written(tmp_path, '[api_keys]\nzapier = "key-of-zapier"\n'), {})
    assert config.api_keys["zapier"].accounts is None


def test_a_number_may_stand_for_a_campaign(tmp_path):
    text = ACCOUNT + BEARER + ROUTE.replace('"1"', "12345") + RECALL
    assert load_config(written(tmp_path, text), {}).routes[0].campaign_id == "12345"


@pytest.mark.parametrize("value", ['"06:30"', '"6:30"', "06:30:00"])
def test_a_time_of_day_may_be_a_text_or_tomls_own(tmp_path, value):
    config = load_config(written(tmp_path, f"{ACCOUNT}quota_resets_at = {value}\n"), {})
    assert config.accounts["a"].quota_resets_at.isoformat() == "06:30:00"


@pytest.mark.parametrize(
    "url",
    [
        "https://wv0003.wolkvox.com",
        "http://127.0.0.1:8202",
        "http://localhost:1/x",
        "http://[::1]:8202",
        "http://sandbox:8202",
    ],
)
def test_a_base_url_is_https_or_near(tmp_path, url):
    text = ACCOUNT.replace('server = "0003"', f'base_url = "{url}"')
    assert load_config(written(tmp_path, text), {}).accounts["a"].endpoint == url


def test_a_byte_order_mark_and_windows_line_ends_are_no_fault(tmp_path):
    path = tmp_path / "ringback.toml"
    path.write_bytes(b"\xef\xbb\xbf" + ACCOUNT.replace("\n", "\r\n").encode())
    assert load_config(path, {}).accounts.keys() == {"a"}


# --- env: and file: ----------------------------------------------------------------------------


def test_every_text_may_lie_in_the_environment_or_in_a_file(tmp_path):
    (tmp_path / "hour").write_text("America/Lima\n")
    (tmp_path / "when").write_text("event.id == '1'")
    text = (
        '[accounts.a]\nserver = "env:SERVER"\ntoken = "env:TOKEN"\ntimezone = "file:hour"\ndaily_limit = "env:LIMIT"\n'
        'calling_hours = {monday = ["env:WINDOW"]}\n'
        '[vars]\nventas = "env:VENTAS"\nnested = [{deep = "env:VENTAS"}]\n'
        + BEARER
        + ROUTE
        + RECALL
        + 'when = "file:when"\n'
    )
    environ = {"SERVER": "0016", "TOKEN": "t", "LIMIT": "3000", "WINDOW": "08:00-09:00", "VENTAS": "77"}
    config = load_config(written(tmp_path, text), environ)
    account = config.accounts["a"]
    assert (account.server, account.timezone.key, account.daily_limit) == ("0016", "America/Lima", 3000)
    assert account.calling_hours.windows[0]
    assert config.vars == {"ventas": "77", "nested": [{"deep": "77"}]}
    assert config.routes[0].when == "event.id == '1'"


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"abc\n", "abc"),
        (b"abc\r\n", "abc"),
        (b"abc", "abc"),
        (b"abc\n\n", "abc\n"),
        (b"\xef\xbb\xbfabc\n", "abc"),
        (b"a b ", "a b "),
    ],
)
def test_only_the_last_newline_of_a_file_is_not_part_of_it(tmp_path, content, secret):
    (tmp_path / "secret").write_bytes(content)
    config = load_config(written(tmp_path, '[sources.s]\nkind = "hubspot"\nsecrets = ["file:secret"]\n'), {})
    assert config.sources["s"].secrets[0].get_secret_value() == secret


def test_a_relative_path_counts_from_the_folder_of_the_configuration(tmp_path, monkeypatch):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "token").write_text("t")
    (tmp_path / "etc" / "ringback.toml").write_text(ACCOUNT.replace("token-a", "file:token"))
    monkeypatch.chdir(tmp_path)
    assert load_config(Path("etc/ringback.toml"), {}).accounts["a"].token.get_secret_value() == "t"


def test_what_was_read_from_elsewhere_is_not_read_again(tmp_path):
    config = load_config(written(tmp_path, '[vars]\nx = "env:X"\n'), {"X": "env:Y", "Y": "no"})
    assert config.vars == {"x": "env:Y"}


def test_an_unreadable_reference_is_told_with_its_key_and_name(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"x" * 70_000)
    os.mkfifo(tmp_path / "pipe")
    names = [
        "env:UNSET",
        "env:",
        "env:a b",
        "env:BYTES",
        "file:",
        "file:none",
        "file:folder",
        "file:bytes",
        "file:long",
        "file:pipe",
        "file:/dev/zero",
    ]
    listed = ", ".join(f'"{name}"' for name in names)
    found = faults_of(
        written(tmp_path, f'[vars]\nx = [{listed}, "file:nul\\u0000"]\n'), {"BYTES": os.fsdecode(b"\xff")}
    )
    words = [
        "env:UNSET, a variable that is not set",
        "an invalid variable name",
        "an invalid variable name",
        "env:BYTES, a variable whose bytes are not UTF-8",
        "file: without a path",
        "file:none, no file",
        "file:folder, something that is not a regular file",
        "file:bytes, bytes that are not UTF-8, at byte 0",
        "file:long, a file of more than 65536 bytes",
        "file:pipe, something that is not a regular file",
        "file:/dev/zero, something that is not a regular file",
        "NUL",
    ]
    assert list(found) == [f"vars.x[{number}]" for number in range(1, 13)]
    for (what, _), expected in zip(found.values(), words, strict=True):
        assert expected in what


def test_a_file_that_cannot_be_opened_is_told_with_the_reason(tmp_path):
    path = written(tmp_path, '[vars]\nx = "file:ringback.toml/x"\n')
    assert "a file that cannot be read (Not a directory)" in faults_of(path)["vars.x"][0]


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("accounts.a.token", ACCOUNT.replace("token-a", "env:X")),
        ("api_keys.k", '[api_keys]\nk = "env:X"\n'),
        ("api_keys.k.key", '[api_keys]\nk = {key = "env:X"}\n'),
        ("sources.s.secrets[2]", '[sources.s]\nkind = "hubspot"\nsecrets = ["good", "env:X"]\n'),
        ("sources.s.secrets", '[sources.s]\nkind = "hubspot"\nsecrets = "env:X"\n'),
        ("sources.s.url_key", SALESFORCE.replace("0123456789abcdef", "env:X")),
        ("sources.s.lookup.token", HUBSPOT + 'lookup = {token = "env:X", properties = ["phone"]}\n'),
    ],
)
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_secret_is_a_fault(tmp_path, key, text, value):
    assert faults_of(written(tmp_path, text), {"X": value}).keys() == {key}
    assert faults_of(written(tmp_path, text.replace("env:X", "")), {}).keys() == {key}
    (tmp_path / "x").write_text(value + "\n")
    assert faults_of(written(tmp_path, text.replace("env:X", "file:x")), {}).keys() == {key}


# --- each fault --------------------------------------------------------------------------------

ONE_FAULT = [
    # text, key, words in found, words in allowed
    ("acounts = 1\n", "acounts", "an unknown key", 'Did you mean "accounts"?'),
    ("digest = 'x'\n", "digest", "an unknown key", "the tables are"),
    ("accounts = 5\n", "accounts", "the number 5", "[accounts.NAME]"),
    ("vars = []\n", "vars", "an empty list", "[vars]"),
    ("routes = 5\n", "routes", "the number 5", "[[routes]]"),
    ("[routes]\nname = 'x'\n", "routes", "a table", "[[routes]]"),
    ("routes = [5]\n", "routes[1]", "the number 5", "[[routes]]"),
    ("[accounts]\na = 'x'\n", "accounts.a", '"x"', "[accounts.a]"),
    (ACCOUNT.replace("accounts.a", 'accounts."a b"'), 'accounts."a b"', '"a b"', "1 to 63 letters"),
    (ACCOUNT.replace("accounts.a", "accounts." + "a" * 64), "accounts." + "a" * 64, "64 characters", "1 to 63"),
    (ACCOUNT + 'name = "a"\n', "accounts.a.name", "an unknown key", "the table's head"),
    (ACCOUNT + 'timezon = "x"\n', "accounts.a.timezon", "an unknown key", 'Did you mean "timezone"?'),
    (ACCOUNT.replace("timezone", "timezones"), "accounts.a.timezone", "nothing", "IANA"),
    (ACCOUNT.replace("America/Bogota", "America/Bogata"), "accounts.a.timezone", "Bogata", 'Did you mean "America/Bogota"?'),
    (ACCOUNT.replace("America/Bogota", "Mars/Olympus"), "accounts.a.timezone", '"Mars/Olympus"', "IANA"),
    (ACCOUNT.replace("America/Bogota", "../etc/passwd"), "accounts.a.timezone", "", "IANA"),
    (ACCOUNT.replace('"America/Bogota"', "5"), "accounts.a.timezone", "the number 5", "IANA"),
    (ACCOUNT.replace('"0003"', "3"), "accounts.a.server", "the number 3", "in quotes"),
    (ACCOUNT.replace('"0003"', '"wv0003"'), "accounts.a.server", "6 characters", 'without "wv"'),
    (ACCOUNT.replace('"0003"', '"0003.wolkvox.com"'), "accounts.a.server", "16 characters", '"0003"'),
    (ACCOUNT.replace('server = "0003"\n', ""), "accounts.a.server", "neither", "exactly one"),
    (ACCOUNT + 'base_url = "https://x.com"\n', "accounts.a.server", "both", "exactly one"),
    (ACCOUNT.replace("token-a", "token a"), "accounts.a.token", "spaces", "visible ASCII"),
    (ACCOUNT.replace("token-a", "tokén"), "accounts.a.token", "other characters", "visible ASCII"),
    (ACCOUNT.replace("token-a", "token\\n"), "accounts.a.token", "line ends", "visible ASCII"),
    (ACCOUNT.replace('"token-a"', "12345"), "accounts.a.token", "a number", "visible ASCII"),
    (ACCOUNT + 'country = "co"\n', "accounts.a.country", '"co"', "two capital letters"),
    (ACCOUNT + 'country = "XX"\n', "accounts.a.country", '"XX"', '"CO"'),
    (ACCOUNT + 'dial_format = "9"\n', "accounts.a.dial_format", "no placeholder", "{national}"),
    (ACCOUNT + 'dial_format = "{phone}"\n', "accounts.a.dial_format", "{phone}", "{e164}"),
    (ACCOUNT + 'type_campaign = "preview"\n', "accounts.a.type_campaign", '"preview"', "no callbacks for preview"),
    (ACCOUNT + "timeout_seconds = 0\n", "accounts.a.timeout_seconds", "the number 0", "more than 0"),
    (ACCOUNT + "timeout_seconds = nan\n", "accounts.a.timeout_seconds", "a number", "at most 600"),
    (ACCOUNT + "timeout_seconds = true\n", "accounts.a.timeout_seconds", "true", "a number"),
    (ACCOUNT + 'timeout_seconds = "soon"\n', "accounts.a.timeout_seconds", '"soon"', "a number"),
    (ACCOUNT + "server_limit_seconds = -1\n", "accounts.a.server_limit_seconds", "-1", "from 0 to 3600"),
    (ACCOUNT + "daily_limit = 0\n", "accounts.a.daily_limit", "the number 0", "1 or more"),
    (ACCOUNT + "daily_limit = 1.5\n", "accounts.a.daily_limit", "1.5", "whole number"),
    (ACCOUNT + "daily_limit = true\n", "accounts.a.daily_limit", "true", "whole number"),
    (ACCOUNT + "min_lead_minutes = -1\n", "accounts.a.min_lead_minutes", "-1", "0 to 10080"),
    (ACCOUNT + "quota_resets_at = 30\n", "accounts.a.quota_resets_at", "the number 30", '"00:00"'),
    (ACCOUNT + 'quota_resets_at = "25:00"\n', "accounts.a.quota_resets_at", '"25:00"', '"00:00"'),
    (ACCOUNT + 'quota_resets_at = "0630"\n', "accounts.a.quota_resets_at", "4 characters", '"00:00"'),
    (ACCOUNT + 'late = "never"\n', "accounts.a.late", '"never"', '"drop"'),
    (ACCOUNT + 'mode = "dry"\n', "accounts.a.mode", '"dry"', '"dry-run"'),
    (ACCOUNT + 'calling_hours = "co-ley"\n', "accounts.a.calling_hours", '"co-ley"', 'Did you mean "co-ley-2300"?'),
    (ACCOUNT + 'calling_hours = {monday = "9-5"}\n', "accounts.a.calling_hours.monday", '"9-5"', "from-to"),
    (ACCOUNT + 'calling_hours = {monday = ["08:00-09:00", 5]}\n', "accounts.a.calling_hours.monday[2]", "5", "from-to"),
    ("[store]\naccept_lost = true\n", "store.accept_lost", "an unknown key", 'Did you mean "accept_loss"?'),
    ('[store]\naccept_loss = "maybe"\n', "store.accept_loss", '"maybe"', "true or false"),
    ("[store]\nretention_days = 0\n", "store.retention_days", "the number 0", "1 or more"),
    ("[store]\nraw_retention_days = -1\n", "store.raw_retention_days", "-1", "0 or more"),
    ("[store.retention]\ndead = 0\n", "store.retention.dead", "0", "1 or more; left out = retention_days"),
    ("[store.retention]\nded = 9\n", "store.retention.ded", "an unknown key", 'Did you mean "dead"?'),
    ("[api_keys]\nk = 5\n", "api_keys.k", "a number", "the key as a text, or a table"),
    ('[api_keys]\nk = "a b"\n', "api_keys.k", "spaces", "visible ASCII"),
    ('[api_keys]\nk = {accounts = ["a"]}\n' + ACCOUNT, "api_keys.k.key", "nothing", "visible ASCII"),
    ('[api_keys]\nk = {key = "x", acounts = []}\n', "api_keys.k.acounts", "an unknown key", 'Did you mean "accounts"?'),
    ('[api_keys]\nk = {key = "x", accounts = []}\n', "api_keys.k.accounts", "an empty list", "left out"),
    ('[api_keys]\nk = {key = "x", rate_per_minute = 0}\n', "api_keys.k.rate_per_minute", "0", "1 or more"),
    ('[api_keys]\nk = {key = "x", accounts = ["a", "b"]}\n' + ACCOUNT, "api_keys.k.accounts[2]", '"b"', "the accounts are"),
    ('[api_keys]\nk = {key = "x", accounts = "bogata"}\n', "api_keys.k.accounts", '"bogata"', "the accounts are none"),
    ("[sources.s]\n", "sources.s.kind", "nothing", '"hubspot", "json", "salesforce"'),
    ('[sources.s]\nkind = "hubspto"\n', "sources.s.kind", '"hubspto"', 'Did you mean "hubspot"?'),
    ("[sources.s]\nkind = ['json']\n", "sources.s.kind", "a list", "the kinds are"),
    (HUBSPOT.replace("sources.s", "sources.'s/t'"), 'sources."s/t"', '"s/t"', "1 to 63"),
    ('[sources.s]\nkind = "hubspot"\n', "sources.s.secrets", "nothing", "client secret"),
    ('[sources.s]\nkind = "hubspot"\nsecrets = []\n', "sources.s.secrets", "an empty list", "client secret"),
    ('[sources.s]\nkind = "hubspot"\nsecrets = ["a", 5]\n', "sources.s.secrets[2]", "a number", "client secret"),
    (HUBSPOT + 'signatures = ["v3", "v4"]\n', "sources.s.signatures[2]", '"v4"', '"v3"'),
    (HUBSPOT + "signatures = []\n", "sources.s.signatures", "an empty list", '"v3"'),
    (HUBSPOT + 'public_url = "http://hooks.example.com"\n', "sources.s.public_url", '"http://hooks', "https://"),
    (HUBSPOT + 'public_url = "https://a.co/h#x"\n', "sources.s.public_url", '"https://a.co', "without user"),
    (HUBSPOT + 'public_url = "/hooks/s"\n', "sources.s.public_url", '"/hooks/s"', "https://"),
    (HUBSPOT + 'lookup = {properties = ["a"]}\n', "sources.s.lookup.token", "nothing", "visible ASCII"),
    (HUBSPOT + 'lookup = {token = "t", properties = []}\n', "sources.s.lookup.properties", "an empty list", "not empty"),
    (HUBSPOT + 'lookup = {token = "t", properties = ["a"], base_ulr = ""}\n', "sources.s.lookup.base_ulr", "an unknown", "base_url"),
    (HUBSPOT + "lookup = 5\n", "sources.s.lookup", "the number 5", "a table"),
    (HUBSPOT + "dedup_hours = 0\n", "sources.s.dedup_hours", "the number 0", "more than 0"),
    (HUBSPOT + "rate_per_minute = 0\n", "sources.s.rate_per_minute", "the number 0", "1 or more"),
    (HUBSPOT + 'url_key = "short"\n', "sources.s.url_key", "5 characters", "16 characters"),
    (HUBSPOT + 'url_key = "0123456789abcde/"\n', "sources.s.url_key", "16 characters", "A-Z a-z 0-9"),
    (HUBSPOT + 'event_time = "{{ event."\n', "sources.s.event_time", "", ""),
    (SALESFORCE.replace("url_key", "url_kye"), "sources.s.url_key", "nothing", "16 characters"),
    (SALESFORCE.replace("EAA", "E"), "sources.s.organization_id", "16 characters", "15 or 18"),
    (JSON, "sources.s.verify", "nothing", '"standard-webhooks"'),
    (JSON + 'verify = "hmac"\n', "sources.s.verify", '"hmac"', '"hmac-sha256"'),
    (JSON + 'verify = "bearer"\n', "sources.s.secrets", "nothing", "needs one"),
    (JSON + 'verify = "basic"\nsecrets = []\n', "sources.s.secrets", "an empty list", "needs one"),
    (JSON + 'verify = "standard-webhooks"\n', "sources.s.secrets", "nothing", "needs one"),
    (JSON + 'verify = "hmac-sha256"\nheader = "X"\n', "sources.s.secrets", "nothing", "needs one"),
    (JSON + 'verify = "header"\nheader = "X"\n', "sources.s.secrets", "nothing", "needs one"),
    (JSON + 'verify = "hmac-sha256"\nsecrets = ["x"]\n', "sources.s.header", "nothing", "needs one"),
    (JSON + 'verify = "header"\nsecrets = ["x"]\n', "sources.s.header", "nothing", "needs one"),
    (JSON + 'verify = "url-key"\n', "sources.s.url_key", "nothing", "needs one"),
    (JSON + 'verify = "basic"\nsecrets = ["nocolon"]\n', "sources.s.secrets[1]", "7 characters", "USER:PASSWORD"),
    (JSON + 'verify = "bearer"\nsecrets = ["a b"]\n', "sources.s.secrets[1]", "3 characters", "visible ASCII"),
    (JSON + 'verify = "header"\nheader = "X"\nsecrets = ["a "]\n', "sources.s.secrets[1]", "2 char", "visible ASCII"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = ["whsec_?"]\n', "sources.s.secrets[1]", "7 characters", "base64"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = "whsec_abcd?efgh"\n', "sources.s.secrets", "15 characters", "base64"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = "whsec_"\n', "sources.s.secrets", "6 characters", "base64"),
    (JSON + 'verify = "standard-webhooks"\nsecrets = "whsk_YWJj"\n', "sources.s.secrets", "9 characters", "whsk_"),
    (BEARER + 'header = "a b"\n', "sources.s.header", '"a b"', '"X-Signature"'),
    (BEARER + 'encoding = "base32"\n', "sources.s.encoding", '"base32"', '"base64"'),
    (BEARER + 'prefix = "a\\nb"\n', "sources.s.prefix", "3 characters", "sha256="),
    (BEARER + 'events = ""\n', "sources.s.events", "an empty text", "body.items"),
    (BEARER + 'events = "body."\n', "sources.s.events", "", ""),
    (BEARER + 'dedup_key = "{{ nothing }}"\n', "sources.s.dedup_key", "nothing", ""),
    (ACCOUNT + ROUTE.replace('"s"', '"x"') + RECALL + BEARER, 'routes[1] ("r").source', '"x"', "the sources are"),
    (ACCOUNT + ROUTE.replace('"a"', '"aa"') + RECALL + BEARER, 'routes[1] ("r").account', '"aa"', 'Did you mean "a"?'),
    (ACCOUNT + BEARER + ROUTE + RECALL.replace("recall_date", "#"), 'routes[1] ("r").recall_date', "nothing", "needs one"),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'action = "cancel"\n', 'routes[1] ("r").recall_telephone', "", "cancel"),
    (ACCOUNT + BEARER + ROUTE + 'action = "cancle"\n', 'routes[1] ("r").action', '"cancle"', '"cancel"'),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'action = "call"\n', 'routes[1] ("r").action', '"call"', '"cancel"'),
    (ACCOUNT + BEARER + ROUTE.replace('name = "r"\n', "") + RECALL, "routes[1].name", "nothing", "characters"),
    (ACCOUNT + BEARER + ROUTE.replace('"1"', '""') + RECALL, 'routes[1] ("r").campaign_id', "an empty text", "template"),
    (ACCOUNT + BEARER + ROUTE.replace('"1"', "true") + RECALL, 'routes[1] ("r").campaign_id', "true", "template"),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'when = "event.x =="\n', 'routes[1] ("r").when', "", ""),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'when = "evnt.x"\n', 'routes[1] ("r").when', "evnt", "event"),
    (ACCOUNT + BEARER + ROUTE + RECALL + 'whe = "x"\n', 'routes[1] ("r").whe', "an unknown key", 'Did you mean "when"?'),
    ("[users.ana]\nrole = 'operator'\n", "users.ana.password", "nothing", "argon2id"),
    ("[users.ana]\npassword = 'hunter2hunter2'\n", "users.ana.password", "another text", "ringback user"),
    ("[users.ana]\npassword = '" + HASH + "'\nrole = 'boss'\n", "users.ana.role", '"boss"', '"operator"'),
    ("[users.'a b']\npassword = '" + HASH + "'\n", 'users."a b"', "the name", "letters, digits"),
    ("[dashboard]\nsession_hours = 0\n", "dashboard.session_hours", "0", "more than 0"),
    ("[dashboard]\npublic_url = 'http://example.com'\n", "dashboard.public_url", '"http://example.com"', "https://HOST"),
    ("[dashboard]\npublic_url = 'https://example.com/x'\n", "dashboard.public_url", "/x", "https://HOST"),
    ("[dashboard]\nhours = 1\n", "dashboard.hours", "an unknown key", "session_hours"),
    (SITE + OIDC.replace("https://id", "http://id"), "oidc.issuer", '"http://id.example.com"', "https://HOST"),
    (OIDC, "dashboard.public_url", "nothing", "[oidc] redirects users to it"),
    (SITE + OIDC.replace("admin", "boss"), "oidc.roles", "a table", '"operator"'),
    (SITE + OIDC + "name = ''\n", "oidc.name", "an empty text", "1 to 60"),
    ('[api_keys]\na = "same"\nb = "same"\n', "api_keys.b", "the same text as api_keys.a", "nowhere else"),
    ('[api_keys]\nb = {key = "token-a"}\n' + ACCOUNT, "api_keys.b.key", "the same text as accounts.a.token", "nowhere"),
    (ACCOUNT.replace("token-a", "bearer-secret") + BEARER, "sources.s.secrets[1]", "as accounts.a.token", "nowhere"),
    (BEARER + '[api_keys]\nb = "bearer-secret"\n', "api_keys.b", "the same text as sources.s.secrets[1]", "nowhere"),
    (SALESFORCE + SALESFORCE.replace("sources.s", "sources.t"), "sources.t.url_key", "as sources.s.url_key", "nowhere"),
    (SALESFORCE + '[api_keys]\nb = "0123456789abcdef"\n', "api_keys.b", "the same text as sources.s.url_key", "nowhere"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key", "found", "allowed"), ONE_FAULT, ids=[f"{n}-{case[1]}" for n, case in enumerate(ONE_FAULT)]
)
def test_a_fault_is_told_with_its_key_what_was_found_and_what_is_allowed(tmp_path, text, key, found, allowed):
    faults = faults_of(written(tmp_path, text))
    assert found in faults[key][0]
    assert allowed in faults[key][1]
    assert all(part.strip() for part in faults[key])


@pytest.mark.parametrize(("text", "key"), [(text, key) for text, key, _, _ in ONE_FAULT])
def test_one_mistake_makes_one_fault(tmp_path, text, key):
    also = {
        "accounts.a.timezone": {"accounts.a.timezones"},
        "sources.s.url_key": {"sources.s.url_kye"},
        'routes[1] ("r").recall_telephone': {'routes[1] ("r").recall_date'},
    }
    routes_alone = {"routes[1]"} if text.startswith("routes = [") else set()
    assert faults_of(written(tmp_path, text)).keys() - also.get(key, set()) - routes_alone - {key} == set()


@pytest.mark.parametrize(
    "url",
    [
        "http://wv0003.wolkvox.com",
        "http://192.168.1.5",
        "http://134744072",
        "http://0x08080808",
        "http://localhost.example.com",
        "ftp://localhost",
        "https://",
        "https://x.com?y=1",
        "https://x.com?",
        "https://x.com#y",
        "https://x.com#",
        "https://user:word@x.com",
        "https://x.com:99999",
        "https://x.com:0",
        "http://[::1",
        "https://x.com/a b",
        "https://x.com\n",
        "wv0003.wolkvox.com",
    ],
)
def test_the_token_does_not_travel_in_clear_nor_to_an_odd_address(tmp_path, url):
    text = ACCOUNT.replace('server = "0003"', f"base_url = {json.dumps(url)}")
    assert "https://HOST" in faults_of(written(tmp_path, text))["accounts.a.base_url"][1]
    lookup = HUBSPOT + f'lookup = {{token = "t", properties = ["x"], base_url = {json.dumps(url)}}}\n'
    assert "https://HOST" in faults_of(written(tmp_path, lookup))["sources.s.lookup.base_url"][1]


@pytest.mark.parametrize(
    ("key", "value", "other"),
    [
        ("timeout_seconds", "30", "20"),
        ("server_limit_seconds", "90", "60"),
        ("daily_limit", "10", None),
        ("daily_limit", None, "10"),
        ("quota_resets_at", '"01:00"', '"00:00"'),
        ("server", '"0016"', None),
        ("base_url", '"http://127.0.0.1:1"', None),
    ],
)
def test_accounts_with_one_token_must_agree(tmp_path, key, value, other):
    second = ACCOUNT.replace("accounts.a", "accounts.b")
    if key in {"server", "base_url"}:
        second = second.replace('server = "0003"\n', "")
    text = (
        ACCOUNT + (f"{key} = {other}\n" if other else "") + second + (f"{key} = {value}\n" if value else "")
    )
    faults = faults_of(written(tmp_path, text))
    assert faults.keys() == {f"accounts.b.{key}"}
    assert "the value of accounts.a, which has the same token" in faults[f"accounts.b.{key}"][1]
    assert load_config(written(tmp_path, text.replace("token-a", "token-b", 1)), {})


def test_accounts_with_one_token_agree_on_an_address_however_it_is_written(tmp_path):
    second = ACCOUNT.replace("accounts.a", "accounts.b").replace(
        'server = "0003"', 'base_url = "https://wv0003.wolkvox.com/"'
    )
    assert load_config(written(tmp_path, ACCOUNT + second), {})


def test_sources_may_share_the_secret_of_their_app(tmp_path):
    assert load_config(written(tmp_path, HUBSPOT + HUBSPOT.replace("sources.s", "sources.t")), {})


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path):
    text = (
        '[[routes]]\nname = "first"\nsource = "s"\naccount = "a"\ncampaign_id = "{{ evnt.x }}"\nwhen = "x =="\n'
        "[accounts.a]\nserver = 3\ndaily_limit = 0\n"
        '[api_keys]\nk = "env:UNSET"\n[sources.s]\nkind = "json"\nverify = "hmac-sha256"\nevents = "body."\nheder = "x"\n'
    )
    assert list(faults_of(written(tmp_path, text))) == [
        'routes[1] ("first").campaign_id',
        'routes[1] ("first").when',
        'routes[1] ("first").customer_id',
        'routes[1] ("first").recall_telephone',
        'routes[1] ("first").recall_date',
        "accounts.a.server",
        "accounts.a.daily_limit",
        "accounts.a.token",
        "accounts.a.timezone",
        "api_keys.k",
        "sources.s.events",
        "sources.s.heder",
        "sources.s.secrets",
        "sources.s.header",
    ]


def test_a_fault_makes_no_other_table_look_faulty(tmp_path):
    unset = ACCOUNT.replace("token-a", "env:UNSET")
    other = unset.replace("accounts.a", "accounts.b") + "daily_limit = 5\n"
    keys = (
        HUBSPOT
        + 'lookup = {tokn = "t", properties = ["phone"]}\n'
        + '[api_keys]\nx = "env:UNSET"\ny = "env:UNSET"\n'
    )
    route = ROUTE + RECALL.replace("event.phone", "contact.properties.phone")
    assert faults_of(written(tmp_path, unset + other + keys + route)).keys() == {
        "accounts.a.token",
        "accounts.b.token",
        "sources.s.lookup.tokn",
        "sources.s.lookup.token",
        "api_keys.x",
        "api_keys.y",
    }


def test_a_faulty_address_makes_no_other_account_of_its_token_look_faulty(tmp_path):
    near = ACCOUNT.replace('server = "0003"', 'base_url = "ftp://x"')
    assert faults_of(written(tmp_path, near + ACCOUNT.replace("accounts.a", "accounts.b"))).keys() == {
        "accounts.a.base_url"
    }


def test_a_route_is_counted_from_one_and_named(tmp_path):
    broken = ROUTE.replace('name = "r"', 'name = "second"') + RECALL + 'when = "x =="\n'
    faults = faults_of(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + broken))
    assert faults.keys() == {'routes[2] ("second").when'}


# --- the file as a whole -----------------------------------------------------------------------


def test_a_missing_file_is_told(tmp_path):
    found, allowed = faults_of(tmp_path / "none.toml")["the whole file"]
    assert found == "no file"
    assert "RINGBACK_CONFIG" in allowed


def test_a_folder_in_place_of_the_file_is_told(tmp_path):
    assert "not a regular file" in faults_of(tmp_path)["the whole file"][0]


def test_a_file_that_is_not_utf8_is_told(tmp_path):
    path = tmp_path / "ringback.toml"
    path.write_bytes("[accounts]\n# ñ".encode("latin-1"))
    assert faults_of(path)["the whole file"][0] == "bytes that are not UTF-8, at byte 13"


def test_a_fault_of_the_syntax_is_told_with_line_and_column(tmp_path):
    found, _ = faults_of(written(tmp_path, "[store]\naccept_loss = \n"))["line 2, column 15"]
    assert "not TOML" in found


def test_a_file_that_ends_too_soon_is_told(tmp_path):
    assert faults_of(written(tmp_path, '[vars]\nx = "')).keys() == {"end of document"}


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "a." * 5000 + "b = 1", f"x = {'9' * 5000}"])
def test_absurd_toml_is_a_fault_and_no_crash(tmp_path, text):
    assert len(faults_of(written(tmp_path, text))) == 1


# --- secrets stay secret -----------------------------------------------------------------------


def resolved_example() -> dict:
    tree = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    text = json.dumps(tree)
    for name, value in EXAMPLE_ENVIRON.items():
        text = text.replace(f'"env:{name}"', json.dumps(value))
    return json.loads(text)


def leaves(tree, place=()):
    parts = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, part in parts:
        yield from leaves(part, (*place, key))
    if isinstance(tree, str):
        yield place


def toml(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def placed(place, value, rename="") -> str:
    tree = copy.deepcopy(TREE)
    owner = tree
    for part in place[:-1]:
        owner = owner[part]
    if rename and isinstance(owner, dict):
        owner[place[-1] + rename] = owner.pop(place[-1])
        owner[place[-1] + rename] = value
    else:
        owner[place[-1]] = value
    return "".join(f"{key} = {toml(part)}\n" for key, part in tree.items())


TREE = resolved_example()
LEAVES = list(leaves(TREE))
SECRET_LEAVES = [
    place
    for place in LEAVES
    if {"token", "key", "secrets", "url_key", "password", "secret", "url"} & set(place)
    or (place[0] == "api_keys" and len(place) == 2)
]
WAYS = [
    "text",
    "spaced",
    "list",
    "table",
    "unknown key",
    "env",
    "file",
    "hole",
    "expression",
    "filter",
    "url",
    "line",
]


def disguised(secret: str, way: str) -> object:
    return {
        "spaced": f"{secret} {secret}",
        "list": [secret],
        "table": {"x": secret},
        "env": "env:SECRET",
        "file": "file:secret",
        "hole": f"{{{{ {secret} }}}}",
        "expression": f"{secret} ==",
        "filter": f"{{{{ event.x | {secret} }}}}",
        "url": f"http://user:{secret}@example.com",
        "line": f"{secret}\n",
    }.get(way, secret)


def told_about(folder: Path, place, secret: str, way: str) -> str:
    path = written(folder, placed(place, disguised(secret, way), "_x" if way == "unknown key" else ""))
    (folder / "secret").write_text(secret, encoding="utf-8")
    try:
        return "\n".join(config_warnings(load_config(path, {"SECRET": secret})))
    except ConfigError as error:
        return f"{error} {error!r} {error.faults!r}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("secrets")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(LEAVES),
    way=st.sampled_from(WAYS),
    secret=st.text(string.ascii_letters + string.digits, min_size=16, max_size=48),
)
def test_what_looks_like_a_secret_is_quoted_nowhere_whatever_key_it_was_pasted_to(folder, place, way, secret):
    assert secret not in told_about(folder, place, secret, way)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(SECRET_LEAVES),
    way=st.sampled_from(["text", "spaced", "list", "table", "env", "file", "line"]),
    secret=st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=12
    ),
)
def test_nothing_in_the_place_of_a_secret_is_quoted_however_short(folder, place, way, secret):
    assert "qzx" not in told_about(folder, place, f"qzx{secret}", way)


def test_a_plain_word_is_quoted_from_the_file_but_not_from_elsewhere(tmp_path):
    text = ACCOUNT + 'late = "hunter"\n'
    assert faults_of(written(tmp_path, text))["accounts.a.late"][0] == '"hunter"'
    elsewhere = faults_of(written(tmp_path, text.replace("hunter", "env:LATE")), {"LATE": "hunter"})
    assert elsewhere["accounts.a.late"][0] == "a text of 6 characters from env:LATE"


def test_a_template_from_elsewhere_is_not_quoted(tmp_path):
    text = ACCOUNT + BEARER + ROUTE + RECALL + 'when = "env:WHEN"\n'
    found, _ = faults_of(written(tmp_path, text), {"WHEN": "hunter"})['routes[1] ("r").when']
    assert found == "a text of 6 characters from env:WHEN"


@pytest.mark.parametrize("name", ["env:NAME", "Sk7q0Zr2LmX9Tf4W"])
def test_the_name_of_a_route_is_left_out_where_it_could_be_a_secret(tmp_path, name):
    text = ACCOUNT + BEARER + ROUTE.replace('"r"', f'"{name}"') + RECALL + "extra = 1\n"
    assert faults_of(written(tmp_path, text), {"NAME": "hunter"}).keys() == {"routes[1].extra"}


def test_a_password_in_an_address_is_not_quoted(tmp_path):
    text = ACCOUNT.replace('server = "0003"', 'base_url = "https://user:word@x.com"')
    assert faults_of(written(tmp_path, text))["accounts.a.base_url"][0] == "a text of 23 characters"


def test_a_model_made_in_code_shows_no_secret_either():
    with pytest.raises(ValidationError) as caught:
        Account(name="a", server="0003", token="hunter hunter", timezone="UTC")
    assert "hunter" not in str(caught.value)


def test_a_time_of_day_has_no_zone_of_its_own():
    with pytest.raises(ValidationError):
        Account(name="a", server="0003", token="t", timezone="UTC", quota_resets_at=time(0, tzinfo=UTC))


def test_neither_the_configuration_nor_its_parts_show_a_secret():
    config = load_config(EXAMPLE, EXAMPLE_ENVIRON)
    for secret in EXAMPLE_ENVIRON.values():
        assert secret not in repr(config)
        assert secret not in config.model_dump_json()


# --- the digest --------------------------------------------------------------------------------


def digest_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    return load_config(written(folder, text), environ or {}).digest


GOOD = '[vars]\nventas = "1"\n' + ACCOUNT + BEARER + '[api_keys]\nk = "key-of-k"\n' + ROUTE + RECALL


def test_the_digest_is_of_the_meaning_not_of_the_text(tmp_path):
    digest = digest_of(tmp_path, GOOD)
    assert len(digest) == 16
    assert digest_of(tmp_path, "# a comment\n" + GOOD) == digest
    assert digest_of(tmp_path, GOOD.replace("[vars]", "store = {retention_days = 30}\n[vars]")) == digest
    assert digest_of(tmp_path, GOOD.replace('"1"', '"env:ONE"'), {"ONE": "1"}) == digest


def test_the_digest_does_not_go_by_the_order_of_tables(tmp_path):
    second = ACCOUNT.replace("accounts.a", "accounts.b").replace("token-a", "token-b")
    assert digest_of(tmp_path, ACCOUNT + second) == digest_of(tmp_path, second + ACCOUNT)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("token-a", "token-b"),
        ("bearer-secret", "other-secret"),
        ("key-of-k", "other-key"),
        ('"bearer-secret"', '"one", "two"'),
    ],
)
def test_the_digest_says_nothing_about_secrets(tmp_path, old, new):
    assert digest_of(tmp_path, GOOD.replace(old, new)) == digest_of(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('ventas = "1"', 'ventas = "2"'),
        ("America/Bogota", "America/Lima"),
        ("event.phone", "event.mobile"),
        ('name = "r"', 'name = "q"'),
        ("[api_keys]\nk", "[api_keys]\nl"),
        ("[accounts.a]", "[accounts.a]\ncalling_hours = 'us-tcpa'"),
        ("[accounts.a]", "[accounts.a]\nquota_resets_at = '01:00'"),
        ("[sources.s]", "[sources.s]\ndedup_hours = 1"),
        ("[vars]", "[vars]\nsince = 2026-01-01"),
        (ROUTE + RECALL, 2 * (ROUTE + RECALL)),
    ],
)
def test_the_digest_changes_with_the_meaning(tmp_path, old, new):
    assert old in GOOD
    assert digest_of(tmp_path, GOOD.replace(old, new)) != digest_of(tmp_path, GOOD)


# --- warnings ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no account"),
        (ACCOUNT + HUBSPOT, "sources.s has no route"),
        (ACCOUNT, "accounts.a has no route and no API key"),
        (ACCOUNT + ACCOUNT.replace("accounts.a", "accounts.b") + '[api_keys]\nk = {key = "k", accounts = ["a"]}\n', "accounts.b has no"),
        (ACCOUNT + "server_limit_seconds = 5\n", "accounts.a.server_limit_seconds is below 60"),
        (ACCOUNT + ACCOUNT.replace("accounts.a", "accounts.b").replace("Bogota", "Lima"), "accounts.b and accounts.a share a token"),
        ('[api_keys]\nk = "short"\n', "api_keys.k is shorter than 16"),
        (HUBSPOT + 'signatures = ["v3", "v2"]\n', "sources.s.signatures has v2"),
        (BEARER + 'header = "X"\n', 'sources.s.header has no effect with verify = "bearer"'),
        (BEARER + 'encoding = "hex"\n', "sources.s.encoding has no effect"),
        (JSON + 'verify = "url-key"\nurl_key = "0123456789abcdef"\nsecrets = ["x"]\n', "sources.s.secrets has no effect"),
        (ACCOUNT + BEARER + 2 * (ROUTE + RECALL), "routes[2] has the name of an earlier route"),
        (ACCOUNT + BEARER + 2 * (ROUTE + RECALL), "routes[2] is never reached: routes[1] takes every event of sources.s"),
    ],
)  # fmt: skip
def test_what_is_likely_not_meant_is_a_warning_and_no_fault(tmp_path, text, words):
    assert any(words in warning for warning in config_warnings(load_config(written(tmp_path, text), {})))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ACCOUNT + BEARER + ROUTE + RECALL, "no route"),
        (ACCOUNT + '[api_keys]\nk = "0123456789abcdef"\n', "accounts.a"),
        (ACCOUNT + BEARER + 2 * (ROUTE + RECALL + 'when = "event.x"\n'), "never reached"),
        (
            ACCOUNT.replace('server = "0003"', 'base_url = "http://127.0.0.1:1"\nserver_limit_seconds = 1'),
            "server_limit",
        ),
    ],
)
def test_what_is_in_order_is_not_warned_of(tmp_path, text, words):
    assert not any(words in warning for warning in config_warnings(load_config(written(tmp_path, text), {})))


# --- a configuration that changes --------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A watch over a file in a folder, and a clock that each look moves on."""

    def __init__(self, folder: Path, text: str, environ: dict[str, str] | None = None) -> None:
        self.folder, self.clock = folder, Clock()
        self.path = written(folder, text)
        self.watch = watch_config(self.path, environ or {}, every_seconds=2.0, clock=self.clock)

    def write(self, text: str, name: str = "ringback.toml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def look(self) -> bool:
        self.clock.now += 2.0
        return self.watch.refresh()


def test_a_faulty_configuration_does_not_start(tmp_path):
    with pytest.raises(ConfigError):
        watch_config(written(tmp_path, "x = 1\n"), {})


def test_a_changed_file_is_taken_up(tmp_path):
    watched = Watched(tmp_path, GOOD)
    before = watched.watch.current
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "22"'))
    assert watched.look() is True
    assert watched.watch.current.vars == {"ventas": "22"}
    assert before.vars == {"ventas": "1"}
    assert watched.watch.generation == 2


def test_an_unchanged_file_is_neither_taken_up_nor_read(tmp_path, monkeypatch):
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    assert watched.look() is False
    monkeypatch.setattr("integration.config.watcher.read", None)
    assert [watched.look() for _ in range(3)] == [False] * 3
    assert watched.watch.current is config
    assert watched.watch.generation == 1


def test_the_files_are_looked_at_no_more_often_than_asked(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "22"'))
    watched.clock.now += 1.9
    assert watched.watch.refresh() is False
    assert watched.watch.generation == 1
    watched.clock.now += 0.1
    assert watched.watch.refresh() is True


def test_a_faulty_file_is_refused_whole_and_the_old_configuration_stays(tmp_path):
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"') + "whenn = 1\n")
    assert watched.look() is False
    assert watched.watch.current is config
    assert [fault.key for fault in watched.watch.fault.faults] == ['routes[1] ("r").whenn']
    assert watched.watch.generation == 1


def test_a_mended_file_is_taken_up_and_the_fault_forgotten(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write("x")
    watched.look()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    assert watched.look() is True
    assert watched.watch.fault is None
    assert watched.watch.generation == 2


def test_a_file_put_back_as_it_was_is_no_new_generation(tmp_path):
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    watched.write("x")
    watched.look()
    watched.write(GOOD)
    assert watched.look() is False
    assert (watched.watch.current, watched.watch.fault, watched.watch.generation) == (config, None, 1)


def test_a_file_that_vanishes_is_a_fault_until_it_is_back(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.path.unlink()
    assert watched.look() is False
    assert watched.watch.fault.faults[0].found == "no file"
    assert watched.watch.current.vars == {"ventas": "1"}
    watched.write(GOOD)
    watched.look()
    assert watched.watch.fault is None


def test_a_file_that_is_replaced_is_taken_up(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.look()
    stat = watched.path.stat()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'), "new")
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").replace(watched.path)
    assert watched.look() is True
    assert watched.watch.current.vars == {"ventas": "2"}


def test_a_file_that_grew_is_taken_up_though_its_date_was_put_back(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.look()
    stat = watched.path.stat()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "22"'))
    os.utime(watched.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert watched.look() is True


def test_a_changed_file_is_read_twice_and_then_left_alone(tmp_path, monkeypatch):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    assert [watched.look(), watched.look()] == [True, False]
    monkeypatch.setattr("integration.config.watcher.read", None)
    assert watched.look() is False


def test_a_secret_that_changes_in_its_file_is_taken_up(tmp_path):
    (tmp_path / "token").write_text("old")
    watched = Watched(tmp_path, GOOD.replace("token-a", "file:token"))
    digest = watched.watch.current.digest
    watched.look()
    watched.write("newer", "token")
    assert watched.look() is True
    assert watched.watch.current.accounts["a"].token.get_secret_value() == "newer"
    assert watched.watch.current.digest == digest


def test_a_secret_file_that_appears_mends_the_configuration(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace("token-a", "file:token"))
    watched.look()
    watched.look()
    assert watched.watch.fault.faults[0].key == "accounts.a.token"
    watched.write("token-b", "token")
    assert watched.look() is True
    assert watched.watch.fault is None


def test_a_second_change_within_one_tick_of_the_file_clock_is_not_missed(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.look()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    stat = watched.path.stat()
    watched.look()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "3"'))
    os.utime(watched.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert watched.look() is True
    assert watched.watch.current.vars == {"ventas": "3"}


def test_a_fault_is_logged_once_until_it_changes_or_is_mended(tmp_path):
    watched = Watched(tmp_path, GOOD)
    with capture_logs() as logs:
        for text in ("x", "# again\nx", "y =", GOOD, "x"):
            watched.write(text)
            watched.look()
            watched.look()
    refused = [log["faults"] for log in logs if log["event"] == "configuration rejected, keeping the old one"]
    assert ["Expected" in faults[0] for faults in refused] == [True, False, True]


def test_many_threads_see_whole_configurations_only(tmp_path):
    watched = Watched(tmp_path, GOOD)
    seen: list[tuple[int, bool]] = []

    def look() -> None:
        for _ in range(50):
            taken = watched.look()
            seen.append((watched.watch.generation, taken))

    threads = [threading.Thread(target=look) for _ in range(4)]
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [taken for _, taken in seen].count(True) == 1
    assert watched.watch.generation == 2


# --- alerts ------------------------------------------------------------------------------------

CHAT = '[alerts.channels.chat]\nkind = "slack"\nurl = "https://hooks.slack.example.com/x"\n'
ALERT_FAULTS = [
    ("[alerts]\nlanguage = 'fr'\n", "alerts.language", '"en" or "es"'),
    ('[alerts.channels.chat]\nkind = "pigeon"\n', "alerts.channels.chat.kind", "slack"),
    (
        '[alerts.channels.chat]\nkind = "slack"\nurl = "http://a.example.com"\n',
        "alerts.channels.chat.url",
        "https",
    ),
    ("[alerts]\nchannels = 1\n", "alerts.channels", "[alerts.channels.NAME]"),
    ("[alerts]\nrules = 1\n", "alerts.rules", "[[alerts.rules]]"),
    ('[[alerts.rules]]\nkind = "queue-stoped"\n', "alerts.rules[1].kind", 'Did you mean "queue-stopped"?'),
    ('[[alerts.rules]]\nkind = "queue-stopped"\nminutes = 1\n', "alerts.rules[1].minutes", "the keys are"),
    ('[[alerts.rules]]\nkind = "quota-used"\npercent = 101\n', "alerts.rules[1].percent", "1 to 100"),
    ('[[alerts.rules]]\nkind = "queue-stopped"\naccounts = ["b"]\n', "alerts.rules[1].accounts[1]", '"a"'),
    ('[[alerts.rules]]\nkind = "source-silent"\nsources = "b"\n', "alerts.rules[1].sources", '"s"'),
    (
        CHAT + '[[alerts.rules]]\nkind = "no-worker"\nchannels = ["x"]\n',
        "alerts.rules[1].channels[1]",
        '"chat"',
    ),
    (
        '[[alerts.rules]]\nkind = "source-silent"\nhours_of = "a"\n',
        "alerts.rules[1].hours_of",
        "calling_hours",
    ),
]
MAIL = '[alerts.channels.m]\nkind = "email"\nhost = "smtp.example.com"\nsender = "a@b.co"\nto = "c@d.co"\n'
ALERT_FAULTS += [
    (MAIL + 'user = "u"\n', "alerts.channels.m.user", "both"),
    (MAIL + 'user = "u"\npassword = "p"\nsecurity = "none"\n', "alerts.channels.m.security", "starttls"),
    (MAIL.replace("c@d.co", "Ana <c@d.co>"), "alerts.channels.m.to", "without a name"),
    (MAIL.replace("c@d.co", "c@d.co\\r\\nBcc: x@y.co"), "alerts.channels.m.to", "without a name"),
]


@pytest.mark.parametrize(("text", "key", "allowed"), ALERT_FAULTS)
def test_a_fault_of_the_alerts_is_named_with_what_is_allowed(tmp_path, text, key, allowed):
    faults = faults_of(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + text))
    assert faults.keys() == {key}
    assert allowed in faults[key][1]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('[[alerts.rules]]\nkind = "no-worker"\n', "only on the dashboard"),
        (CHAT, "no alert is ever sent"),
        (CHAT + '[[alerts.rules]]\nkind = "quota-used"\n', "alerts.rules[1] watches daily_limit"),
    ],
)
def test_alerts_that_can_tell_nobody_or_nothing_are_doubted(tmp_path, text, warning):
    config = load_config(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + text), {})
    assert [each for each in config_warnings(config) if warning in each]
    fine = CHAT + '[[alerts.rules]]\nkind = "no-worker"\n'
    assert config_warnings(load_config(written(tmp_path, ACCOUNT + BEARER + ROUTE + RECALL + fine), {})) == ()
