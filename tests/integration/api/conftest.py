"""The API on a real store. Every answer is also held against the OpenAPI document."""

from __future__ import annotations

import pytest

from support import make_services, two_accounts
from support.api_cases import CONFIG
from support.api_client import ApiClient


@pytest.fixture
def web(tmp_path, store):
    return ApiClient(make_services(tmp_path, store, two_accounts() + CONFIG))


@pytest.fixture
def dropping(tmp_path, store):
    """As `web`, with accounts that drop what is late."""
    return ApiClient(make_services(tmp_path, store, two_accounts(more='late = "drop"') + CONFIG))
