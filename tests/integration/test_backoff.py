"""How long to wait after a failure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.clients.backoff import backoff_seconds


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(-1, 2), (0, 2), (1, 2), (2, 4), (3, 8), (4, 16), (5, 20), (10**9, 20)]
)
def test_the_wait_doubles_up_to_its_maximum(attempt, seconds):
    assert backoff_seconds(attempt, base=2, maximum=20) == seconds


@pytest.mark.parametrize(("jitter", "seconds"), [(-0.25, 15), (0.0, 20), (0.25, 25)])
def test_jitter_is_a_fraction_of_the_wait(jitter, seconds):
    assert backoff_seconds(9, base=2, maximum=20, jitter=jitter) == seconds


@given(st.integers(1, 10_000), st.floats(0.001, 10), st.floats(10, 1000), st.floats(-0.5, 0.5))
def test_a_further_failure_never_waits_less(attempt, base, maximum, jitter):
    first, then = (
        backoff_seconds(times, base=base, maximum=maximum, jitter=jitter) for times in (attempt, attempt + 1)
    )
    assert 0 < first <= then <= maximum * (1 + jitter)
