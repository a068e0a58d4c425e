"""Ringback with one guard taken out at a time: the suite has to fail for each. `make mutants`.

A test that cannot fail proves nothing, and a guard without a test is gone at the next change. The modules
beside this one list guards by subject; docs/mutants.md says which test caught which. The mutants of the
fault run, for which everything is started and killed, are in `faults.mutants`.
"""

from __future__ import annotations

from . import (
    bodies,
    drains,
    intake,
    isolation,
    outgoing_calls,
    pages,
    privacy,
    queues,
    senders,
    telephones,
    untrusted_input,
)

MUTANTS = (
    *queues.GUARDS,
    *intake.GUARDS,
    *drains.GUARDS,
    *outgoing_calls.GUARDS,
    *senders.GUARDS,
    *bodies.GUARDS,
    *privacy.GUARDS,
    *pages.GUARDS,
    *untrusted_input.GUARDS,
    *telephones.GUARDS,
    *isolation.GUARDS,
)
