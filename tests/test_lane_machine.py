"""The lanes under everything that may befall them; `lane_machine.py` says what that is.

RINGBACK_EXAMPLES and RINGBACK_STEPS make a longer run of it. A failure prints the steps that lead to it.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from lane_machine import LaneMachine

EXAMPLES = int(os.environ.get("RINGBACK_EXAMPLES", "40"))
STEPS = int(os.environ.get("RINGBACK_STEPS", "30"))


@pytest.mark.timeout(120 + 2 * EXAMPLES)
def test_no_order_of_faults_breaks_a_promise_of_the_lanes(store):
    run_state_machine_as_test(
        lambda: LaneMachine(store),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
