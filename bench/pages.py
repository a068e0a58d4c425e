"""Measures the response times of the dashboard's pages with many queued recalls."""

from __future__ import annotations

import re
import time
from statistics import median
from typing import TYPE_CHECKING

import httpx

from bench.stage import PASSWORD, USER

if TYPE_CHECKING:
    from bench.results import Results
    from bench.stage import BenchStage

ROUNDS = 11
ENDING = ", page"
SEARCH = f"search for a customer{ENDING}"
PATHS = {
    "start": "/",
    "requires attention": "/attention",
    "recalls": "/recalls",
    "recalls, queued": "/recalls?state=queued",
    "recalls, queued of an account": "/recalls?state=queued&account=a3",
    "count before a cancel of an account": "/recalls/bulk?kind=cancel&account=a3",
    "calendar": "/calendar",
    "accounts": "/accounts",
    "account": "/accounts/a3",
    "deliveries": "/deliveries",
    "parked events": "/parked",
    "sources": "/sources",
    "source": "/sources/forms",
    "audit log": "/audit",
}


def measure(results: Results, system: str, stage: BenchStage) -> None:
    """Measure each page, a recall and a search. Raise httpx.HTTPError for a page that fails."""
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stage.web_port}", trust_env=False, timeout=60, follow_redirects=True
    ) as client:
        proof = _sign_in(client)
        recall = re.search(r'href="/recalls/(rc_[\w-]+)"', client.get("/recalls").text)
        paths = {**PATHS, **({"recall": f"/recalls/{recall[1]}"} if recall else {})}
        for name, path in paths.items():
            _add(results, system, f"{name}{ENDING}", [_seconds(client, "GET", path) for _ in range(ROUNDS)])
        search = [
            _seconds(client, "POST", "/search", data={"q": f"c{number}"}, headers=proof)
            for number in range(ROUNDS)
        ]
        _add(results, system, SEARCH, search)


def _sign_in(client: httpx.Client) -> dict[str, str]:
    """Sign in. Return the header that later forms need."""
    form, proof = {"name": USER, "password": PASSWORD}, _proof(client, "/sign-in")
    answer = client.post("/sign-in", data=form, headers=proof)
    answer.raise_for_status()
    return _proof(client, "/recalls")


def _proof(client: httpx.Client, path: str) -> dict[str, str]:
    token = re.search(r'"X-CSRFToken": "([^"]+)"', client.get(path).text)
    return {"X-CSRFToken": token[1] if token else ""}


def _seconds(
    client: httpx.Client,
    method: str,
    path: str,
    data: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> float:
    started = time.perf_counter()
    client.request(method, path, data=data, headers=headers).raise_for_status()
    return time.perf_counter() - started


def _add(results: Results, system: str, thing: str, seconds: list[float]) -> None:
    figures = {"page_p50_ms": median(seconds) * 1000, "page_max_ms": max(seconds) * 1000}
    results.add(thing, system, figures)
