"""Starts the demo's processes on free ports: store, sandbox, web and worker."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from integration.clients.deadline_transport import DeadlineClient, DeadlineTransport
from integration.domain.passwords import hashed, table
from integration.domain.roles import Role
from integration.local.demo.contacts import Contacts
from integration.local.embedded_store import EmbeddedStore
from integration.local.stack import LOOPBACK, listen, port_of, start_web, start_worker
from integration.local.supervisor import Program, free_port, wait_until
from integration.services.configuration import load_config

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.models import Config
    from integration.local.supervisor import Supervisor

START_SECONDS = 60.0
ANSWER_SECONDS = 10.0
BODY_LIMIT = 1024 * 1024
SECRETS = (
    "DEMO_HUBSPOT_SECRET",
    "DEMO_HUBSPOT_TOKEN",
    "DEMO_URL_KEY",
    "DEMO_FORMS_SECRET",
    "DEMO_API_KEY",
    "DEMO_TOKEN_BOGOTA",
    "DEMO_TOKEN_LIMA",
)

CONFIG = """\
# Written by `ringback demo` at every start.

[accounts.bogota]
base_url = "{sandbox}"
token = "env:DEMO_TOKEN_BOGOTA"
timezone = "America/Bogota"
country = "CO"
server_limit_seconds = 2

[accounts.lima]
base_url = "{sandbox}"
token = "env:DEMO_TOKEN_LIMA"
timezone = "America/Lima"
country = "PE"
dial_format = "9{{national}}"
server_limit_seconds = 2

[vars]
ventas = "12345"

[api_keys]
demo = "env:DEMO_API_KEY"

[sources.hubspot]
kind = "hubspot"
secrets = ["env:DEMO_HUBSPOT_SECRET"]
[sources.hubspot.lookup]
token = "env:DEMO_HUBSPOT_TOKEN"
properties = ["phone", "documento"]
base_url = "{contacts}"

[sources.salesforce]
kind = "salesforce"
url_key = "env:DEMO_URL_KEY"
organization_id = "00Dxx0000000000EAA"

[sources.forms]
kind = "json"
verify = "standard-webhooks"
secrets = ["env:DEMO_FORMS_SECRET"]

[[routes]]
name = "callback date on a contact"
source = "hubspot"
account = "bogota"
when = "event.propertyName == 'callback_at' and event.propertyValue"
campaign_id = "{{{{ vars.ventas }}}}"
customer_id = "{{{{ contact.properties.documento }}}}"
recall_telephone = "{{{{ contact.properties.phone }}}}"
recall_date = "{{{{ event.propertyValue }}}}"

[[routes]]
name = "lead asks for a call"
source = "salesforce"
account = "lima"
campaign_id = "{{{{ event.Wolkvox_Campaign__c }}}}"
customer_id = "{{{{ event.Documento__c }}}}"
recall_telephone = "{{{{ event.MobilePhone }}}}"
recall_date = "{{{{ event.Callback_At__c }}}}"

[[routes]]
name = "form on the website"
source = "forms"
account = "lima"
campaign_id = "777"
customer_id = "{{{{ event.documento }}}}"
recall_telephone = "{{{{ event.telefono }}}}"
recall_date = "{{{{ event.fecha | date('%d/%m/%Y %H:%M') }}}}"
"""


@dataclass(frozen=True, slots=True)
class DemoUser:
    """The dashboard user of one demo run, with a new password."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStack:
    """The running demo: its URLs, its configuration, and the contacts of the simulated HubSpot."""

    folder: Path
    web: str
    dashboard: str
    sandbox: str
    config: Config
    contacts: Contacts
    user: DemoUser
    programs: tuple[Program, ...]
    """Worker, web and dashboard."""
    environ: Mapping[str, str] = field(repr=False)
    """The variables that worker and web get in addition to those of this process."""


def make_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the demo's secrets by variable. A secret that is not set in the environment is random."""
    made = {name: environ.get(name) or f"demo-{secrets.token_hex(16)}" for name in SECRETS}
    made["DEMO_FORMS_SECRET"] = environ.get("DEMO_FORMS_SECRET") or "whsec_" + secrets.token_hex(16)
    return made


def start_stack(
    supervisor: Supervisor,
    folder: Path,
    progress: Callable[[str], None],
    *,
    listeners: tuple[socket.socket, socket.socket] | None = None,
    relay: Callable[[str], None] | None = None,
) -> DemoStack:
    """Start all processes, with data and configuration in `folder`. Raise RingbackError if a start fails.

    `progress` is called with the names of the processes. `listeners` are the sockets of web and
    dashboard; the default uses free ports. `relay` receives each line of output of worker and web; None
    discards it.
    """
    progress("the store (Valkey, on disk)")
    store = EmbeddedStore(folder / "store")
    supervisor.start(store)
    contacts = Contacts()
    contacts.start()
    progress("the wolkvox sandbox")
    port = free_port()
    sandbox = Program(
        "sandbox", [sys.executable, "-m", "integration", "sandbox", "--port", str(port)], relay=None
    )
    supervisor.start(sandbox)
    sandbox_url = f"http://127.0.0.1:{port}"
    wait_until(
        f"{sandbox_url}/sandbox/stats", START_SECONDS, what="sandbox", alive=lambda: supervisor.alive(sandbox)
    )
    path = folder / "ringback.toml"
    user = DemoUser("demo", f"demo-{secrets.token_hex(6)}")
    user_table = table(user.name, str(Role.ADMIN), hashed(user.password))
    path.touch(mode=0o600)
    path.write_text(CONFIG.format(sandbox=sandbox_url, contacts=contacts.url) + user_table, "utf-8")
    own = {**make_secrets(os.environ), "RINGBACK_CONFIG": str(path.resolve()), "REDIS_URL": store.url}
    environ = _environ(own)
    progress("the worker (Celery)")
    worker = start_worker(supervisor, environ, relay)
    progress("the web (webhooks and API) and the dashboard")
    listener, dashboard_listener = listeners or (listen(0), listen(0, LOOPBACK))
    webs = start_web(
        supervisor, environ, listener=listener, dashboard_listener=dashboard_listener, relay=relay
    )
    return DemoStack(
        folder=folder,
        web=f"http://{LOOPBACK}:{port_of(listener)}",
        dashboard=f"http://{LOOPBACK}:{port_of(dashboard_listener)}",
        sandbox=sandbox_url,
        config=load_config(path, environ),
        contacts=contacts,
        user=user,
        programs=(worker, *webs),
        environ=own,
    )


def _environ(own: Mapping[str, str]) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in ("BROKER_URL", "REDIS_URL", "SENTRY_DSN", "RINGBACK_DATA_DIR", "RINGBACK_EPOCH_FILE")
    }
    return {**inherited, **own}


def place_rules(stack: DemoStack, rules: list[dict[str, object]]) -> None:
    """Send the demo's fault rules to the sandbox. Raise httpx.HTTPError."""
    with client_of(stack.sandbox) as client:
        client.post("/sandbox/rules", json=rules).raise_for_status()


def client_of(url: str) -> DeadlineClient:
    """Return an HTTP client with the base URL `url`. A request takes at most ANSWER_SECONDS."""
    return DeadlineClient(DeadlineTransport(body_limit=BODY_LIMIT), seconds=ANSWER_SECONDS, base_url=url)
