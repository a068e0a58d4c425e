"""`ringback recalls`, `show`, `retry`, `cancel`, `parked`, `remap`, `accounts`, `pause`, `resume`, on a real store."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Delivery, Event
from integration.domain.recall import Attempt
from integration.mapping.planner import plan_delivery
from integration.store.client import Store
from integration.store.recalls import encoded_attempt
from integration.store.token_queue import Claim, PushResult, TokenQueues, terms_of
from support import SOURCES_AND_ROUTES, on_one_token, two_accounts, url_of, write_config
from support.cli_runner import Ringback

PHONE = "3001112233"


@pytest.fixture
def run(services, tmp_path, store):
    return Ringback(tmp_path / "ringback.toml", {"REDIS_URL": url_of(store)})


@pytest.fixture
def admit(installation):
    def admit(customer="1", *, account="bogota", expired=None):
        request = installation.request(customer, account=account, hours=2)
        return installation.admit(
            replace(request, recall_telephone=PHONE, source="forms", route="form"), expired
        )

    return admit


@pytest.fixture
def push(services):
    """Push the next recall of an account, as a worker would, with wolkvox's answer as given."""

    def push(account="bogota", **outcome):
        services.binding.bind()
        queue = services.queues.bound()[account]
        terms = terms_of(services.config.accounts[account], datetime.now(UTC))
        claim = services.queues.acquire(queue, "nonce", terms).claim
        assert isinstance(claim, Claim)
        attempt = Attempt(
            started_at=datetime.now(UTC),
            seconds=0.25,
            http_status=400,
            code="400",
            msg=f"customer \x1b[2J at {PHONE} is unknown",
            outcome="refused",
        )
        told = PushResult(kind="ended", attempt=encoded_attempt(attempt), **outcome)
        a_second_later = services.store.now_ms() + 1000
        queues = TokenQueues(Store(services.store.client, clock=lambda: a_second_later))
        queues.finish(queue, claim, 1, told, more=False, terms=terms)
        return claim.recall_id

    return push


@pytest.fixture
def dead(admit, push):
    def dead(customer="1", account="bogota"):
        admit(customer, account=account)
        return push(
            account,
            state="dead",
            reason="wolkvox rejected the callback; its answer gives the reason",
            passed=True,
        )

    return dead


# --- recalls -----------------------------------------------------------------------------------


def test_recalls_are_listed_newest_first(run, admit):
    ids = [admit(str(number)) for number in range(3)]
    assert [item["id"] for item in run.json("recalls")["items"]] == ids[::-1]


def test_recalls_are_found_by_what_is_known_of_them(run, admit):
    one, two = admit("1"), admit("2", account="lima")

    def found(*args):
        return [item["id"] for item in run.json("recalls", *args)["items"]]

    assert found("--telephone", "+57 300 111 2233") == found("--telephone", "2233") == [two, one]
    assert found("--telephone", "9999") == []
    assert found("--campaign", "10", "--account", "lima") == [two]
    assert found("--source", "forms", "--route", "form", "--customer", "1") == [one]
    assert found("--record", "nothing") == []
    assert run("recalls", "--telephone", "12").exit_code == 2


def test_the_json_of_a_recall_is_what_v1_gives(run, admit):
    (item,) = run.json("recalls")["items"] if admit() else ()
    assert item["state"] == "queued"
    assert item["recall_telephone"] == PHONE
    assert datetime.fromisoformat(item["recall_date"]).tzinfo is not None
    assert {"account", "campaign_id", "customer_id", "requested_date", "source", "created_at"} <= item.keys()
    assert (item["attempts"], item["reason"]) == ([], "admitted")


@pytest.mark.parametrize("command", ["recalls", "show"])
def test_telephones_are_masked_on_screen_unless_revealed(run, admit, command):
    recall = admit()
    args = (command, recall) if command == "show" else (command,)
    assert PHONE not in run(*args).stdout
    assert "•••• 33" in run(*args).stdout
    assert PHONE in run(*args, "--reveal").stdout


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (("--state", "dead"), {"a"}),
        (("--state", "queued"), {"b", "c"}),
        (("--account", "lima"), {"c"}),
        (("--customer", "b"), {"b"}),
        (("--account", "lima", "--state", "dead"), set()),
    ],
)
def test_filters_are_taken_together(run, admit, dead, filters, expected):
    dead("a")
    admit("b")
    admit("c", account="lima")
    assert {item["customer_id"] for item in run.json("recalls", *filters)["items"]} == expected


def test_a_page_says_that_there_is_more(run, admit):
    ids = [admit(str(number)) for number in range(3)]
    page = run.json("recalls", "--limit", "2")
    assert [item["id"] for item in page["items"]] == ids[:0:-1]
    assert page["next"] == ids[1]
    assert "the newest 2 recalls are listed" in run("recalls", "--limit", "2").stderr
    assert run("recalls", "--limit", "3").stderr == ""


def test_all_means_all(run, admit):
    for number in range(3):
        admit(str(number))
    found = run.json("recalls", "--limit", "1", "--all")
    assert len(found["items"]) == 3
    assert found["next"] is None


def test_no_recalls_is_no_error(run):
    assert run.json("recalls") == {"items": [], "next": None, "lookups": []}
    assert run("recalls").exit_code == 0


def test_a_misspelt_account_is_not_an_empty_list(run):
    done = run("recalls", "--account", "bogotá")
    assert done.exit_code == 1
    assert "Known: bogota, lima" in done.stderr


@pytest.mark.parametrize("args", [("recalls",), ("recalls", "--state", "queued"), ("parked",)])
def test_the_store_can_be_looked_at_while_the_configuration_is_faulty(run, admit, tmp_path, args):
    admit()
    write_config(tmp_path, "wrong = 1")
    assert run(*args).exit_code == 0


def test_a_recall_can_be_cancelled_and_shown_while_the_configuration_is_faulty(run, admit, tmp_path):
    recall = admit()
    write_config(tmp_path, "wrong = 1")
    assert run("cancel", recall).exit_code == 0
    assert run.json("show", recall)["state"] == "cancelled"


# --- show --------------------------------------------------------------------------------------


def test_show_prints_history_and_attempts_in_order_on_the_account_s_clock(run, dead):
    recall = dead()
    shown = run("show", recall).stdout
    timeline = shown.partition("\n\n")[2].splitlines()
    assert [line.split()[2] for line in timeline] == ["queued", "push", "dead"]
    assert all("-05:00" in line.split()[1] for line in timeline)
    assert "HTTP 400, code 400" in timeline[1]


def test_wolkvox_s_words_are_masked_and_cannot_steer_the_terminal(run, dead):
    recall = dead()
    shown = run("show", recall).stdout
    assert PHONE not in shown
    assert "\x1b" not in run("show", recall, "--reveal").stdout
    assert f"at {PHONE} is unknown" in run("show", recall, "--reveal").stdout


def test_show_masks_the_customer_as_in_the_answer_of_wolkvox(run, admit):
    recall = admit("cliente-8012")
    assert "cliente-8012" not in run("show", recall).stdout
    assert "cliente-8012" in run("show", recall, "--reveal").stdout


def test_show_holds_history_and_attempts_as_json(run, dead):
    shown = run.json("show", dead())
    assert [change["state"] for change in shown["history"]] == ["queued", "dead"]
    (attempt,) = shown["attempts"]
    assert (attempt["http_status"], attempt["code"], attempt["outcome"]) == (400, "400", "refused")


def test_an_unknown_recall_is_status_1(run):
    done = run("show", "rc_none")
    assert done.exit_code == 1
    assert "no such recall" in done.stderr


# --- retry and cancel --------------------------------------------------------------------------


def test_a_dead_recall_is_queued_again(run, dead):
    recall = dead()
    assert run.json("retry", recall) == {"retried": [recall], "failed": []}
    assert run.json("show", recall)["state"] == "queued"


def test_an_expired_recall_is_queued_again(run, admit):
    recall = admit(expired="the date was past")
    assert run.json("retry", recall)["retried"] == [recall]


def test_each_recall_is_reported_and_one_failure_makes_status_1(run, dead, admit):
    one, other = dead("1"), admit("2")
    told = run.json("retry", other, one, "rc_none", status=1)
    assert told["retried"] == [one]
    assert told["failed"] == [
        {"id": other, "state": "queued", "message": "the recall is queued"},
        {"id": "rc_none", "state": None, "message": "no such recall"},
    ]


def test_all_dead_recalls_of_one_account_are_retried(run, dead):
    ours, theirs = [dead(str(n)) for n in range(3)], dead("9", "lima")
    done = run("retry", "--dead", "--account", "bogota")
    assert done.exit_code == 0
    assert "3 retried, 0 failed" in done.stdout
    assert all(run.json("show", one)["state"] == "queued" for one in ours)
    assert run.json("show", theirs)["state"] == "dead"


def test_all_dead_recalls_are_retried_and_an_overtaken_one_is_reported(run, dead, admit):
    old, other = dead("1"), dead("2")
    admit("1")
    told = run.json("retry", "--dead", status=1)
    assert told["retried"] == [other]
    assert [(f["id"], f["state"]) for f in told["failed"]] == [(old, "dead")]


def test_nothing_dead_is_done(run):
    assert run.json("retry", "--dead") == {"retried": [], "failed": []}


def test_a_misspelt_account_of_retry_is_status_1(run):
    assert run("retry", "--dead", "--account", "nowhere").exit_code == 1


def test_an_id_given_twice_is_done_once(run, admit):
    recall = admit()
    assert run.json("cancel", recall, recall)["cancelled"] == [recall]


def test_what_wolkvox_has_cannot_be_cancelled(run, dead):
    done = run("cancel", dead())
    assert done.exit_code == 1
    assert "not cancelled: the recall is dead" in done.stderr
    assert "0 cancelled, 1 failed" in done.stdout


# --- parked ------------------------------------------------------------------------------------


@pytest.fixture
def park(services):
    def park(**fields):
        now = datetime.now(UTC)
        delivery = Delivery(
            id=f"dl_{fields['customer']}",
            source="forms",
            method="POST",
            url="",
            headers={},
            body=b"{}",
            received_at=now,
        )
        event = Event(data=fields, dedup_key=fields["customer"])
        services.admission.admit(delivery, plan_delivery(services.routes, delivery, [event], now), b"{}")

    return park


def test_parked_events_are_listed_with_the_reason_and_not_the_event(run, park):
    park(customer="80123456", phone="12", at="2030-01-01T10:00:00")
    shown = run("parked").stdout
    assert "recall_telephone" in shown
    assert "80123456" not in shown


def test_times_of_parked_events_and_pauses_are_in_the_zone_of_the_account(run, park):
    park(customer="80123456", phone="12", at="2030-01-01T10:00:00")
    run("pause", "bogota", "--minutes", "30")
    for command in ("parked", "accounts"):
        (moment,) = re.findall(r"\t(20\d\d-\S+ \S+)\t", run(command).stdout)
        assert moment.endswith("-05:00")


def test_the_json_of_parked_events_holds_the_event(run, park):
    park(customer="1", phone="12", at="2030-01-01T10:00:00")
    (item,) = run.json("parked")["items"]
    assert item["event"] == {"customer": "1", "phone": "12", "at": "2030-01-01T10:00:00"}
    assert (item["source"], item["route"], item["account"]) == ("forms", "form", "bogota")
    assert item["reason"]["field"] == "recall_telephone"


@pytest.mark.parametrize(
    ("filters", "found"), [(("--source", "forms"), 1), (("--source", "hubspot"), 0), (("--route", "x"), 0)]
)
def test_parked_events_are_filtered(run, park, filters, found):
    park(customer="1", phone="12", at="2030-01-01T10:00:00")
    assert len(run.json("parked", *filters)["items"]) == found


def test_the_newest_parked_events_are_listed_up_to_the_limit(run, park, monkeypatch):
    monkeypatch.setattr("integration.store.parked.STEP", 1)
    monkeypatch.setattr("integration.store.parked.MOST_LOOKED_AT", 1)
    for customer in "123":
        park(customer=customer, phone="12", at="2030-01-01T10:00:00")
    items = run.json("parked", "--limit", "2")["items"]
    assert [item["event"]["customer"] for item in items] == ["3", "2"]


def test_remap_goes_by_the_mended_configuration(run, park, tmp_path):
    park(customer="1", phone="12", at="2030-01-01T10:00:00")
    park(customer="2", phone="12", at="never")
    counts = {"looked_at": 2, "recalls": [], "pending": 0, "still_parked": 2}
    assert run.json("remap") == {**counts, "complete": True, "next": None}
    mended = SOURCES_AND_ROUTES.replace("{{ event.phone }}", "3009998877")
    write_config(tmp_path, two_accounts() + mended)
    told = run.json("remap", "--route", "form")
    assert (told["looked_at"], told["still_parked"]) == (2, 1)
    assert run.json("show", told["recalls"][0])["recall_telephone"] == "3009998877"
    assert "1 examined, 0 became recalls, 1 still parked" in run("remap").stdout


def test_remap_of_an_unknown_source_is_status_1(run):
    assert run("remap", "--source", "zoho").exit_code == 1


# --- accounts ----------------------------------------------------------------------------------


def test_accounts_are_listed_with_their_queues(run, admit):
    admit()
    items = {item["name"]: item for item in run.json("accounts")["items"]}
    assert items.keys() == {"bogota", "lima"}
    assert items["bogota"]["queued"] == 1
    assert items["lima"]["state"] == "idle"
    assert run("accounts").stdout.splitlines()[1].split("\t")[:4] == ["bogota", "idle", "1", "0"]


def test_pause_and_resume_change_the_queue(run):
    assert run.json("pause", "bogota", "--reason", "a break")["reason"] == "a break"
    assert run.json("accounts")["items"][0]["state"] == "paused"
    assert "bogota is idle" in run("resume", "bogota").stdout


def test_a_pause_for_some_minutes_says_until_when(run):
    paused = run.json("pause", "bogota", "--minutes", "30")
    assert (
        timedelta(minutes=29)
        < datetime.fromisoformat(paused["until"]) - datetime.now(UTC)
        < timedelta(minutes=31)
    )
    assert run("pause", "bogota", "--minutes", "0").exit_code == 2


def test_what_is_done_on_the_command_line_is_in_the_audit_log(run, admit, services):
    admit()
    recall = run.json("recalls")["items"][0]["id"]
    run("pause", "bogota")
    run("resume", "bogota")
    run("retry", recall)
    run("cancel", recall)
    run("remap")
    done = [(entry.who, entry.what, *entry.about) for entry in reversed(services.audit.page()[0])]
    assert {who for who, *_ in done} == {"command line"}
    assert [tuple(what) for _, *what in done] == [
        ("pause", "bogota"), ("resume", "bogota"), ("cancel", recall), ("remap", "every-source"),
    ]  # fmt: skip


def test_a_pause_without_a_reason_has_one(run):
    assert run.json("pause", "bogota")["reason"] == "paused by the operator"


def test_accounts_on_the_same_token_are_reported(run, tmp_path):
    text = on_one_token(two_accounts() + SOURCES_AND_ROUTES)
    write_config(tmp_path, text)
    assert "Accounts with the same token have the same state: lima" in run("pause", "bogota").stdout


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_unknown_account_is_status_1_and_names_the_known_ones(run, command):
    done = run(command, "quito")
    assert done.exit_code == 1
    assert "there is no account 'quito'. Known: bogota, lima" in done.stderr


def test_printed_json_is_one_document(run, admit):
    admit()
    assert json.loads(run("recalls", "--json").stdout)["items"]


# --- a store that may lose what is acknowledged -----------------------------------------------


@pytest.mark.parametrize(
    "command", [("cancel", "rc_00000001a1b2"), ("retry", "rc_00000001a1b2"), ("retry", "--dead"), ("remap",)]
)
def test_nothing_is_changed_in_a_store_that_may_lose_it(tmp_path, start_valkey, command):
    server = start_valkey("--appendonly", "no")
    write_config(tmp_path, two_accounts() + SOURCES_AND_ROUTES)
    done = Ringback(tmp_path / "ringback.toml", {"REDIS_URL": server.url})(*command)
    assert done.exit_code != 0
    assert "appendonly is no" in done.output
    with server.client() as client:
        assert client.dbsize() == 0
