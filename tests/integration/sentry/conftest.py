"""A Sentry on loopback that the real SDK of this process sends to."""

from __future__ import annotations

import pytest
import sentry_sdk

from integration.telemetry import logging
from integration.telemetry import sentry as reporting
from integration.telemetry.redaction import forget_secrets
from integration.telemetry.sentry import start_sentry
from support.planted import config
from support.sentry_sink import sentry_sink


@pytest.fixture(scope="module", autouse=True)
def sentry_in_half_of_the_modules():
    """Leave it to each test here whether Sentry is on."""


@pytest.fixture
def sink():
    with sentry_sink() as server:
        yield server


@pytest.fixture
def sentry_ends():
    """Give the test a trace of its own, and stop the Sentry that was started in it."""
    with sentry_sdk.isolation_scope() as scope:
        scope.set_new_propagation_context()
        yield
    sentry_sdk.get_client().close(timeout=2)
    sentry_sdk.get_global_scope().set_client(None)
    sentry_sdk.get_global_scope().clear()
    logging.remove_observer(reporting._observe_log_line)
    forget_secrets()


@pytest.fixture
def sentry(sink, sentry_ends):
    """Start Sentry towards the sink, tracing everything."""
    start_sentry({"SENTRY_DSN": sink.dsn, "SENTRY_TRACES_SAMPLE_RATE": "1"}, config())
    return sink
