"""Secrets of a configuration are in no message."""

from __future__ import annotations

import copy
import json
import string
import tomllib
from datetime import UTC, time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from integration.config.warnings import config_warnings
from integration.domain.account import Account
from integration.domain.errors import ConfigError
from integration.services.configuration import load_config
from support.config_texts import (
    ACCOUNT,
    BEARER,
    EXAMPLE,
    EXAMPLE_ENVIRON,
    RECALL,
    ROUTE,
    faults_of,
    written,
)

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


def faults_about(folder: Path, place, secret: str, way: str) -> str:
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
@example(place=("accounts", "bogota", "timezone"), way="text", secret="AAAAAAAAAAAAAA00")
def test_what_looks_like_a_secret_is_quoted_nowhere_whatever_key_it_was_pasted_to(folder, place, way, secret):
    assert secret not in faults_about(folder, place, secret, way)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.sampled_from(SECRET_LEAVES),
    way=st.sampled_from(["text", "spaced", "list", "table", "env", "file", "line"]),
    secret=st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_characters="\x7f"), max_size=12
    ),
)
def test_nothing_in_the_place_of_a_secret_is_quoted_however_short(folder, place, way, secret):
    assert "qzx" not in faults_about(folder, place, f"qzx{secret}", way)


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
