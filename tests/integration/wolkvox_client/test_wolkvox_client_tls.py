"""Pushes over TLS are sent only to a server with a valid certificate."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time

import pytest

from integration.clients.deadline_transport import shared_ssl_context
from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import VerdictKind
from support.wolkvox_peer import OK, SHORT, Peer, answering, dripping, push


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> str:
    """Return the path of a certificate and key for localhost, made for this test."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
        *("-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
    ]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return str(path)


def over_tls(certificate: str, script):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def wrapped(self: Peer, connection: socket.socket, number: int) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            script(self, secured, number)

    return wrapped


def local(host: str, port: int):
    return [(socket.AF_INET, ("127.0.0.1", port))]


def test_several_calls_go_over_one_tls_connection(peer, certificate):
    server = peer(over_tls(certificate, answering(OK)))
    endpoint = f"https://localhost:{server.port}"
    trusted = ssl.create_default_context(cafile=certificate)
    with WolkvoxConnection(endpoint, resolver=local, ssl_context=trusted) as line:
        for _ in range(4):
            assert verdict_of(push(line, endpoint)).kind is VerdictKind.ACCEPTED
    assert server.connections == 1


def test_a_drip_over_tls_is_cut_off_in_time(peer, certificate):
    server = peer(over_tls(certificate, dripping(OK + b" " * 200)))
    endpoint = f"https://localhost:{server.port}"
    trusted = ssl.create_default_context(cafile=certificate)
    started = time.monotonic()
    with WolkvoxConnection(endpoint, resolver=local, ssl_context=trusted) as line:
        exchange = push(line, endpoint, seconds=SHORT)
    assert (exchange.sent, exchange.complete) == (True, False)
    assert time.monotonic() - started < SHORT + 1


@pytest.mark.parametrize("name", ["localhost", "wolkvox.test"])
def test_a_certificate_that_does_not_prove_the_server_is_not_sent(peer, certificate, name):
    server = peer(over_tls(certificate, answering(OK)))
    endpoint = f"https://{name}:{server.port}"
    trusted = None if name == "localhost" else ssl.create_default_context(cafile=certificate)
    with WolkvoxConnection(endpoint, resolver=local, ssl_context=trusted) as line:
        exchange = push(line, endpoint)
    assert not exchange.sent
    assert exchange.not_sent_reason.startswith("TLS: the server's certificate is not valid")
    assert server.requests == []


def test_certificates_of_the_environment_are_not_trusted(peer, certificate, monkeypatch):
    server = peer(over_tls(certificate, answering(OK)))
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    shared_ssl_context.cache_clear()
    try:
        with WolkvoxConnection(f"https://localhost:{server.port}", resolver=local) as line:
            assert not push(line, f"https://localhost:{server.port}").sent
    finally:
        shared_ssl_context.cache_clear()
