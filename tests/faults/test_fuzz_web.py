"""The running web against raw bytes: it answers or hangs up, never with a fault of its own, and stays up.

What the server in front of the application refuses itself has no body and no headers of ours; everything
else carries the headers of every answer, is a problem when it is no success, and repeats nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.web.security_headers import ANSWER_HEADERS
from support.fuzzing import examples, gone_bad
from support.real_web import running_web

DATABASE = 12
CANARY = "canary-9b1e"
KEY = "k-9f27c1d0a4b84f7e-2b"
API_KEY = "api-key-of-the-fuzzing-web-1"
SETTINGS = f"""
[api_keys]
caller = "{API_KEY}"

[sources.signed]
kind = "json"
verify = "hmac-sha256"
header = "X-Signature"
secrets = ["another-secret-51c2"]

[sources.keyed]
kind = "json"
verify = "url-key"
url_key = "{KEY}"

[sources.hubspot]
kind = "hubspot"
secrets = ["a-hubspot-secret-7a1c"]

[sources.salesforce]
kind = "salesforce"
url_key = "{KEY}-salesforce"
organization_id = "00Dxx0000000000EAA"

[[routes]]
name = "form"
source = "keyed"
account = "bogota"
campaign_id = "10"
customer_id = "{{{{ event.customer }}}}"
recall_telephone = "{{{{ event.phone }}}}"
recall_date = "{{{{ event.at }}}}"
"""
BODY = b'{"customer":"canary-9b1e","phone":"3001112233","at":"2060-03-04T15:30:00-05:00"}'
JSON = b"Content-Type: application/json\r\n"
PROOF = b"Authorization: Bearer " + API_KEY.encode() + b"\r\n"
ASKED = (
    b'{"account":"bogota","campaign_id":"10","customer_id":"canary-9b1e","recall_telephone":"3001112233",'
    b'"recall_date":"2060-03-04T15:30:00-05:00"}'
)


def request(line, *headers, body=b"", length=True):
    """Put a request together; the connection is closed after its answer."""
    told = b"Content-Length: %d\r\n" % len(body) if length else b""
    return line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + told + b"".join(headers) + b"\r\n" + body


POST_KEYED = b"POST /hooks/keyed/" + KEY.encode()
REQUESTS = (
    request(POST_KEYED, JSON, body=BODY),
    request(POST_KEYED, b"Content-Type: application/x-www-form-urlencoded\r\n", body=b"customer=canary-9b1e&a[b][0]=c"),
    request(POST_KEYED, JSON, b"Transfer-Encoding: chunked\r\n", body=b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY), length=False),
    request(b"POST /hooks/signed", JSON, b"X-Signature: 00ff\r\n", body=BODY),
    request(b"POST /hooks/hubspot", JSON, b"X-HubSpot-Signature-v3: a\r\nX-HubSpot-Request-Timestamp: 1\r\n", body=b"[]"),
    request(b"POST /hooks/salesforce/" + KEY.encode() + b"-salesforce", b"Content-Type: text/xml\r\n", body=b"<a>canary-9b1e</a>"),
    request(b"POST /v1/recalls", JSON, PROOF, b"Idempotency-Key: canary-9b1e\r\n", body=ASKED),
    request(b"GET /v1/recalls?customer_id=canary-9b1e&limit=5", PROOF, length=False),
    request(b"GET /v1/accounts/bogota", PROOF, length=False),
    request(b"GET /metrics", length=False),
    request(b"GET /openapi.json", length=False),
)  # fmt: skip


@pytest.fixture(scope="module")
def web(tmp_path_factory, valkey):
    with running_web(tmp_path_factory.mktemp("fuzz"), valkey, DATABASE, SETTINGS) as started:
        yield started
        said = started.log.read_text("utf-8", "replace")
    assert "Traceback" not in said
    assert '"level": "error"' not in said
    for secret in (CANARY, KEY, API_KEY, "3001112233", "another-secret"):
        assert secret not in said


def answers(web, sent, *, patience=20.0):
    """Send bytes, and nothing more; give the answers as (status, headers, body).

    `patience` is how long the web may wait for more, in seconds, before there is none to come.
    """
    received = b""
    with web.connect() as sock, contextlib.suppress(ConnectionResetError, BrokenPipeError):
        sock.settimeout(patience)
        sock.sendall(sent)
        try:
            while part := sock.recv(65536):
                received += part
        except TimeoutError:
            sock.settimeout(20.0)
            sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(65536):
                received += part
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        length = int(headers.get("content-length", 0))
        found.append((int(lines[0].split(" ")[1]), headers, rest[:length]))
        received = rest[length:]
    return found


def require_sound(status, headers, body):
    """Fail unless an answer is one that the web may give to anybody."""
    if status == 100:
        return
    if "server" not in headers:
        assert (status in {400, 408, 414, 431}, body) == (True, b"")
        return
    assert status < 500, (status, body)
    assert status not in range(300, 400)
    kind = headers.get("content-type", "")
    for name, value in ANSWER_HEADERS.items():
        # The dashboard's pages have values of their own.
        assert headers[name.lower()] == value.lower() or kind.startswith("text/html"), name
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    if status >= 400:
        assert kind.startswith(("application/problem+json", "text/xml"))
        assert body == b"" or kind.startswith("text/xml") or json.loads(body)["status"] == status
        # A fault names the place in the caller's own words, and there a value may have become part of a name.
        assert CANARY.encode() not in re.sub(rb'"(pointer|parameter)":"[^"]*"', b"", body)


@examples(120)
@given(data=st.data())
def test_a_request_that_went_bad_is_answered_or_hung_up_on(web, data):
    sent = data.draw(gone_bad(data.draw(st.sampled_from(REQUESTS))))
    # A second request may have come of it; a 200 of /v1 rightly holds what was asked for.
    for answer in answers(web, sent, patience=0.3):
        require_sound(*answer)


@examples(40)
@given(sent=st.binary(max_size=300) | st.lists(st.sampled_from([*(b"GET ", b"POST ", b"/", b"hooks/keyed", b" HTTP/1.1", b"\r\n", b"\n", b"Host: x", b": ", b"\0", b"0\r\n\r\n", b"Content-Length: 5", b"Transfer-Encoding: chunked")]), max_size=20).map(b"".join))  # fmt: skip
def test_any_bytes_are_answered_or_hung_up_on(web, sent):
    for answer in answers(web, sent, patience=0.1):
        require_sound(*answer)


@examples(80)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "FOO"]),
    path=st.lists(
        st.sampled_from(["hooks", "v1", "keyed", "signed", KEY, "recalls", "..", ".", "", "%2e%2e", "%00", "%ff", "metrics", "a b"])
        | st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#?"), max_size=10),
        max_size=6,
    ).map(lambda parts: "/" + "/".join(parts).replace(" ", "%20")),
    query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20),
)  # fmt: skip
def test_any_address_is_answered_without_a_fault_or_a_redirect(web, method, path, query):
    for answer in answers(web, request(f"{method} {path}?{query}".encode(), length=False)):
        require_sound(*answer)


# --- where a request ends, and which address it is for ---------------------------------------

SMUGGLED = b"GET /v1/me HTTP/1.1\r\nHost: x\r\n" + PROOF + b"\r\n"
HEAD = POST_KEYED + b" HTTP/1.1\r\nHost: x\r\n" + JSON


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;x\r\n{}\r\n0\r\n\r\n" + SMUGGLED,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\n" + SMUGGLED,
        HEAD + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n" + SMUGGLED,
        HEAD + b"Content-Length: 0, 44\r\n\r\n" + SMUGGLED,
        HEAD + b"Content-Length: +0\r\n\r\n" + SMUGGLED,
        HEAD + b"Content-Length: 0x2c\r\n\r\n" + SMUGGLED,
        HEAD + b"Content-Length:\r\n 0\r\n\r\n" + SMUGGLED,
        HEAD + b"Host: y\r\nContent-Length: 0\r\n\r\n" + SMUGGLED,
        POST_KEYED + b" HTTP/1.1\r\n" + JSON + b"Content-Length: 0\r\n\r\n" + SMUGGLED,
    ],
    ids=range(16),
)
def test_a_request_whose_end_is_in_doubt_is_the_last_of_its_connection(web, sent):
    """So nothing that follows it can be taken for the request of the next one behind the same proxy."""
    found = answers(web, sent)
    assert [status for status, _, _ in found] == [400]
    require_sound(*found[0])


@pytest.mark.parametrize(
    "path",
    [
        *(
            "//metrics",
            "/v1/../metrics",
            "/v1/%2e%2e/metrics",
            "/%6detrics",
            "/metrics/",
            "/hooks/..%2fmetrics",
        ),
        *(
            "//evil.example/%2e%2e",
            "/v1//me",
            "/hooks/keyed%2F" + KEY,
            "/hooks\\keyed",
            "metrics",
            "*",
            "/metrics%00",
        ),
    ],
)
def test_only_the_plain_spelling_of_an_address_is_one(web, path):
    for method in ("GET", "POST"):
        ((status, headers, _),) = answers(web, request(f"{method} {path}".encode(), length=False))
        assert (status in {400, 404}, "location" in headers) == (True, False)


def test_the_host_that_a_request_names_is_in_no_answer(web):
    for host in ("evil.example", "evil.example:99", "[::1]", "x/../y", "a@b"):
        for path in ("/", "/v1/recalls", "/hooks/keyed", "/healthz", "/openapi.json", "/nothing"):
            sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-Host: {host}\r\nConnection: close\r\n\r\n"
            ((_, headers, body),) = answers(web, sent.encode())
            assert host.encode() not in body or host == "[::1]"
            assert host not in str(headers)


def test_a_failing_scheme_of_the_address_changes_nothing(web):
    ((status, _, body),) = answers(web, request(b"GET http://evil.example/healthz", length=False))
    assert (status, body) == (200, b'{"status":"ok"}')


def test_metrics_have_no_label_that_a_stranger_chose(web):
    for name in (b"nobody-1", b"nobody-2%22", CANARY.encode()):
        answers(web, request(b"POST /hooks/" + name, JSON, body=BODY))
        answers(web, request(b"GET /v1/" + name, length=False))
    ((_, _, page),) = answers(web, request(b"GET /metrics", length=False))
    assert not re.search(rb"nobody|canary", page)
    assert b"x" * 100 not in page
