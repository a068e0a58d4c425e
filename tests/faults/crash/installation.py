"""An installation of its own for every crash: a database, a broker's database, tokens, a configuration, a HubSpot.

wolkvox is one for all of them: it counts overlap by token, and goes on working when its client has left.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import httpx

from integration.local.sandbox import fingerprint
from integration.store.client import connect
from support import ENVIRON, SOURCES_AND_ROUTES, account, make_services, signed
from support.hubspot_stub import TOKEN, HubspotStub
from support.installation import Installation

if TYPE_CHECKING:
    from pathlib import Path

    from integration.local.sandbox import Sandbox
    from support.valkey import ValkeyServer

DATABASES = 2000
LAG_EVERY_SECONDS = 0.05
HOST = "hooks.test"
LIMITS = "timeout_seconds = 1.5\nserver_limit_seconds = 2\n"
WORK_SECONDS = 0.7
"""How long wolkvox works on a call: within the limits, and long enough to be overlapped by one who is too early."""
LONGEST_WORK = 1.9
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
AT = TOMORROW.isoformat()
LOOKUP = f"""
[sources.hubspot.lookup]
token = "{TOKEN}"
properties = ["phone"]
base_url = "{{url}}"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a sender sends, and sends again word by word until it is answered."""

    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; status 0: a connection that broke."""

    status: int
    body: Any = None

    @property
    def taken(self) -> bool:
        return 200 <= self.status < 300


class CrashServers:
    """What all installations share: the store's server, the broker's, and wolkvox."""

    def __init__(self, folder: Path, store: ValkeyServer, broker: ValkeyServer, sandbox: Sandbox) -> None:
        self.folder, self.store, self.broker, self.sandbox = folder, store, broker, sandbox
        self._numbers = itertools.count(1)
        self.lag = Lag()
        self.http = httpx.Client(
            trust_env=False, timeout=30, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def installation(self) -> CrashInstallation:
        return CrashInstallation(self, next(self._numbers))


class Lag(threading.Thread):
    """How late this process is woken. Where it is starved, so is wolkvox, and works on longer than it may."""

    def __init__(self) -> None:
        super().__init__(name="lag", daemon=True)
        self._late: list[tuple[float, float]] = []
        self.start()

    def run(self) -> None:
        while True:
            began = time.monotonic()
            time.sleep(LAG_EVERY_SECONDS)
            self._late.append((began, time.monotonic() - began - LAG_EVERY_SECONDS))

    def worst_since(self, began: float) -> float:
        return max((late for at, late in list(self._late) if at >= began), default=0.0)


class CrashInstallation(Installation):
    """One installation of Ringback; a context manager."""

    def __init__(self, servers: CrashServers, number: int) -> None:
        self._open = ExitStack()
        self.number = number
        self.sandbox = servers.sandbox
        self.hubspot = self._open.enter_context(HubspotStub())
        self.folder = servers.folder / str(number)
        self.folder.mkdir()
        self.token, self.other_token = f"token-of-crash-{number}-one", f"token-of-crash-{number}-two"
        store_url, broker_url = (
            f"redis://127.0.0.1:{s.port}/{number}" for s in (servers.store, servers.broker)
        )
        self.client = self._open.enter_context(connect(store_url))
        super().__init__(make_services(self.folder, self.client, self.config_text()))
        self.environ = {
            **ENVIRON,
            "RINGBACK_CONFIG": str(self.folder / "ringback.toml"),
            "REDIS_URL": store_url,
            "BROKER_URL": broker_url,
            "LOG_LEVEL": "INFO",
            "WEB_SOCKET": str(self.folder / "web"),
            "CRASH_LOG": str(self.folder / "log"),
        }
        self.peers = {
            servers.store.port: "store",
            servers.broker.port: "broker",
            self.sandbox.port: "wolkvox",
            int(self.hubspot.base_url.rpartition(":")[2]): "hubspot",
        }
        way = httpx.HTTPTransport(
            uds=self.environ["WEB_SOCKET"], verify=False, limits=httpx.Limits(max_keepalive_connections=0)
        )
        self.http = self._open.enter_context(httpx.Client(transport=way, timeout=30))
        self.acknowledged: list[str] = []
        self.recall = ""
        self.stood: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # --- what is set up ---

    def config_text(self, *, token: str | None = None, more: str = "", lookup: bool = False) -> str:
        text = account("bogota", self.sandbox.url, token=token or self.token, more=LIMITS + more)
        text += account(
            "lima", self.sandbox.url, token=f"{self.token}-lima", zone="Lima", country="PE", more=LIMITS
        )
        routes = SOURCES_AND_ROUTES
        if lookup:
            table = LOOKUP.format(url=self.hubspot.base_url)
            routes = routes.replace("[sources.salesforce]", table + "\n[sources.salesforce]", 1)
            routes = routes.replace('"3001112233"', '"{{ contact.properties.phone }}"', 1)
        return text + routes

    def configure(self, text: str) -> None:
        """Let a configuration count from now on, for this installation's own services too."""
        self.services = make_services(self.folder, self.client, text)

    def rule(self, **rule: Any) -> None:
        """Let wolkvox do otherwise with calls of the account; the first rule that fits counts."""
        self.sandbox.add_rule(token=self.token, **rule)

    def slow_down_wolkvox(self) -> None:
        for token in (self.token, self.other_token):
            self.sandbox.add_rule(action="delay", seconds=WORK_SECONDS, token=token)

    def ask(self, customer: str = "c1", *, account: str = "bogota", hours: float = 24) -> str:
        self.services.binding.bind()
        return super().ask(customer, account=account, hours=hours)

    # --- what is sent ---

    def signed(self, source: str, value: object, *, path: str | None = None) -> Request:
        """A delivery as the source's sender would send it, for the address that the configuration names."""
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        path = path or f"/hooks/{source}"
        headers = signed(self.services, source, body, url=f"http://{HOST}{path}")
        return Request(
            path=path,
            body=body,
            headers={"Content-Type": "application/json", **headers},
        )

    def api(self, path: str, value: object = None, **headers: str) -> Request:
        named = {"Authorization": f"Bearer {ENVIRON['ZAPIER_KEY']}", "Content-Type": "application/json"}
        return Request(path=path, body=json.dumps(value or {}).encode(), headers={**named, **headers})

    def send(self, request: Request) -> Answer:
        url = f"http://{HOST}{request.path}"
        try:
            answer = self.http.post(url, content=request.body, headers=request.headers)
        except httpx.TransportError:
            return Answer(0)
        body = answer.json() if answer.headers.get("content-type", "").endswith("json") else answer.text
        found = Answer(answer.status_code, body)
        if found.taken and isinstance(body, dict):
            self.acknowledged += (
                body["recalls"] if "recalls" in body else [body["id"]] if "id" in body else []
            )
        return found

    # --- what is left ---

    def calls(self) -> list[dict[str, Any]]:
        marks = {fingerprint(token) for token in (self.token, self.other_token, f"{self.token}-lima")}
        return [call for call in self.sandbox.calls() if call["token"] in marks]

    def overlaps(self) -> list[dict[str, Any]]:
        marks = {fingerprint(token) for token in (self.token, self.other_token, f"{self.token}-lima")}
        return [overlap for overlap in self.sandbox.stats()["overlaps"] if overlap["token"] in marks]

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text("utf-8", "replace")[-3000:] if path.exists() else ""


def eventually(holds: Any, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.15)
    return False
