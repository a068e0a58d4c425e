"""Keys of the API: what is refused without one, what a key sees, its rate."""

from __future__ import annotations

import pytest

from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.web.rate_limit import RateLimit
from support import ENVIRON, two_accounts, url_of, write_config
from support.api_cases import CONFIG, LIMITED
from support.api_client import FULL, ApiClient


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {FULL}",
        FULL,
        f"Bearer {FULL[:-1]}",
        f"Bearer {FULL}x",
        f"Bearer {FULL.upper()}",
        f"Bearer {FULL}, Bearer {FULL}",
        "Bearer clé-à-molette",
    ],
)
def test_without_a_known_key_nothing_is_answered_but_how_to_prove_oneself(web, header):
    headers = {} if header is None else {"Authorization": header.encode("utf-8").decode("latin-1")}
    answer = web.get("/v1/me", key=None, headers=headers)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert FULL[:-1] not in answer.text


@pytest.mark.parametrize("header", [f"Bearer {FULL}", f"bearer {FULL}", f"BEARER  {FULL} "])
def test_the_scheme_is_read_in_any_case(web, header):
    assert web.get("/v1/me", key=None, headers={"Authorization": header}).status_code == 200


def test_every_address_of_v1_wants_a_key(web):
    for rule in web.app.url_map.iter_rules():
        if rule.rule.startswith("/v1/"):
            path = rule.rule.replace("<recall_id>", "rc_000000010000").replace("<name>", "bogota")
            for method in rule.methods - {"HEAD"}:
                assert web.open(method, path, key=None).status_code == 401, (method, path)


def test_me_names_the_key_and_the_accounts_it_sees(web):
    assert web.get("/v1/me").json == {"name": "zapier", "accounts": ["bogota", "lima"]}
    assert web.get("/v1/me", key=LIMITED).json == {"name": "partner", "accounts": ["lima"]}


def test_a_key_that_leaves_the_configuration_is_rejected_once_that_is_accepted(tmp_path, store):
    path = write_config(tmp_path, two_accounts() + CONFIG)
    watch = watch_config(path, ENVIRON, every_seconds=0)
    web = ApiClient(Services(watch, Store(connect(url_of(store))), WakeUpPublisher.silent()))
    assert web.get("/v1/me").status_code == 200
    path.write_text((two_accounts() + CONFIG).replace('zapier = "env:ZAPIER_KEY"\n', ""))
    assert web.get("/v1/me").status_code == 200
    web.services.configuration.changes.accept(web.services.configuration.pending.digest)
    assert web.get("/v1/me").status_code == 401


def test_over_its_rate_a_key_waits_and_the_others_do_not(web):
    slow = "a-key-that-may-ask-little"
    assert [web.get("/v1/me", key=slow).status_code for _ in range(3)] == [200] * 3
    answer = web.get("/v1/me", key=slow)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert web.get("/v1/me").status_code == 200


def test_rates_hold_over_processes(web, store):
    other = RateLimit(connect(url_of(store)))
    assert [other.over("api:slow", 3) for _ in range(3)] == [None] * 3
    assert web.get("/v1/me", key="a-key-that-may-ask-little").status_code == 429
