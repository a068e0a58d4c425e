"""Accounts: listing, pausing and resuming."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from integration.domain.limits import MAX_BODY_BYTES
from support.api_cases import LIMITED


def test_accounts_are_listed_with_their_queues(web):
    web.asked_id()
    web.post("/v1/accounts/lima/pause")
    bogota, lima = web.get("/v1/accounts").json["items"]
    assert (bogota["name"], bogota["state"], bogota["queued"]) == ("bogota", "idle", 1)
    assert (bogota["dead"], bogota["pushed_today"], bogota["daily_limit"], bogota["until"]) == (
        0,
        0,
        None,
        None,
    )
    assert bogota["oldest_seconds"] >= 0
    assert (lima["name"], lima["state"], lima["queued"], lima["oldest_seconds"]) == (
        "lima",
        "paused",
        0,
        None,
    )


def test_pause_gives_the_reason_and_resume_ends_it(web):
    paused = web.post("/v1/accounts/bogota/pause", {"reason": "the campaign changes"})
    assert (paused.status_code, paused.json["state"]) == (200, "paused")
    assert web.get("/v1/accounts/bogota").json["reason"] == "the campaign changes"
    resumed = web.post("/v1/accounts/bogota/resume")
    assert (resumed.status_code, resumed.json["state"]) == (200, "idle")


@pytest.mark.parametrize(
    "more", [{}, {"data": b"", "content_type": "text/plain"}, {"json": {}}, {"json": {"reason": None}}]
)
def test_a_pause_without_reason_names_who_paused(web, more):
    assert web.post("/v1/accounts/bogota/pause", **more).json["reason"] == "paused by api:zapier"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"json": {"why": "x"}}, 422),
        ({"json": {"reason": ""}}, 422),
        ({"json": {"reason": "a\nb"}}, 422),
        ({"json": {"reason": "x" * 257}}, 422),
        ({"json": []}, 422),
        ({"json": {"until": "2030-06-03T18:00:00"}}, 422),
        ({"json": {"until": "2020-06-03T18:00:00Z"}}, 422),
        ({"json": {"until": "2130-06-03T18:00:00Z"}}, 422),
        ({"json": {"until": 1893456000}}, 422),
        ({"json": {"until": "tomorrow"}}, 422),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"reason=x", "content_type": "application/x-www-form-urlencoded"}, 415),
        ({"data": b" " * (MAX_BODY_BYTES + 1), "content_type": "application/json"}, 413),
    ],
)
def test_a_bad_pause_is_refused_and_pauses_nothing(web, more, status):
    assert web.post("/v1/accounts/bogota/pause", **more).status_code == status
    assert web.get("/v1/accounts/bogota").json["state"] == "idle"


def test_a_pause_with_an_end_tells_it(web):
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    local = ends.astimezone(timezone(timedelta(hours=-5)))
    paused = web.post("/v1/accounts/bogota/pause", {"until": local.isoformat()})
    assert (paused.status_code, paused.json["state"]) == (200, "paused")
    assert datetime.fromisoformat(paused.json["until"]) == ends


def test_what_a_key_does_is_in_the_audit_log_and_what_it_fails_at_is_not(web):
    web.post("/v1/accounts/bogota/pause")
    web.post("/v1/accounts/bogota/resume")
    web.post("/v1/parked/remap", {"source": "forms"})
    recall = web.asked_id()
    assert web.post(f"/v1/recalls/{recall}/retry").status_code == 409
    web.post(f"/v1/recalls/{recall}/cancel")
    done = [(entry.who, entry.what, *entry.about) for entry in reversed(web.services.audit.page()[0])]
    assert done == [
        ("api:zapier", "pause", "bogota"),
        ("api:zapier", "resume", "bogota"),
        ("api:zapier", "remap", "forms"),
        ("api:zapier", "cancel", recall),
    ]


def test_a_limited_key_sees_and_pauses_only_its_own_accounts(web):
    assert [account["name"] for account in web.get("/v1/accounts", key=LIMITED).json["items"]] == ["lima"]
    assert web.get("/v1/accounts/bogota", key=LIMITED).status_code == 404
    assert web.post("/v1/accounts/bogota/pause", key=LIMITED).status_code == 404
    assert web.get("/v1/accounts/bogota").json["state"] == "idle"
    assert web.post("/v1/accounts/lima/pause", key=LIMITED).status_code == 200


def test_a_limited_key_resumes_no_foreign_account(web):
    web.post("/v1/accounts/bogota/pause")
    assert web.post("/v1/accounts/bogota/resume", key=LIMITED).status_code == 404
    assert web.get("/v1/accounts/bogota").json["state"] == "paused"


def test_an_unknown_account_is_not_found(web):
    assert web.get("/v1/accounts/medellin").status_code == 404
    assert web.post("/v1/accounts/medellin/pause").status_code == 404
    assert web.post("/v1/accounts/medellin/resume").status_code == 404
