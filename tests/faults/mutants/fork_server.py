"""The fork server for the tests of mutants. It has the third-party packages loaded.

Importing these packages takes most of the time of a single test. The fork server does not import Ringback's
own code: each mutant's tests import it from their copy of the tree.
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
    """Start the fork server, and return its multiprocessing context."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    os.environ["PYTHONPATH"] = str(TESTS)
    try:
        context.Process(target=os.getpid).start()
    finally:
        del os.environ["PYTHONPATH"]
    return context


def run_tests(root: str, arguments: Sequence[str], said: str) -> None:
    """Run pytest in a copy of the tree. Write its output to the file `said`, and its exit status to `said`.status."""
    os.setsid()
    file = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number in (1, 2):
        os.dup2(file, number)
    os.chdir(root)
    os.environ["PYTHONPATH"] = root
    sys.path[:] = [root, *(path for path in sys.path if path != str(TESTS))]
    mine = [name for name in sys.modules if name.partition(".")[0] in OURS]
    assert not mine, mine
    # This module belongs to the original tree. The tests import the package from the copy.
    for name in [name for name in sys.modules if name.partition(".")[0] == "faults"]:
        del sys.modules[name]
    import pytest

    status = pytest.main(list(arguments))
    sys.stdout.flush()
    Path(f"{said}.status").write_text(str(int(status)))


for each in OTHERS:
    importlib.import_module(each)
