"""Where the tests of a mutant are run: forked from a process that has other people's packages loaded.

Loading them takes most of the time of a single test. None of our own code is among them: that comes from
the copy of the tree, anew for every mutant.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.context import ForkServerContext

TESTS = Path(__file__).parent.parent.parent
OURS = ("integration", "workers", "conftest", "support")
OTHERS = (
    *(
        "pytest",
        "_pytest.assertion.rewrite",
        "pytest_timeout",
        "hypothesis.strategies",
        "hypothesis.stateful",
    ),
    *("celery", "celery.app", "celery.signals", "kombu.transport.redis", "redis", "flask", "werkzeug.test"),
    *("sentry_sdk", "sentry_sdk.integrations.celery", "httpx", "httpcore"),
    *("pydantic", "jinja2.sandbox", "phonenumbers", "holidays", "structlog", "orjson", "limits"),
    *(
        "defusedxml.ElementTree",
        "click",
        "rich.console",
        "prometheus_client",
        "argon2",
        "flask_wtf",
        "flask_babel",
    ),
)


def fork_server() -> ForkServerContext:
    """Return the context that the tests of mutants are forked from."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    os.environ["PYTHONPATH"] = str(TESTS)
    try:
        context.Process(target=os.getpid).start()
    finally:
        del os.environ["PYTHONPATH"]
    return context


def run_tests(root: str, arguments: Sequence[str], said: str) -> None:
    """Run pytest on a copy of the tree; what it says goes into the file `said`, its status beside it."""
    os.setsid()
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(file, number)
    os.chdir(root)
    os.environ["PYTHONPATH"] = root
    sys.path[:] = [root, *(path for path in sys.path if path != str(TESTS))]
    mine = [name for name in sys.modules if name.partition(".")[0] in OURS]
    assert not mine, mine
    # This module's package is the original's; the copy's tests import their own.
    for name in [name for name in sys.modules if name.partition(".")[0] == "faults"]:
        del sys.modules[name]
    import pytest

    status = pytest.main(list(arguments))
    sys.stdout.flush()
    Path(f"{said}.status").write_text(str(int(status)))


for each in OTHERS:
    importlib.import_module(each)
