"""Half of the modules run with Sentry on: with SENTRY_DSN set, in this process and in those they start.

RINGBACK_TESTS_SENTRY chooses which: `half` (the default), `other` half, `all` or `none`.
"""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING

import pytest
import sentry_sdk

from integration.config.models import Config
from integration.local.sandbox import Sandbox
from integration.telemetry.sentry import start_sentry
from support import ENVIRON, make_services
from support.alert_receivers import HttpReceiver, running
from support.hook_client import HookClient
from support.installation import Installation
from support.sentry_sink import SentrySink, sentry_sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def reports_to_sentry(module: Path) -> bool:
    odd = zlib.crc32(module.name.encode()) % 2 == 1
    chosen = os.environ.get("RINGBACK_TESTS_SENTRY") or "half"
    return {"half": odd, "other": not odd, "all": True, "none": False}[chosen]


@pytest.fixture(scope="session")
def sink_of_all_modules() -> Iterator[SentrySink]:
    with sentry_sink() as sink:
        yield sink


@pytest.fixture(scope="module", autouse=True)
def sentry_in_half_of_the_modules(
    request: pytest.FixtureRequest, sink_of_all_modules: SentrySink
) -> Iterator[None]:
    """Start Sentry for a module, and assert at its end that nothing private was sent."""
    sink = sink_of_all_modules
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SENTRY_DSN", raising=False)
        if not reports_to_sentry(request.path):
            yield
            return
        patch.setenv("SENTRY_DSN", sink.dsn)
        patch.setenv("SENTRY_TRACES_SAMPLE_RATE", "1")
        before = len(sink.received)
        start_sentry(os.environ, Config())
        yield
        sentry_sdk.get_client().close(timeout=5)
        sentry_sdk.get_global_scope().set_client(None)
        sink.require_clean(ENVIRON.values(), since=before)


@pytest.fixture
def services(tmp_path, store):
    """A services with the tests' own configuration, on an empty store. Not yet bound."""
    return make_services(tmp_path, store)


@pytest.fixture
def installation(services):
    """What is asked of `services`, which is bound."""
    services.binding.bind()
    return Installation(services)


@pytest.fixture
def web(services):
    """The receiver on `services`."""
    return HookClient(services)


@pytest.fixture
def sandbox():
    """wolkvox, simulated on loopback."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def receiver():
    """A receiver of alerts on loopback."""
    with running(HttpReceiver()) as server:
        yield server
