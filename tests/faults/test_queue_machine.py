"""The queues under everything that may befall them; the package `queue_machine` says what that is.

RINGBACK_EXAMPLES and RINGBACK_STEPS make a longer run of it. A failure prints the steps that lead to it.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from faults.queue_machine import QueueMachine

EXAMPLES = int(os.environ.get("RINGBACK_EXAMPLES", "40"))
STEPS = int(os.environ.get("RINGBACK_STEPS", "30"))


@pytest.mark.timeout(120 + 2 * EXAMPLES)
def test_no_order_of_faults_breaks_a_promise_of_the_queues(store):
    run_state_machine_as_test(
        lambda: QueueMachine(store),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("all_hear", [False, True])
def test_a_copy_put_back_again_before_all_have_heard_of_the_loss(store, all_hear):
    """Found by a long run. Only the web saw more than the copy holds, and the workers go on with it."""
    machine = QueueMachine(store)
    machine.the_first_recalls_are_asked_for(account="bogota", due=3)
    machine.the_store_is_copied()
    machine.an_event_is_sent_again(alone=False, which=2)
    machine.the_store_goes_back(acquires=False, first=0, all_hear=all_hear)
    machine.the_store_goes_back(acquires=True, first=1, all_hear=all_hear)
    machine.the_store_goes_back(acquires=True, first=1, all_hear=all_hear)
    # A worker knows the copy's history further than the copy, the web another one that began with the loss before.
    assert [loss.how for loss in machine.reports] == (
        ["went back", "was exchanged", "was exchanged"]
        if all_hear
        else ["went back", "was exchanged", "went back", "was exchanged"]
    )
    machine.teardown()


def test_a_token_that_changes_after_a_copy_that_knows_of_no_claim_was_put_back(store):
    """Found by a long run. The store holds all queues for the lease of whoever asks, also one that has none yet."""
    machine = QueueMachine(store)
    machine.the_first_recalls_are_asked_for(account="bogota", due=0)
    machine.the_store_is_copied()
    machine.a_worker_is_frozen_while_another_takes_over(how=0, sends=False, steps=0, which=0)
    machine.the_store_goes_back(acquires=False, first=0, all_hear=False)
    machine.an_account_gets_another_token(account="bogota", queue="L3")
    machine.every_promise_holds()
    machine.a_worker_acquires(which=0, skew=0, lost=False, sends=True)
    machine.teardown()
