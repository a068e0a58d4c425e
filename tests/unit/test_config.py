"""Reading the configuration: good files, `env:` and `file:`, the file as a whole, the digest, warnings."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

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
from integration.config.source_models import HubspotLookup, HubspotSource, JsonSource, SalesforceSource
from integration.config.warnings import config_warnings
from integration.domain.account import Account
from integration.domain.schedule.calling_hours import PRESETS
from integration.services.configuration import load_config
from support.config_texts import (
    ACCOUNT,
    BEARER,
    EXAMPLE,
    EXAMPLE_ENVIRON,
    GOOD,
    HUBSPOT,
    JSON,
    RECALL,
    ROUTE,
    SALESFORCE,
    faults_of,
    written,
)

# --- what is good ------------------------------------------------------------------------------


def test_the_example_loads_without_a_warning():
    config = load_config(EXAMPLE, EXAMPLE_ENVIRON)
    assert config_warnings(config) == ()
    assert config.accounts["bogota"].token.get_secret_value() == "wolkvox-token-bogota"
    assert config.accounts["bogota"].calling_hours == PRESETS["co-ley-2300"]
    assert [bool(day) for day in config.accounts["lima"].calling_hours.windows] == [True] * 5 + [False] * 2
    assert config.sources["hubspot"].lookup.properties == ("phone", "mobilephone", "numero_documento")
    assert config.api_keys["partner"].accounts == {"bogota"}
    assert [route.action for route in config.routes] == ["recall", "cancel", *["recall"] * 4]


TABLES_OF = {
    "accounts": [Account],
    "store": [StoreSettings],
    "api_keys": [ApiKey],
    "users": [User],
    "dashboard": [DashboardSettings],
    "oidc": [Oidc],
    "sources": [HubspotSource, SalesforceSource, JsonSource],
    "lookup": [HubspotLookup],
    "retention": [Retention],
    "routes": [Route],
    "alerts": [AlertSettings],
    "channels": list(CHANNEL_KINDS.values()),
    "rules": list(RULE_KINDS.values()),
}


def test_the_example_shows_every_key():
    text = EXAMPLE.read_text(encoding="utf-8")
    tree = tomllib.loads(text)
    # Keys that exclude each other stand in comments.
    commented = set(re.findall(r"^# (\w+) = ", text, re.MULTILINE))
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
        shown |= commented if kind == "sources" else set()
        assert keys - shown - ({"name"} if kind not in {"routes", "oidc"} else set()) == set()
    assert Config.model_fields.keys() - tree.keys() == {"digest", "exposed_files"}


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


def test_an_unreadable_reference_is_reported_with_its_key_and_name(tmp_path):
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
        "file:none, which is missing",
        "file:folder, which is not a regular file",
        "file:bytes, which is not in UTF-8 (at byte 0)",
        "file:long, which is longer than 65536 bytes",
        "file:pipe, which is not a regular file",
        "file:/dev/zero, which is not a regular file",
        "NUL",
    ]
    assert list(found) == [f"vars.x[{number}]" for number in range(1, 13)]
    for (what, _), expected in zip(found.values(), words, strict=True):
        assert expected in what


def test_a_variable_that_is_not_set_is_reported_with_the_command_that_sets_it(tmp_path):
    _, allowed = faults_of(written(tmp_path, '[vars]\nx = "env:TYPEFORM_SECRET"\n'), {})["vars.x"]
    assert allowed.startswith("Set TYPEFORM_SECRET in the environment")


def test_a_file_that_cannot_be_opened_is_reported_with_the_reason(tmp_path):
    path = written(tmp_path, '[vars]\nx = "file:ringback.toml/x"\n')
    assert "not readable (Not a directory)" in faults_of(path)["vars.x"][0]


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


# --- the file as a whole -----------------------------------------------------------------------


def test_a_missing_file_is_reported(tmp_path):
    found, allowed = faults_of(tmp_path / "none.toml")["the file"]
    assert found == "missing"
    assert "RINGBACK_CONFIG" in allowed


def test_a_folder_in_place_of_the_file_is_reported(tmp_path):
    assert "not a regular file" in faults_of(tmp_path)["the file"][0]


def test_a_file_that_is_not_utf8_is_reported(tmp_path):
    path = tmp_path / "ringback.toml"
    path.write_bytes("[accounts]\n# ñ".encode("latin-1"))
    assert faults_of(path)["the file"][0] == "not in UTF-8 (at byte 13)"


def test_a_fault_of_the_syntax_is_reported_with_line_and_column(tmp_path):
    found, _ = faults_of(written(tmp_path, "[store]\naccept_loss = \n"))["line 2, column 15"]
    assert "invalid TOML" in found


def test_a_file_that_ends_too_soon_is_reported(tmp_path):
    assert faults_of(written(tmp_path, '[vars]\nx = "')).keys() == {"end of document"}


@pytest.mark.parametrize("text", ["x = " + "[" * 5000, "a." * 5000 + "b = 1", f"x = {'9' * 5000}"])
def test_absurd_toml_is_a_fault_and_no_crash(tmp_path, text):
    assert len(faults_of(written(tmp_path, text))) == 1


# --- the digest --------------------------------------------------------------------------------


def digest_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    return load_config(written(folder, text), environ or {}).digest


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
        ("bearer-secret-of-s", "other-secret"),
        ("key-of-k", "other-key"),
        ('"bearer-secret-of-s"', '"one", "two"'),
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
        (ACCOUNT + ACCOUNT.replace("accounts.a", "accounts.b").replace("token-a", "token-b") + '[api_keys]\nk = {key = "k", accounts = ["a"]}\n', "accounts.b has no"),
        (ACCOUNT + "server_limit_seconds = 5\n", "accounts.a.server_limit_seconds is below 60"),
        (ACCOUNT + ACCOUNT.replace("accounts.a", "accounts.b").replace("Bogota", "Lima"), "accounts.b and accounts.a share a token"),
        (ACCOUNT + 'country = "PE"\n', "accounts.a.dial_format is not how fixed numbers of PE are dialled"),
        (ACCOUNT + 'country = "AR"\n', "not how fixed and mobile numbers of AR are dialled inside the country. Use {dial}"),
        (ACCOUNT + 'country = "UY"\ndial_format = "9{national}"\n', "not how mobile numbers of UY"),
        (ACCOUNT + 'country = "BR"\n', "accounts.a.dial_format has no carrier"),
        (ACCOUNT + 'countries = ["PE", "CO", "MX"]\n', "accounts.a.countries has MX, PE, but dial_format writes no country code"),
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
        (ACCOUNT + 'country = "AR"\ndial_format = "{dial}"\n', "dial_format"),
        (ACCOUNT + 'country = "BR"\ndial_format = "015{dial}"\n', "dial_format"),
        (ACCOUNT + 'countries = ["PE"]\ndial_format = "{e164}"\n', "dial_format"),
        (ACCOUNT + 'countries = ["CO"]\n', "dial_format"),
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
