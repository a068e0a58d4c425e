"""Settings that are valid TOML and weak: warnings with the reason, and an error where one caller could act for another."""

from __future__ import annotations

import pytest

from integration.config.warnings import config_warnings
from integration.services.configuration import load_config
from support.config_texts import ACCOUNT, BEARER, HASH, HUBSPOT, SITE, faults_of, written

USER = f"[users.ana]\npassword = '{HASH}'\n"
SHARED = ACCOUNT + ACCOUNT.replace("accounts.a", "accounts.b")
THREE = SHARED + ACCOUNT.replace("accounts.a", "accounts.c").replace("token-a", "token-c")
ADDRESS = 'public_url = "https://hooks.example.com/hooks/s"\n'


def warnings_of(path, environ=None):
    return config_warnings(load_config(path, environ or {}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[api_keys]\nk = { key = "short" }\n', "api_keys.k is shorter than 16"),
        (BEARER.replace("bearer-secret-of-s", "x"), "sources.s.secrets is shorter than 16"),
        (HUBSPOT.replace('["client-secret"]', '"x"'), "sources.s.secrets is shorter than 16"),
        (
            '[alerts.channels.c]\nkind = "webhook"\nurl = "https://x.co/"\nsecret = "whsec_YWI="\n',
            "alerts.channels.c.secret is shorter than 16",
        ),
        (USER + SITE, "dashboard.proxies is 0, but a public_url with https: needs"),
        (USER + HUBSPOT + ADDRESS, "dashboard.proxies is 0, but"),
    ],
)
def test_a_weak_setting_is_a_warning_with_its_reason(tmp_path, text, words):
    assert any(words in warning for warning in warnings_of(written(tmp_path, text)))


@pytest.mark.parametrize(
    "text",
    [
        BEARER.replace("bearer-secret-of-s", "0123456789abcdef"),
        USER + SITE + "proxies = 1\n",
        USER + SITE.replace("https://ringback.example.com", "http://localhost:8080"),
        HUBSPOT.replace("client-secret", "0123456789abcdef") + ADDRESS,
    ],
)
def test_a_sound_setting_is_no_warning(tmp_path, text):
    found = warnings_of(written(tmp_path, ACCOUNT + text))
    assert [warning for warning in found if "shorter" in warning or "proxies" in warning] == []


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o604, True), (0o640, False), (0o600, False)])
def test_a_file_with_a_secret_that_everybody_can_read_is_a_warning(tmp_path, mode, warned):
    path = written(tmp_path, ACCOUNT)
    path.chmod(mode)
    assert any("every user of this machine can read it" in each for each in warnings_of(path)) is warned


def test_a_file_without_a_secret_may_be_read_by_everybody(tmp_path):
    path = written(tmp_path, ACCOUNT.replace("token-a", "env:TOKEN"))
    path.chmod(0o644)
    assert not any("can read it" in each for each in warnings_of(path, {"TOKEN": "token-a"}))


# --- an API key for some of the accounts of a token --------------------------------------------


@pytest.mark.parametrize(
    ("accounts", "found"),
    [
        ('["a"]', "a list with a and without b, which has the same token"),
        ('"b"', "a list with b and without a, which has the same token"),
        ('["c", "b"]', "a list with b and without a, which has the same token"),
    ],
)
def test_a_key_for_some_accounts_of_a_token_is_an_error(tmp_path, accounts, found):
    text = THREE + f'[api_keys]\nk = {{ key = "key-of-k-0123456789", accounts = {accounts} }}\n'
    assert faults_of(written(tmp_path, text)) == {
        "api_keys.k.accounts": (
            found,
            "all accounts of a token or none of them, because they share one queue",
        )
    }


@pytest.mark.parametrize("accounts", ['["a", "b"]', '["c"]', '["a", "b", "c"]'])
def test_a_key_for_all_accounts_of_a_token_or_none_is_good(tmp_path, accounts):
    text = THREE + f'[api_keys]\nk = {{ key = "key-of-k-0123456789", accounts = {accounts} }}\n'
    assert load_config(written(tmp_path, text), {}).api_keys["k"].accounts
    assert load_config(written(tmp_path, THREE + '[api_keys]\nk = "key-of-k-0123456789"\n'), {})
