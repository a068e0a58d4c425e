"""Resuming an account waits for its first push, and says what came of it."""

from __future__ import annotations

import pytest

from integration.domain.account import next_reset, quota_day
from integration.services.accounts import LOOKS
from integration.store.token_queue import PushResult
from support import make_services, two_accounts
from support.dashboard_client import Pages
from support.installation import Installation


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts())
    services.binding.bind()
    return services


@pytest.fixture
def installation(services):
    return Installation(services)


def test_resuming_says_what_came_of_it(services):
    pages = Pages(services)
    services.accounts.pause("bogota", "x")
    assert "Resumed." in pages.post("/accounts/bogota/resume").text
    assert "Nothing was changed" in pages.post("/accounts/bogota/resume").text
    assert [entry.what for entry in services.audit.page()[0]] == ["resume", "resume"]


class Meanwhile:
    """What happens while the page waits for the first push: each look takes the next act."""

    def __init__(self, *acts):
        self.acts, self.slept = list(acts), 0

    def __call__(self, _seconds):
        self.slept += 1
        if self.acts:
            self.acts.pop(0)()


@pytest.mark.parametrize(
    ("outcome", "what"),
    [
        (PushResult(kind="ended", state="accepted", reason="ok", passed=True, sent_ms=1), "accepted"),
        (PushResult(kind="ended", state="dead", reason="refused", passed=True, sent_ms=1), "refused"),
        (PushResult(kind="again", reason="401", stop="the token is refused", sent_ms=1), "held"),
        (PushResult(kind="again", reason="no connection", wait_ms=60_000), "held"),
    ],
)
def test_resuming_waits_for_the_first_push_and_says_what_came_of_it(services, installation, outcome, what):
    installation.ask("1")
    installation.ask("2")
    services.accounts.pause("bogota", "x")
    meanwhile = Meanwhile(lambda: None, lambda: installation.push(outcome))
    first = services.accounts.resume_and_watch("bogota", meanwhile)
    assert (first.what, meanwhile.slept) == (what, 2)


def test_a_queue_that_nobody_drains_is_waited_for_a_bounded_time(services, installation):
    installation.ask("1")
    services.accounts.pause("bogota", "x")
    meanwhile = Meanwhile()
    assert services.accounts.resume_and_watch("bogota", meanwhile).what == "none yet"
    assert meanwhile.slept == LOOKS


def test_resuming_does_not_cut_a_quiet_time_short_and_says_so(services, installation):
    installation.ask("80123456")
    installation.push(PushResult(kind="again", reason="no answer", quiet=True, sent_ms=0, wait_ms=60_000))
    done = Pages(services).post("/accounts/bogota/resume").text
    assert "Resumed, but the queue is waiting again" in done
    assert services.accounts.get("bogota").state == "waiting"


def test_a_new_day_or_a_call_of_another_account_is_no_acceptance(services, installation):
    installation.ask("1")
    services.accounts.pause("bogota", "x")
    queue = services.binding.queue_of("bogota")
    key = services.store.key(f"queue:{queue}")
    account = services.config.accounts["bogota"]
    today = quota_day(next_reset(account, services.store.now()))
    meanwhile = Meanwhile(lambda: services.store.client.hset(key, mapping={"day": today, "pushed": 7}))
    assert services.accounts.resume_and_watch("bogota", meanwhile).what == "none yet"


def test_after_a_refusal_the_page_is_that_of_the_account(services, installation, monkeypatch):
    installation.ask("1")
    services.accounts.pause("bogota", "x")
    outcome = PushResult(kind="ended", state="dead", reason="refused", passed=True, sent_ms=1)
    meanwhile = Meanwhile(lambda: installation.push(outcome))
    watch = services.accounts.resume_and_watch
    monkeypatch.setattr(services.accounts, "resume_and_watch", lambda name: watch(name, meanwhile))
    answer = Pages(services).post("/accounts/bogota/resume", {"page": "attention"})
    assert "see its answer below" in answer.text
    assert answer.request.path == "/accounts/bogota"
