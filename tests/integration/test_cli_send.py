"""`ringback send`: a sample goes to a real web as its CRM would send it, and is taken."""

from __future__ import annotations

import json
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from werkzeug.serving import make_server

from integration.app import compose
from support import (
    ENVIRON,
    SOURCES_AND_ROUTES,
    NoRates,
    hubspot_event,
    make_services,
    two_accounts,
    write_config,
)
from support.cli_runner import Ringback

FORM = {"customer": "80123456", "phone": "3001112233", "at": "2030-03-02T09:30:00"}
MORE = """
[sources.hmac]
kind = "json"
verify = "hmac-sha256"
secrets = ["env:HUBSPOT_SECRET"]
header = "X-Signature"

[sources.bearer]
kind = "json"
verify = "bearer"
secrets = ["env:HUBSPOT_SECRET"]
url_key = "bearer-key-0123456789"
"""
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MORE += f"""
[sources.ed25519]
kind = "json"
verify = "ed25519"
header = "X-Sig"
timestamp = "X-Time"
signed = "{{timestamp}}.{{body}}"
public_keys = "{PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()}"
"""
ROUTES = "".join(
    f"""
[[routes]]
name = "{source}"
source = "{source}"
account = "bogota"
campaign_id = "10"
customer_id = "{{{{ event.customer }}}}"
recall_telephone = "{{{{ event.phone }}}}"
recall_date = "{{{{ event.at }}}}"
"""
    for source in ("hmac", "bearer", "ed25519")
)


@pytest.fixture
def web(tmp_path, store):
    """A web on a real store, listening on a port of its own."""
    text = two_accounts() + SOURCES_AND_ROUTES + MORE + ROUTES
    app = compose(make_services(tmp_path, store, text), NoRates())
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def run(tmp_path, web):
    return Ringback(tmp_path / "ringback.toml", {"PORT": str(web.server_port)})


@pytest.fixture
def body(tmp_path):
    def body(value):
        path = tmp_path / "body"
        path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
        return str(path)

    return body


@pytest.mark.parametrize("source", ["forms", "hmac", "bearer"])
def test_a_form_is_signed_and_taken(run, body, source):
    told = run.json("send", source, body(FORM))
    assert told["status"] == 202
    assert len(told["answer"]["recalls"]) == 1


def test_a_hubspot_batch_is_signed_and_taken(run, body):
    told = run.json("send", "hubspot", body([hubspot_event(77, "2030-06-03T15:00:00")]))
    assert told["status"] == 202


def test_a_salesforce_message_goes_to_the_address_with_the_key(run, body, request):
    sample = request.config.rootpath / "tests/samples/salesforce/two_leads.xml"
    ours = sample.read_bytes().replace(b"00D5f000000AbCdEAK", b"00Dxx0000000000EAA")
    done = run("send", "salesforce", body(ours))
    assert done.exit_code == 0
    assert "true</Ack>" in done.stdout
    assert ENVIRON["URL_KEY"] not in done.output


def test_each_sending_is_a_new_message(run, body):
    path = body(FORM)
    first, second = (run.json("send", "forms", path)["answer"]["recalls"] for _ in range(2))
    assert first != second


def test_a_body_that_is_signed_without_an_id_is_the_same_message(run, body):
    path = body(FORM)
    first, second = (run.json("send", "hmac", path) for _ in range(2))
    assert first["answer"]["recalls"] == second["answer"]["recalls"]
    assert (first["duplicate"], second["duplicate"]) == (False, True)


@pytest.mark.parametrize("source", ["forms", "hmac", "bearer"])
def test_a_duplicate_is_said_to_be_one(run, body, source):
    path = body(FORM)
    first, second = (run("send", source, path, "--message-id", "msg_1") for _ in range(2))
    assert "duplicate" not in first.stdout
    assert "This delivery is a duplicate." in second.stdout


@pytest.fixture
def private_key(tmp_path):
    """The file of the private key whose public key the source `ed25519` has."""
    path = tmp_path / "private.pem"
    path.write_bytes(PRIVATE.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(path)


def test_a_sample_is_signed_with_the_private_key_of_the_caller(run, body, private_key):
    told = run.json("send", "ed25519", body(FORM), "--private-key", private_key)
    assert (told["status"], len(told["answer"]["recalls"])) == (202, 1)


def test_a_sample_for_ed25519_needs_a_private_key(run, body, tmp_path, private_key):
    done = run("send", "ed25519", body(FORM))
    assert done.exit_code == 1
    assert "--private-key FILE" in done.stderr
    assert run("send", "forms", body(FORM), "--private-key", private_key).exit_code == 2
    other = tmp_path / "other.pem"
    other.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    done = run("send", "ed25519", body(FORM), "--private-key", str(other))
    assert done.exit_code == 2
    assert "openssl genpkey" in done.stderr


@pytest.mark.parametrize("source", ["forms", "hmac"])
def test_the_same_message_id_is_the_same_event(run, body, source):
    path = body(FORM)
    first, second = (
        run.json("send", source, path, "--message-id", "msg_1")["answer"]["recalls"] for _ in range(2)
    )
    assert first == second


def test_a_public_url_is_what_is_signed_wherever_it_is_posted(run, web, body, tmp_path):
    text = (tmp_path / "ringback.toml").read_text()
    public = f"http://127.0.0.1:{web.server_port}/hooks/hubspot"
    named = text.replace('kind = "hubspot"', f'kind = "hubspot"\npublic_url = "{public}"')
    (tmp_path / "ringback.toml").write_text(named)
    told = run.json("send", "hubspot", body([hubspot_event(77, "2030-06-03T15:00:00")]), "--public", PORT="1")
    assert told["status"] == 202


def test_a_refused_body_is_status_1_with_the_answer(run, body):
    done = run("send", "forms", body(b"{"))
    assert done.exit_code == 1
    assert done.stdout.startswith("400 ")


def test_a_refusal_for_its_proof_says_where_the_reason_is(run, body):
    done = run(
        "send",
        "salesforce",
        body(b"<x/>"),
        "--url",
        f"http://127.0.0.1:{run.environ['PORT']}/hooks/salesforce",
    )
    assert done.exit_code == 1
    assert done.stdout.startswith("401 ")
    assert "The log of the web server says which check failed" in done.stderr


def test_an_answer_says_what_to_look_at_next(run, body):
    assert "ringback show rc_" in run("send", "forms", body(FORM)).stdout


def test_nothing_there_is_status_1_in_plain_words(run, body):
    done = run("send", "salesforce", body(b"<x/>"), PORT="1")
    assert done.exit_code == 1
    assert done.stderr == (
        "cannot connect to http://127.0.0.1:1. Start the web server, for example with `ringback up`.\n"
    )


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "127.0.0.1:1/x", "http://[::1"])
def test_an_address_that_is_none_is_wrong_usage(run, body, url):
    assert run("send", "forms", body(FORM), "--url", url).exit_code == 2


@pytest.mark.parametrize("port", ["0", "eighty", "65536"])
def test_a_port_that_is_none_is_a_fault_of_the_environment(run, body, port):
    done = run("send", "forms", body(FORM), PORT=port)
    assert done.exit_code == 1
    assert "PORT is " in done.stderr


def test_an_unknown_source_is_status_1(run, body):
    assert run("send", "zoho", body(FORM)).exit_code == 1


def test_a_form_is_not_sent_without_a_configuration(tmp_path, body):
    write_config(tmp_path, "nonsense = 1")
    assert Ringback(tmp_path / "ringback.toml")("send", "forms", body(FORM)).exit_code == 1
