"""`ringback check`: everything that is wrong at once; with --online real calls, and never two on a token."""

from __future__ import annotations

import secrets

import pytest

from integration.services.online_check import check_queues
from integration.store.token_queue import Claim, PushResult, terms_of
from support import (
    ENVIRON,
    SOURCES_AND_ROUTES,
    make_services,
    on_one_token,
    two_accounts,
    url_of,
    write_config,
)
from support.cli_runner import Ringback
from support.hubspot_stub import TOKEN, HubspotStub
from workers.drain import utc_now

QUICK = "timeout_seconds = 0.3\nserver_limit_seconds = 0.2"


@pytest.fixture
def services(tmp_path, store, sandbox):
    services = make_services(tmp_path, store, two_accounts(sandbox.url) + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


@pytest.fixture
def run(tmp_path, store, sandbox):
    path = write_config(tmp_path, two_accounts(sandbox.url) + SOURCES_AND_ROUTES)
    return Ringback(path, {"REDIS_URL": url_of(store)})


# --- configuration -----------------------------------------------------------------------------


def test_a_valid_configuration_is_reported(run):
    report = run.json("check")
    assert report["good"] is True
    assert report["has"] == {"accounts": 2, "sources": 3, "routes": 4, "api keys": 2}
    assert report["store"]["state"] == "good"
    assert report["online"] == []


def test_all_faults_are_reported_at_once_with_file_key_found_and_allowed(run, tmp_path):
    write_config(tmp_path, two_accounts(more="minimum = 3") + 'colour = "red"')
    report = run.json("check", status=1, PORT="eighty")
    assert [fault["key"] for fault in report["faults"]] == [
        "accounts.bogota.minimum",
        "accounts.lima.minimum",
        "accounts.lima.colour",
        "PORT",
    ]
    assert all(fault["found"] and fault["allowed"] for fault in report["faults"])
    # The store is looked at all the same.
    assert report["store"]["state"] == "good"


def test_a_missing_file_is_a_fault_and_no_trace(run):
    done = run("check", "--config", "nowhere.toml")
    assert done.exit_code == 1
    assert "nowhere.toml" in done.stdout
    assert "Traceback" not in done.output


def test_warnings_are_reported_and_are_no_fault(run, tmp_path):
    text = (tmp_path / "ringback.toml").read_text()
    (tmp_path / "ringback.toml").write_text(
        text + '[sources.idle]\nkind = "json"\nverify = "bearer"\nsecrets = "s-1"\n'
    )
    done = run("check")
    assert done.exit_code == 0
    assert "warning: " in done.stdout


def test_no_secret_is_reported(run):
    told = run("check", "--online").output + run("check", "--json").output
    assert not any(secret in told for secret in ENVIRON.values())


# --- the store ---------------------------------------------------------------------------------


def test_no_store_is_reported_and_is_no_fault(run):
    report = run.json("check", REDIS_URL="")
    assert report["good"] is True
    assert report["store"]["state"] == "none"
    assert "ringback up" in report["store"]["detail"]


def test_a_store_that_is_away_is_a_failure_reported_without_credentials(run):
    done = run("check", REDIS_URL="redis://user:geheim@127.0.0.1:1/0")
    assert done.exit_code == 1
    assert "store redis://127.0.0.1:1/0: CANNOT BE REACHED" in done.stdout
    assert "geheim" not in done.output


def test_an_address_that_is_none_is_a_failure(run):
    done = run("check", REDIS_URL="nonsense-geheim")
    assert done.exit_code == 1
    assert "REDIS_URL" in done.stdout
    assert "geheim" not in done.output


def test_a_store_that_forgets_is_refused_unless_that_is_accepted(run, tmp_path, start_valkey):
    server = start_valkey("--appendonly", "no", "--maxmemory-policy", "allkeys-lru")
    report = run.json("check", status=1, REDIS_URL=server.url)
    assert report["store"]["state"] == "refused"
    assert len(report["store"]["problems"]) == 3
    text = (tmp_path / "ringback.toml").read_text()
    (tmp_path / "ringback.toml").write_text(text + "[store]\naccept_loss = true\n")
    report = run.json("check", REDIS_URL=server.url)
    assert report["store"]["state"] == "accepted"
    assert len(report["store"]["problems"]) == 3


# --- online ------------------------------------------------------------------------------------


def test_without_online_nobody_is_called(run, sandbox):
    assert run("check").exit_code == 0
    assert sandbox.calls() == []


def test_online_makes_one_reading_call_per_token(run, sandbox):
    report = run.json("check", "--online")
    assert [one["who"] for one in report["online"]] == [["bogota"], ["lima"]]
    assert all("campaigns listed: 2" in one["detail"] for one in report["online"])
    assert [(call["method"], call["query"]) for call in sandbox.calls()] == [
        ("GET", {"api": "campaigns"})
    ] * 2


def test_accounts_on_one_token_are_probed_once(run, sandbox, tmp_path):
    text = on_one_token((tmp_path / "ringback.toml").read_text())
    (tmp_path / "ringback.toml").write_text(text)
    assert run.json("check", "--online")["online"][0]["who"] == ["bogota", "lima"]
    assert len(sandbox.calls()) == 1


def test_a_token_that_is_refused_is_a_failure(run, sandbox):
    sandbox.settings.tokens = frozenset({ENVIRON["TOKEN_BOGOTA"]})
    report = run.json("check", "--online", status=1)
    assert [one["good"] for one in report["online"]] == [True, False]
    assert "rejects the token" in report["online"][1]["detail"]


def test_an_answer_that_is_not_json_is_a_failure(run, sandbox):
    sandbox.add_rule(action="html", status=200)
    assert "not JSON" in run.json("check", "--online", status=1)["online"][0]["detail"]


def test_without_a_store_the_operator_is_warned_before_the_call(run, sandbox):
    done = run("check", "--online", REDIS_URL="")
    assert done.exit_code == 0
    assert "Stop all workers that use these tokens" in done.stderr
    assert len(sandbox.calls()) == 2


def test_nobody_is_called_when_the_store_is_away(run, sandbox):
    report = run.json("check", "--online", status=1, REDIS_URL="redis://127.0.0.1:1/0")
    assert "the store cannot be used to lock the queues" in report["online"][0]["detail"]
    assert sandbox.calls() == []


def test_nobody_is_called_with_a_faulty_configuration(run, sandbox, tmp_path):
    write_config(tmp_path, two_accounts(sandbox.url, more="minimum = 3"))
    assert run("check", "--online").exit_code == 1
    assert sandbox.calls() == []


# --- the queue ----------------------------------------------------------------------------------


def state(services, name="bogota"):
    return services.accounts.get(name).state


def claim(services, name="bogota"):
    """Begin a push, as a worker does; gives what ends it."""
    queue, account = services.queues.bound()[name], services.config.accounts[name]
    terms = terms_of(account, utc_now())
    claimed = services.queues.acquire(queue, secrets.token_hex(8), terms).claim
    assert isinstance(claimed, Claim)

    def finish(**outcome):
        told = PushResult(kind="ended", state="accepted", passed=True, **outcome)
        services.queues.finish(queue, claimed, 1, told, more=False, terms=terms)

    return finish


@pytest.fixture
def queued(services, tmp_path, store):
    from integration.domain.delivery import Delivery, Event
    from integration.mapping.planner import plan_delivery

    now = utc_now()
    delivery = Delivery(
        id="dl_1", source="forms", method="POST", url="", headers={}, body=b"{}", received_at=now
    )
    event = Event(data={"customer": "1", "phone": "3001112233", "at": "2030-01-01T10:00:00"}, dedup_key="1")
    services.admission.admit(delivery, plan_delivery(services.routes, delivery, [event], now), b"{}")


def test_a_queue_with_a_call_under_way_is_left_alone(services, queued, run, sandbox):
    claim(services)
    report = run.json("check", "--online", status=1)
    assert "a call may be running on this token" in report["online"][0]["detail"]
    assert report["online"][1]["good"] is True
    assert len(sandbox.calls()) == 1
    assert state(services) == "busy"


def test_a_store_that_no_worker_has_seen_needs_no_holding(services, store):
    store.flushall()
    assert [asked.good for asked in check_queues(services.config, services.store)] == [True, True]
    assert store.keys() == []


def test_a_check_of_another_configuration_changes_no_queue(services, queued, run, tmp_path, store):
    other = tmp_path / "other.toml"
    other.write_text((tmp_path / "ringback.toml").read_text().replace("accounts.lima]", "accounts.quito]"))
    other.write_text(other.read_text().replace('"lima"', '"quito"'))
    before = {
        key: store.hgetall(key) for key in store.keys("*queue:*") if not key.endswith((":recalls", ":newest"))
    }
    assert run("check", "--config", str(other)).exit_code == 0
    after = {
        key: store.hgetall(key) for key in store.keys("*queue:*") if not key.endswith((":recalls", ":newest"))
    }
    assert before == after


# --- lookups -----------------------------------------------------------------------------------


@pytest.fixture
def look_up(tmp_path):
    """Let the HubSpot source look contacts up, at a stub, with a token."""

    def look_up(base_url, token):
        path = tmp_path / "ringback.toml"
        lookup = (
            f'[sources.hubspot.lookup]\ntoken = "{token}"\nproperties = ["phone"]\nbase_url = "{base_url}"\n'
        )
        path.write_text(path.read_text() + lookup)

    return look_up


@pytest.mark.parametrize(
    ("token", "good", "words"),
    [(TOKEN, True, "accepts the lookup's credentials"), ("not-it", False, "rejects the token")],
)
def test_the_token_of_a_lookup_is_tried(run, look_up, token, good, words):
    with HubspotStub() as hubspot:
        look_up(hubspot.base_url, token)
        asked = run.json("check", "--online", status=0 if good else 1)["online"][-1]
    assert (asked["who"], asked["good"]) == (["hubspot"], good)
    assert words in asked["detail"]
