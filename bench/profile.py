"""Profiles where a delivery and a push spend processor time, by sampling running processes."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from bench import load, pushing
from bench.machine import family, own_cpu_seconds
from bench.samples import Sender
from bench.stage import ROOT, BenchStage

if TYPE_CHECKING:
    from bench.results import Results

SECONDS = 4
RATE = 200
MOST_LINES = 12

# A sample belongs to the first pattern that matches a frame's file, searched from the innermost frame.
_PARTS = (
    ("phonenumbers", "telephone numbers (phonenumbers)"),
    ("integration/domain/phone_numbers/", "telephone numbers (phonenumbers)"),
    ("jinja2", "templates (Jinja)"),
    ("integration/mapping/expressions", "templates (Jinja)"),
    ("<template>", "templates (Jinja)"),
    ("structlog", "log lines"),
    ("integration/telemetry/logging.py", "log lines"),
    ("integration/telemetry/redaction.py", "log lines"),
    ("logging/__init__", "log lines"),
    ("httpcore", "HTTP to wolkvox"),
    ("httpx", "HTTP to wolkvox"),
    ("h11", "HTTP to wolkvox"),
    ("integration/clients/wolkvox.py", "HTTP to wolkvox"),
    ("integration/clients/deadline_transport.py", "HTTP to wolkvox"),
    ("redis/", "round trips to the store (redis-py)"),
    ("integration/store/scripting/batching.py", "round trips to the store (redis-py)"),
    ("integration/store/client.py", "round trips to the store (redis-py)"),
    ("kombu", "wake-ups (Celery, kombu)"),
    ("celery/", "wake-ups (Celery, kombu)"),
    ("integration/store/deliveries.py", "serialising records"),
    ("integration/webhooks/verification.py", "parsing and verifying"),
    ("integration/webhooks/providers", "parsing and verifying"),
    ("hmac.py", "parsing and verifying"),
    ("integration/domain/schedule/", "dates and calling hours"),
    ("integration/domain/dates/", "dates and calling hours"),
    ("integration/mapping/planner.py", "mapping and planning"),
    ("integration/mapping/routes.py", "mapping and planning"),
    ("integration/mapping/event_context.py", "mapping and planning"),
    ("werkzeug", "Flask, Werkzeug"),
    ("flask", "Flask, Werkzeug"),
    ("integration/asgi.py", "ASGI adapter (bodies, limits, headers)"),
    ("integration/web/request_checks.py", "ASGI adapter (bodies, limits, headers)"),
    ("asyncio/timeouts.py", "ASGI adapter (bodies, limits, headers)"),
    ("integration/webhooks/service.py", "receiver"),
    ("integration/webhooks/views.py", "receiver"),
    ("integration/telemetry/counters.py", "counters"),
    ("workers/drain.py", "drain"),
    ("workers/retry.py", "drain"),
    ("integration/store/token_queue.py", "drain"),
    ("asyncio/streams.py", "round trips to the store (redis-py)"),
    ("workers/", "other parts of the worker"),
    ("granian", "web server (granian, uvloop)"),
    ("concurrent/futures", "threads"),
    ("threading.py", "threads"),
)


def measure(results: Results) -> None:
    """Sample a busy web process and a busy worker with py-spy."""
    py_spy = shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if py_spy is None:
        results.lacks("profile", "py-spy is not installed")
        return
    with BenchStage.open() as stage:
        stage.configure(16)
        services = stage.services()
        stage.start_web()
        sender = Sender(services.config, random.Random(19))  # noqa: S311  (test data)
        path = stage.folder / "requests"
        load.write_requests(path, sender.single(6000 * (SECONDS + 3)))
        command = [sys.executable, "-m", "bench.load", str(stage.web_port), str(path), "32", str(SECONDS + 3)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as loading:
            time.sleep(1)
            _sample(results, "a delivery", py_spy, _busiest(stage.pids("web")), stage.folder / "web.samples")
            loading.wait()
        pushing.fill(services, 16, 4000 * (SECONDS + 3) // 16)
        stage.wolkvox("begin?ms=0")
        stage.start_workers(1)
        pushing.wait_for_calls(stage)
        time.sleep(1)
        _sample(results, "a push", py_spy, _busiest(stage.pids("workers")), stage.folder / "push.samples")


def _busiest(pids: list[int]) -> int:
    """Return the process that currently uses the most processor time."""
    members = [member for pid in pids for member in family(pid)]
    before = {member: own_cpu_seconds(member) for member in members}
    time.sleep(0.5)
    return max(members, key=lambda member: own_cpu_seconds(member) - before[member])


def _sample(results: Results, what: str, py_spy: str, pid: int, path: Path) -> None:
    command = [py_spy, "record", "--pid", str(pid), "--duration", str(SECONDS), "--rate", str(RATE)]
    command += ["--format", "raw", "--gil", "--output", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS + 60, check=False)
    if done.returncode or not path.exists():
        results.lacks(f"profile of {what}", done.stderr.decode(errors="replace")[-200:])
        return
    shares = shares_of(path.read_text(errors="replace"))
    if not shares:
        results.lacks(f"profile of {what}", "no sample was taken")
        return
    results.profile[what] = shares[:MOST_LINES]


def shares_of(samples: str) -> list[tuple[str, float]]:
    """Return the share of each part, largest first. `samples` has a stack and a count on each line."""
    counts: Counter[str] = Counter()
    for line in samples.splitlines():
        stack, _, count = line.rpartition(" ")
        if count.isdigit():
            counts[_part(stack.split(";"))] += int(count)
    total = sum(counts.values()) or 1
    return [(part, count / total) for part, count in counts.most_common()]


def _part(frames: list[str]) -> str:
    for frame in reversed(frames):
        for mark, part in _PARTS:
            if mark in frame:
                return part
    return "everything else"
