"""The check that no envelope holds anything private can fail."""

from __future__ import annotations

import pytest

from support.sentry_sink import SentrySink

CLEAN = (
    '{"event_id":"1234567890123456","sent_at":"2026-11-30T10:00:00.123456Z"}\n{"type":"event"}\n'
    '{"tags":{"recall":"rc_0000000012ab"},"timestamp":1796037955.351681,"rand":0.1234567890}'
)


def requires_clean(text: str) -> None:
    with SentrySink() as sink:
        sink.received.append(("/api/7/envelope/\n", text.encode()))
        sink.require_clean(['s"cret/1'])


def test_ids_times_and_shares_are_nobodys_number():
    requires_clean(CLEAN)


@pytest.mark.parametrize("private", ['s"cret/1', 's\\"cret/1', "s%22cret%2F1", "3001112233", ":3001112233,"])
def test_a_secret_in_any_spelling_and_a_number_are_found(private):
    with pytest.raises(AssertionError, match="in an envelope to Sentry"):
        requires_clean(f"{CLEAN} {private}")
