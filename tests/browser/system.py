"""What a browser looks at: the real web and worker on a real store, and a day's worth of webhooks in it."""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx
import redis

from integration.domain.passwords import hashed
from integration.local.sandbox import Sandbox
from integration.local.supervisor import wait_until
from support import SOURCES_AND_ROUTES, account, as_bytes, hubspot_event
from support.system import API_KEY, System

PEOPLE = {"vera": "viewer", "olga": "operator", "ada": "admin"}
PASSWORD = "correct horse battery staple"
LIMITS = "timeout_seconds = 2\nserver_limit_seconds = 1\n"
MORE = "daily_limit = 3000\n"
HOSTILE = "<script>alert('x')</script>\"'><img src=x onerror=alert(1)>\u202e\u0007" + "🙂" * 2500
REFUSED = "400: THE CAMPAIGN IS NOT ACTIVE"

BULK = """
[sources.nightly]
kind = "json"
verify = "bearer"
secrets = ["the-bearer-of-the-nightly-list"]
events = "body.items"

[[routes]]
name = "nightly list"
source = "nightly"
account = "expiring"
campaign_id = "30"
customer_id = "{{ event.customer }}"
recall_telephone = "3001112233"
recall_date = "{{ event.at }}"
"""

databases = itertools.count(8)


class BrowserSystem(System):
    """A system with people who may sign in."""

    def write_config(self, more=""):
        names = {
            "bogota": MORE,
            "lima": "",
            # What comes too late for it expires at once.
            "expiring": 'late = "drop"\n',
        }
        accounts = "".join(
            account(name, self.sandbox.url, token=f"token-of-{name}-0123", more=LIMITS + extra)
            for name, extra in names.items()
        )
        routes = SOURCES_AND_ROUTES.replace("[api_keys]", '[api_keys]\njourney = "env:JOURNEY_KEY"')
        secret = _secrets.setdefault("hash", hashed(PASSWORD))
        people = "".join(
            f'\n[users.{name}]\npassword = "{secret}"\nrole = "{role}"\n' for name, role in PEOPLE.items()
        )
        self.config_path.write_text(accounts + routes + BULK + people + more, "utf-8")

    def post(self, source, value, **signing):
        return self.post_signed(source, as_bytes(value), **signing)

    def refuse(self, customer):
        """Let wolkvox refuse every call for a customer; gives how that is ended."""
        rule = {
            "action": "answer",
            "customer_id": customer,
            "status": 400,
            "code": 400,
            "msg": "SOME PARAMETERS ARE WRONG",
        }
        placed = httpx.post(f"{self.sandbox.url}/sandbox/rules", json=rule, trust_env=False)
        assert placed.status_code == 201, placed.text

    def figure(self, account_name, what):
        """Give a figure of an account."""
        return self.api("GET", f"/v1/accounts/{account_name}").json()[what]

    def many_expired(self, number):
        """Send so many wishes whose time is over."""
        yesterday = soon(days=-1)
        for start in range(0, number, 1000):
            items = [{"customer": f"late-{start + one}", "at": yesterday} for one in range(1000)]
            answer = self.post("nightly", {"items": items})
            assert (answer.status_code, len(answer.json()["recalls"])) == (202, 1000), answer.text[:200]

    def mend(self):
        httpx.delete(f"{self.sandbox.url}/sandbox/rules", trust_env=False)

    def fill(self):
        """Send a little of everything that pages show."""
        for number in range(6):
            self.post("hubspot", [hubspot_event(7000 + number, soon(hours=20 + number))])
        self.post(
            "hubspot",
            [
                hubspot_event(7100, soon(days=2)),
                hubspot_event(7101, "soon"),
                hubspot_event(7102, "x", name="email"),
            ],
        )
        self.post("hubspot", [hubspot_event(7103, "x", name="email")])
        for number in range(3):
            self.post("forms", {"customer": f"web-{number}", "telephone": "3001112233", "at": soon(days=1)})
        for number in range(4):
            self.post(
                "forms",
                {"customer": f"form-{number}", "phone": "3001112233", "at": soon(days=1, hours=number)},
            )
        self.post("forms", dict.fromkeys(("customer", "phone", "at", HOSTILE), HOSTILE))
        self.post(
            "forms",
            {"customer": HOSTILE[:60].replace("\u0007", ""), "phone": "3001112233", "at": soon(days=3)},
        )
        self.post("hubspot", [hubspot_event(1, soon())], now=datetime.now(UTC) - timedelta(minutes=11))
        self.post(
            "hubspot", [hubspot_event(2, soon())], url=f"{self.url}/hooks/hubspot".replace("http:", "https:")
        )
        httpx.post(
            f"{self.url}/hooks/forms", content=b"{}", headers={"svix-signature": "v1,AAAA"}, trust_env=False
        )
        self.refuse("dead-1")
        dead = self.ask("dead-1")
        self.await_state(dead, "dead")
        return dead


_secrets: dict[str, str] = {}


def soon(*, days=0, hours=1):
    return (datetime.now(UTC) + timedelta(days=days, hours=hours)).replace(microsecond=0).isoformat()


@contextmanager
def running_system(folder, valkey_url):
    """Run the web and a worker on a database of its own."""
    url = f"{valkey_url.rsplit('/', 1)[0]}/{next(databases)}"
    redis.Redis.from_url(url).flushdb()
    with Sandbox() as sandbox:
        system = BrowserSystem(folder, url, sandbox)
        try:
            system.start("web")
            system.start("worker")
            yield system
        finally:
            system.stop()


def json_of(value):
    return json.dumps(value)


__all__ = [
    "API_KEY",
    "HOSTILE",
    "PASSWORD",
    "PEOPLE",
    "BrowserSystem",
    "running_system",
    "soon",
    "wait_until",
]
