"""The dashboard with users of its own."""

from __future__ import annotations

import pytest

from support import NoRates, make_services
from support.dashboard_users import Browser, users


@pytest.fixture
def make(tmp_path, store):
    def make(text=None, rates=None):
        services = make_services(tmp_path, store, text or users())
        return services, Browser(services, rates or NoRates())

    return make
