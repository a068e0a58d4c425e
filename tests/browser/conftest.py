"""A browser on the real web: skipped where there is no Chromium on a laptop, failed where CI is set."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from browser.chromium import find_chromium, launched, visit
from browser.system import PASSWORD, running_system

WHY = "no Chromium here: apt install chromium, or set CHROMIUM to the path of a Chrome"


FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Give every test in a browser patience; those that are no smoke tests are left to `make test-all`."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))
            if not item.get_closest_marker("smoke"):
                item.add_marker(pytest.mark.thorough)


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium."""
    executable = find_chromium()
    if executable is None:
        if os.environ.get("CI"):
            pytest.fail(WHY)
        pytest.skip(WHY)
    with launched(executable) as started:
        yield started


@pytest.fixture(scope="module")
def system(browser, tmp_path_factory, valkey):
    """The real web and worker, filled with a little of everything; `.dead` is a dead recall."""
    with running_system(tmp_path_factory.mktemp("system"), valkey.url) as started:
        started.dead = started.fill()
        started.signed_in = {}
        yield started


@pytest.fixture
def someone(browser, system):
    """Sign somebody in: `someone("olga")`. Ends with a look at what their browsers complained of."""
    visits = []

    def come(name="olga", **options):
        # Once per person: who signs in again and again is held off.
        if name not in system.signed_in:
            first = visit(browser, system.url).sign_in(name, PASSWORD)
            system.signed_in[name] = first.context.storage_state()
            first.context.close()
        made = visit(browser, system.url, state=system.signed_in[name], **options)
        visits.append(made)
        made.go("/")
        return made

    yield come
    faults = [fault for made in visits for fault in made.faults()]
    for made in visits:
        made.context.close()
    assert not faults, faults
