"""What docs/security.md says of the whole: that its tests exist, and rules that no one module keeps alone."""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import re
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import redis
from flask import Flask

from integration.api import api_blueprint
from integration.celery_app import app as celery
from integration.cli.processes.sandbox import sandbox
from integration.clients.deadline_transport import DeadlineClient, DeadlineTransport
from integration.clients.lookups import LookupFailedError, look_up
from integration.config.source_models import HubspotLookup
from integration.local.sandbox.server import Server
from integration.store.client import connect
from integration.web.problems import install
from integration.web.rate_limit import RateLimit
from integration.webhooks.service import WebhookService
from integration.webhooks.views import receiver_blueprint
from support import (
    ENVIRON,
    SOURCES_AND_ROUTES,
    as_bytes,
    hubspot_event,
    hubspot_stub,
    make_services,
    signed,
    two_accounts,
    url_of,
)
from support.cli_runner import Ringback
from support.source_cases import CASES

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
CODE = {
    path.relative_to(ROOT): ast.parse(path.read_text("utf-8"))
    for package in ("integration", "workers")
    for path in (ROOT / package).rglob("*.py")
}


# --- the page --------------------------------------------------------------------------------


def named_tests(file):
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_the_page_names_is_there():
    named = re.findall(r"`(\w+)\.py::(\w+)`", PAGE)
    assert len(named) > 60
    files = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    tests_of = {file: named_tests(files[file]) for file, _ in named}
    missing = [f"{file}.py::{name}" for file, name in named if name not in tests_of[file]]
    assert missing == []


def test_every_line_of_the_page_that_says_what_stands_against_something_names_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| what ")]
    assert len(rows) > 50
    assert [row for row in rows if "::test_" not in row.rsplit(" | ", 1)[-1]] == []


# --- rules for all of the code ---------------------------------------------------------------


def nodes(kind) -> Iterator[tuple[Path, ast.AST]]:
    for path, tree in CODE.items():
        yield from ((path, node) for node in ast.walk(tree) if isinstance(node, kind))


def calls(*names):
    return [
        f"{path}:{node.lineno}"
        for path, node in nodes(ast.Call)
        if ast.unparse(node.func).rpartition(".")[2] in names
    ]


def test_no_secret_is_compared_but_in_constant_time():
    """`==` and `in` tell by the time they take how much of a secret was right."""
    found = [
        f"{path}:{node.lineno} {ast.unparse(side)}"
        for path, node in nodes(ast.Compare)
        for side in (node.left, *node.comparators)
        if "get_secret_value()" in ast.unparse(side)
        or re.search(r"(secret_bytes|digest)\(", ast.unparse(side))
        if not ast.unparse(side).startswith("len(")
    ]
    assert found == []
    assert calls("compare_digest")


def test_nothing_switches_certificate_checks_off():
    words = {"verify", "check_hostname", "verify_mode", "ssl_cert_reqs", "follow_redirects", "trust_env"}
    allowed = {("follow_redirects", False), ("trust_env", False)}
    given = [
        (path, node.lineno, keyword.arg, getattr(keyword.value, "value", "?"))
        for path, node in nodes(ast.Call)
        for keyword in node.keywords
        if keyword.arg in words
    ]
    assert [one for one in given if one[2:] not in allowed] == []
    assigned = [
        f"{path}:{node.lineno}"
        for path, node in nodes(ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and target.attr in words
    ]
    assert assigned == []
    assert calls("_create_unverified_context", "wrap_bio") == []


def test_every_call_out_has_a_deadline_and_leaves_the_environment_s_proxies_and_certificates_alone():
    """One transport calls out; what httpx would do by itself counts a time-out anew with every read."""
    by_itself = {
        "Client",
        "AsyncClient",
        "HTTPTransport",
        "request",
        "stream",
        "get",
        "post",
        "put",
        "delete",
    }
    made = [
        (path.name, ast.unparse(node.func))
        for path, node in nodes(ast.Call)
        if ast.unparse(node.func).partition("httpx.")[2] in by_itself
    ]
    assert made == []
    trusting = [
        f"{path}:{node.lineno}"
        for path, node in nodes(ast.Call)
        if ast.unparse(node.func) == "httpx.create_ssl_context"
        and not any(keyword.arg == "trust_env" and keyword.value.value is False for keyword in node.keywords)
    ]
    assert trusting == []
    with DeadlineClient(DeadlineTransport(), seconds=1) as client:
        assert (client.trust_env, client.follow_redirects) == (False, False)


def test_nothing_reads_what_could_be_a_program():
    """No pickle, no eval, no shell: what lies in the store or the broker is data."""
    assert calls("eval", "exec", "system", "popen", "getoutput", "render_template_string") == []
    built = [
        f"{path}:{node.lineno}"
        for path, node in nodes(ast.Call)
        if ast.unparse(node.func) == "Markup" and not isinstance(node.args[0], ast.Constant)
    ]
    assert built == []
    imported = {
        alias.name for _, node in nodes(ast.Import) for alias in node.names
    } | {node.module for _, node in nodes(ast.ImportFrom)}  # fmt: skip
    assert imported & {"pickle", "marshal", "shelve", "dill", "yaml", "xml.dom", "xml.sax", "lxml"} == set()
    shells = [
        f"{path}:{node.lineno}"
        for path, node in nodes(ast.Call)
        if any(keyword.arg == "shell" for keyword in node.keywords)
    ]
    assert shells == []
    assert set(celery.conf.accept_content) == {"json"}
    assert celery.conf.task_serializer == "json"


def test_a_store_over_tls_must_prove_itself():
    pool = connect("rediss://store.example:6380/0").connection_pool
    made = pool.connection_class(**pool.connection_kwargs)
    assert made.cert_reqs.name == "CERT_REQUIRED"
    assert made.check_hostname is True


def test_only_one_place_says_where_a_browser_is():
    """What stands in X-Forwarded-For counts only where a proxy of ours is configured, for every entry alike."""
    found = {
        str(path)
        for path, node in nodes(ast.Attribute)
        if path.is_relative_to("integration/dashboard")
        if node.attr in {"remote_addr", "access_route"} or "forwarded-for" in ast.unparse(node).lower()
    }
    assert found == {"integration/dashboard/addresses.py"}


# --- where things go -------------------------------------------------------------------------


class Elsewhere:
    """A server that points everybody to itself, and remembers who came."""

    def __init__(self):
        paths = self.paths = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                paths.append(self.path)
                self.send_response(307)
                self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                """Say nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def elsewhere():
    started = Elsewhere()
    yield started
    started.server.shutdown()
    started.server.server_close()


def test_a_redirect_of_hubspot_is_not_followed(elsewhere):
    lookup = HubspotLookup(token="pat-token-1", properties=("phone",), base_url=elsewhere.url)
    with pytest.raises(LookupFailedError, match="307"):
        look_up(lookup, ("51201",))
    assert elsewhere.paths == [hubspot_stub.PATH]


def test_a_redirect_of_who_gets_a_sample_is_not_followed(elsewhere, tmp_path):
    """What `ringback send` posts is signed, and may hold a secret itself."""
    config = tmp_path / "ringback.toml"
    config.write_text(two_accounts() + SOURCES_AND_ROUTES, "utf-8")
    body = tmp_path / "body.json"
    body.write_text("{}", "utf-8")
    done = Ringback(config)("send", "forms", str(body), "--url", f"{elsewhere.url}/hooks/forms")
    assert done.exit_code == 1
    assert elsewhere.paths == ["/hooks/forms"]


def test_the_sandbox_listens_on_this_machine_unless_told_otherwise():
    host = next(option for option in sandbox.params if option.name == "host")
    assert host.default == "127.0.0.1"
    assert "0.0.0.0" not in inspect.getsource(Server)


# --- what is kept ----------------------------------------------------------------------------


def values(read):
    if isinstance(read, dict):
        read = [*read, *read.values()]
    for value in read if isinstance(read, list | tuple | set) else [read]:
        yield from values(value) if isinstance(value, list | tuple | dict) else [value]


def everything(url):
    """Every key and value of a store, packed ones unpacked, as one text."""
    found = []
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(count=1000):
            read = {
                b"string": client.get,
                b"hash": client.hgetall,
                b"zset": lambda name: client.zrange(name, 0, -1, withscores=True),
                b"set": client.smembers,
                b"list": lambda name: client.lrange(name, 0, -1),
                b"stream": client.xrange,
            }[client.type(key)]
            for value in (key, *values(read(key))):
                raw = value if isinstance(value, bytes) else str(value).encode()
                with contextlib.suppress(zlib.error):
                    raw += zlib.decompress(raw)
                found.append(raw.decode("latin-1"))
    return "\n".join(found)


def test_no_secret_is_in_the_store_after_webhooks_and_calls_of_every_kind(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)
    services.binding.bind()
    app = Flask("ringback", static_folder=None)
    install(app)
    rates = RateLimit(services.store.client)
    app.register_blueprint(receiver_blueprint(WebhookService(services, rates)))
    app.register_blueprint(api_blueprint(services, rates))
    client = app.test_client()
    session = "00D5f000000AbCd!AQcAQH0dMHZfz972Szmp"

    def post(path, body, headers):
        proof = {"Authorization": "Bearer senders-own-secret-1", "Cookie": "a=senders-own-secret-2"}
        return client.post(path, data=body, headers={**proof, **headers}).status_code

    hub = as_bytes(
        [hubspot_event(51201, "2060-03-04T15:30:00Z"), {"propertyName": "callback_at", "propertyValue": "x"}]
    )
    assert (
        post("/hooks/hubspot", hub, signed(services, "hubspot", hub, url="http://localhost/hooks/hubspot"))
        == 202
    )
    form = as_bytes({"customer": "c", "phone": "nobody's number", "at": "never"})
    assert (
        post("/hooks/forms", form, signed(services, "forms", form, url="http://localhost/hooks/forms")) == 202
    )
    assert (
        post(
            "/hooks/forms",
            b"{}",
            {"webhook-id": "m", "webhook-signature": "v1,AAAA", "webhook-timestamp": "1"},
        )
        == 401
    )
    lead = next(case for case in CASES if case.id == "salesforce-two-leads").body
    lead = lead.replace(b"00D5f000000AbCdEAK", b"00Dxx0000000000EAA").replace(
        b"<SessionId>", f"<SessionId>{session}".encode(), 1
    )
    path = f"/hooks/salesforce/{ENVIRON['URL_KEY']}"
    assert post(path, lead, {"Content-Type": "text/xml"}) == 200
    asked = {
        "account": "bogota", "campaign_id": "10", "customer_id": "c", "recall_telephone": "3001112233",
        "recall_date": "2060-03-04T15:30:00Z",
    }  # fmt: skip
    for key in (ENVIRON["ZAPIER_KEY"], "a-wrong-key-0123456789"):
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "once-1"}
        client.post("/v1/recalls", data=json.dumps(asked), content_type="application/json", headers=headers)

    kept = everything(url_of(store))
    assert "51201" in kept
    secrets = {
        **ENVIRON,
        "session": session,
        "own 1": "senders-own-secret-1",
        "own 2": "senders-own-secret-2",
    }
    assert [name for name, secret in secrets.items() if secret in kept] == []
    assert "a-wrong-key" not in kept
    assert "webhook-signature" not in kept
