"""Requesting an ended recall again: a new recall that is linked with the earlier one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.errors import ConflictError
from integration.domain.recall import State
from integration.store.token_queue import PushResult
from support import make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.installation import Installation

NOW = datetime.now(UTC)
AT = (NOW + timedelta(days=3)).replace(second=0, microsecond=0)
ENDINGS = {
    State.ACCEPTED: PushResult(kind="ended", state="accepted", reason="ok", passed=True),
    State.DEAD: PushResult(kind="ended", state="dead", reason="refused", passed=True),
    State.EXPIRED: PushResult(kind="ended", state="expired", reason="too late"),
    State.SIMULATED: PushResult(kind="ended", state="simulated", reason="dry-run"),
}


@pytest.fixture
def installation(tmp_path, store):
    return Installation(make_services(tmp_path, store, two_accounts(more="min_lead_minutes = 0")))


def ended(installation, state):
    recall = installation.ask()
    if state is State.SUPERSEDED:
        installation.ask()
    elif state is State.CANCELLED:
        installation.services.recalls.cancel(recall, "by hand")
    else:
        installation.push(ENDINGS[state])
    assert installation.state(recall) is state
    return recall


def again(installation, recall, at="", who="ana"):
    return installation.services.recalls.ask_again(recall, at, who, datetime.now(UTC))


@pytest.mark.parametrize("state", [*ENDINGS, State.SUPERSEDED, State.CANCELLED])
def test_a_recall_in_any_final_state_is_asked_for_again_at_the_operators_time(installation, state):
    old = ended(installation, state)
    new = again(installation, old, AT.isoformat())
    first, second = installation.recall(old), installation.recall(new)
    assert (first.state, second.state) == (state, State.QUEUED)
    assert second.recall_date == AT
    assert second.reason == "requested again by ana"
    fields = ("account", "campaign_id", "customer_id", "recall_telephone", "source", "route", "record")
    assert [getattr(first, name) for name in fields] == [getattr(second, name) for name in fields]
    assert (second.again_of, first.again_by) == (old, (new,))


def test_without_a_time_it_is_due_at_once_also_where_late_dates_are_dropped(tmp_path, store):
    installation = Installation(
        make_services(tmp_path, store, two_accounts(more='min_lead_minutes = 0\nlate = "drop"'))
    )
    new = installation.recall(again(installation, ended(installation, State.ACCEPTED)))
    assert new.state is State.QUEUED
    assert abs(new.recall_date - datetime.now(UTC)) < timedelta(minutes=1)


def test_it_is_the_newest_request_and_replaces_what_is_queued(installation):
    old = ended(installation, State.SUPERSEDED)
    (queued,) = [recall.id for recall in installation.recalls(state=State.QUEUED)]
    new = again(installation, old)
    assert installation.state(queued) is State.SUPERSEDED
    third = again(installation, old)
    assert installation.recall(old).again_by == (new, third)


def test_a_recall_that_has_not_ended_and_one_of_an_account_that_is_gone_are_refused(
    installation, tmp_path, store
):
    recall = installation.ask()
    with pytest.raises(ConflictError):
        again(installation, recall)
    installation.push(ENDINGS[State.DEAD])
    (tmp_path / "other").mkdir()
    other = Installation(
        make_services(
            tmp_path / "other", store, two_accounts().replace("[accounts.bogota]", "[accounts.cali]")
        )
    )
    with pytest.raises(ConflictError, match="no longer in the configuration"):
        again(other, recall)


def test_the_page_asks_links_and_audits(installation):
    old = ended(installation, State.DEAD)
    pages = Pages(installation.services)
    local = AT.astimezone(installation.services.config.accounts["bogota"].timezone)
    refused = pages.post(f"/recalls/{old}/again", {"at": "not a time"})
    assert "Not requested" in text_of(refused)
    answer = pages.post(f"/recalls/{old}/again", {"at": local.strftime("%Y-%m-%dT%H:%M")})
    assert "Requested again. This is the new recall." in text_of(answer)
    (new,) = installation.recall(old).again_by
    assert f'href="/recalls/{new}"' in pages.get(f"/recalls/{old}").text
    assert f'href="/recalls/{old}"' in pages.get(f"/recalls/{new}").text
    assert installation.recall(new).recall_date == AT
    entries, _ = installation.services.audit.page(limit=1)
    assert (entries[0].what, entries[0].about) == ("ask again", (old, new))
    assert pages.post(f"/recalls/{new}/again").status_code == 409
    assert Pages(installation.services, "viewer").post(f"/recalls/{old}/again").status_code == 403


def test_the_same_form_sent_twice_asks_once(installation):
    old = ended(installation, State.DEAD)
    pages = Pages(installation.services)
    for _copy in range(2):
        assert "This is the new recall." in text_of(pages.post(f"/recalls/{old}/again", {"once": "1"}))
    assert len(installation.recall(old).again_by) == 1
    assert 'name="once" value="2"' in pages.get(f"/recalls/{old}").text
    pages.post(f"/recalls/{old}/again", {"once": "2"})
    assert len(installation.recall(old).again_by) == 2
