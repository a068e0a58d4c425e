"""Rejected deliveries are recorded with their cause and without their body. No response waits for it."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from integration.domain.rejection import relevant_header_names, shortened
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.webhooks.rejection_log import (
    BURST_SECONDS,
    DIAGNOSES_PER_SECOND,
    DIAGNOSES_PER_SOURCE_AND_SECOND,
    LISTED_PER_BATCH,
    MOST_WAITING,
    RejectionLog,
)
from support import (
    ENVIRON,
    SOURCES_AND_ROUTES,
    as_bytes,
    hubspot_event,
    make_services,
    signed,
    two_accounts,
    write_config,
)
from support.hook_client import AT, HookClient
from support.waiting import wait_until

PHONE = "3001112233"


def test_a_stale_delivery_is_listed_with_its_age(web):
    body = as_bytes([hubspot_event(1, AT)])
    late = datetime.now(UTC) - timedelta(minutes=10)
    headers = signed(web.services, "hubspot", body, url="http://localhost/hooks/hubspot", now=late)
    answer = web.post("hubspot", body, headers=headers)
    assert (answer.status_code, "stale" in answer.text) == (401, False)
    (told,) = web.rejections()
    assert (told.status, told.check, told.proved) == (401, "timestamp", True)
    ((cause, facts),) = told.findings
    assert cause == "stale"
    assert 598 <= int(facts["seconds"]) <= 605


def test_the_answer_is_the_same_bare_401_whatever_is_found(web):
    body = as_bytes([hubspot_event(1, AT)])
    stale = signed(
        web.services,
        "hubspot",
        body,
        url="http://localhost/hooks/hubspot",
        now=datetime.now(UTC) - timedelta(hours=1),
    )
    other_address = signed(web.services, "hubspot", body, url="https://localhost/hooks/hubspot")
    answers = [web.post("hubspot", body, headers=headers) for headers in (stale, other_address, {})]
    answers.append(web.forged())
    assert {(one.status_code, one.data) for one in answers} == {(401, answers[0].data)}
    causes = {one.findings[0][0] for one in web.rejections()}
    assert causes == {"stale", "address", "missing header"}


def test_no_body_and_no_secret_is_recorded(web, store):
    body = as_bytes({"customer": "cliente-55", "phone": PHONE, "at": AT})
    headers = signed(web.services, "forms", body, url="", now=datetime.now(UTC) - timedelta(hours=1))
    headers |= {
        "Authorization": "Bearer hunter2-of-somebody",
        "X-Token": "another-credential",
        "Cookie": "a=b",
    }
    web.post("forms", body, headers=headers)
    web.rejections()
    kept = "".join(str(store.xrange(key)) for key in store.keys("*refused*"))
    assert "webhook-signature" in kept
    for secret in (
        PHONE,
        "cliente-55",
        "hunter2",
        "another-credential",
        *ENVIRON.values(),
        headers["webhook-signature"],
    ):
        assert secret not in kept
    assert store.keys("*delivery:*") == []


def test_each_kind_of_refusal_is_listed(web):
    web.forged()
    web.post("forms", b"{", message_id="m1")
    web.post("forms", b"x" * (1024 * 1024 + 1), headers={"content-type": "application/json"})
    web.post("forms", b"{}", headers={"content-encoding": "gzip"})
    assert sorted(one.status for one in web.rejections()) == [400, 401, 413, 415]


def test_deliveries_over_the_rate_are_listed(tmp_path, store):
    class Over:
        def over(self, name, per_minute):
            return 7

    text = two_accounts() + SOURCES_AND_ROUTES.replace(
        'kind = "hubspot"', 'kind = "hubspot"\nrate_per_minute = 5'
    )
    web = HookClient(make_services(tmp_path, store, text), Over())
    assert web.post("hubspot", [hubspot_event(1, AT)]).status_code == 429
    (told,) = web.rejections()
    assert (told.status, told.why, told.findings) == (
        429,
        "more than `rate_per_minute` = 5 deliveries in a minute",
        (),
    )


def test_a_secret_that_was_rotated_out_while_the_web_ran_is_recognised(tmp_path, store, monkeypatch):
    services = make_services(tmp_path, store)
    web = HookClient(services)
    body = as_bytes([hubspot_event(1, AT)])
    headers = signed(services, "hubspot", body, url="http://localhost/hooks/hubspot")
    changed = (two_accounts() + SOURCES_AND_ROUTES).replace(
        '"env:HUBSPOT_SECRET"', '"a-new-secret-of-hubspot"'
    )
    write_config(tmp_path, changed)
    later = time.time() + 5
    import os

    os.utime(tmp_path / "ringback.toml", (later, later))
    wait_until(
        lambda: services.config.sources["hubspot"].secrets[0].get_secret_value() == "a-new-secret-of-hubspot"
    )
    assert web.post("hubspot", body, headers=headers).status_code == 401
    (told,) = web.rejections()
    assert [cause for cause, _ in told.findings] == ["retired secret"]


def test_diagnoses_are_limited_per_second(web, monkeypatch):
    looked_into = []
    from integration.webhooks import rejection_log

    real = rejection_log.diagnose
    monkeypatch.setattr(rejection_log, "diagnose", lambda *a, **k: looked_into.append(1) or real(*a, **k))
    web.rejection_log._clock = lambda: 100.0
    for _ in range(200):
        web.forged()
    listed = web.rejections()
    assert len(looked_into) == DIAGNOSES_PER_SOURCE_AND_SECOND * BURST_SECONDS
    assert len(listed) == LISTED_PER_BATCH
    assert sum(one.more for one in listed) == 200 - LISTED_PER_BATCH
    assert "not looked into" in {cause for one in listed for cause, _ in one.findings}
    web.rejection_log._clock = lambda: 101.0
    for _ in range(10):
        web.forged()
    web.rejections()
    assert len(looked_into) == DIAGNOSES_PER_SOURCE_AND_SECOND * (BURST_SECONDS + 1)
    assert DIAGNOSES_PER_SECOND > DIAGNOSES_PER_SOURCE_AND_SECOND


def not_written(logged):
    """Return the counts of rejections that the log reports as not recorded."""
    return [line["count"] for line in logged if "not recorded" in line["event"]]


def test_the_queue_is_bounded_and_dropped_entries_are_counted(web, monkeypatch):
    from integration.domain.rejection import rejection_of

    monkeypatch.setattr(web.rejection_log, "_start", lambda: None)

    one = rejection_of(
        at=datetime.now(UTC), source="hubspot", status=401, method="POST", size=1, headers={}, address=""
    )
    for _ in range(MOST_WAITING + 25):
        web.rejection_log.note(one)
    with capture_logs() as logged:
        web.rejection_log.write()
        web.rejection_log.write()
    assert not_written(logged) == [25]


def test_large_bodies_do_not_pile_up(web):
    web.rejection_log._clock = lambda: 0.0
    for _ in range(6):
        web.forged(body=b"[" + b" " * (1024 * 1024 - 2) + b"]")
    assert web.rejection_log._waiting_bytes <= 4 * 1024 * 1024
    assert len(web.rejections()) == 6


def test_with_the_store_away_they_are_dropped_and_counted_and_the_answer_is_the_same(
    tmp_path, store, monkeypatch
):
    make_services(tmp_path, store)
    from integration.services.configuration import watch_config

    away = Services(
        watch_config(tmp_path / "ringback.toml", ENVIRON),
        Store(connect("redis://127.0.0.1:9/0", timeout_seconds=0.2, connect_seconds=0.2)),
        WakeUpPublisher.silent(),
    )
    web = HookClient(away)
    monkeypatch.setattr(web.rejection_log, "_start", lambda: None)
    assert web.forged().status_code == 401
    with capture_logs() as logged:
        web.rejection_log.write()
    assert not_written(logged) == [1]


def test_an_error_of_a_diagnosis_does_not_end_the_thread(web, monkeypatch):
    from integration.webhooks import rejection_log

    monkeypatch.setattr(rejection_log, "diagnose", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(web.rejection_log, "_start", lambda: None)
    web.forged()
    with capture_logs() as logged:
        web.rejection_log.write()
    assert not_written(logged) == [1]
    monkeypatch.undo()
    web.forged()
    assert len(web.rejections()) == 1


def test_the_thread_writes_by_itself_within_seconds(tmp_path, store):
    web = HookClient(make_services(tmp_path, store), rejection_log=RejectionLog)
    web.forged()
    wait_until(lambda: web.services.delivery_log.page(["hubspot"], result="refused").items)


@pytest.mark.parametrize(
    ("address", "short"),
    [
        ("203.0.113.77", "203.0.113.x"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:x"),
        ("127.0.0.1", "127.0.0.1"),
        ("<script>", ""),
        ("", ""),
    ],
)
def test_an_address_is_shortened(address, short):
    assert shortened(address) == short


def test_header_names_are_kept_without_values_and_without_what_a_name_cannot_hold():
    headers = {"x-signature": "secret", "x-\x1btoken<b>": "secret", "accept": "x", "x" * 500 + "token": ""}
    names = relevant_header_names(headers)
    assert "x-signature" in names
    assert "accept" not in names
    assert "secret" not in json.dumps(names)
    assert all(len(name) <= 64 and "<" not in name and "\x1b" not in name for name in names)


def test_the_list_of_a_batch_keeps_every_source(web):
    from integration.domain.rejection import rejection_of
    from integration.webhooks.rejection_log import listed

    one = rejection_of(
        at=datetime.now(UTC), source="hubspot", status=401, method="POST", size=1, headers={}, address=""
    )
    batch = [one] * 100 + [replace(one, source="forms")]
    found = listed(batch)
    assert {other.source for other in found} == {"hubspot", "forms"}
    assert len(found) + sum(other.more for other in found) == 101
