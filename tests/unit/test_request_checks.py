"""Requests that a proxy and the web could read differently are refused; all others pass."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.limits import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES
from integration.web.request_checks import excess_of_head, fault_of_head, has_second_spelling

HOST = (b"host", b"hooks.example.com")


def head(*headers, http_version="1.1", method="POST", path=b"/hooks/forms", query=b""):
    line = {"method": method, "raw_path": path, "query_string": query, "http_version": http_version}
    return {"headers": list(headers), **line}


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        (head(), "Host header is missing or empty"),
        (head((b"host", b"")), "Host header is missing or empty"),
        (head(HOST, HOST), "more than one Host header"),
        (head(HOST, (b"host", b"evil.example"), http_version="1.0"), "more than one Host header"),
        (head(HOST, (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")), "more than one"),
        (head(HOST, (b"transfer-encoding", b"chunked, chunked")), "Transfer-Encoding is not chunked"),
        (head(HOST, (b"transfer-encoding", b"gzip, chunked")), "Transfer-Encoding is not chunked"),
        (head(HOST, method="post"), "upper case"),
        (head(HOST, method="Post"), "upper case"),
        (head(HOST, method="gET"), "upper case"),
    ],
)
def test_a_head_that_can_be_read_in_two_ways_is_a_fault(scope, words):
    assert words in fault_of_head(scope)


@pytest.mark.parametrize(
    "scope",
    [
        head(HOST),
        head(HOST, (b"content-length", b"12")),
        head(HOST, (b"transfer-encoding", b"Chunked ")),
        head(
            HOST, (b"x-forwarded-for", b"a"), (b"x-forwarded-for", b"b"), (b"cookie", b"a"), (b"cookie", b"b")
        ),
        head(http_version="1.0"),
        head((b"host", b""), http_version="1.0"),
    ],
)
def test_what_can_be_read_in_one_way_passes(scope):
    assert fault_of_head(scope) is None


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        (head(HOST, path=b"/" + b"a" * MAX_TARGET_BYTES), 414),
        (head(HOST, query=b"a" * MAX_TARGET_BYTES), 414),
        (head(HOST, query=b"&" * MAX_FIELDS), 414),
        (head(HOST, (b"x", b"a" * MAX_HEAD_BYTES)), 431),
        (head(HOST, *[(b"a" * 400, b"")] * 82), 431),
    ],
    ids=["path", "query", "parameters", "one header", "many headers"],
)
def test_a_head_over_a_limit_is_answered_with_its_status(scope, status):
    assert excess_of_head(scope)[0] == status


def test_a_head_at_its_limits_passes():
    room = MAX_HEAD_BYTES - len(b"".join(HOST)) - 1
    query = b"&" * (MAX_FIELDS - 1)
    path = b"/" + b"a" * (MAX_TARGET_BYTES - len(query) - 1)
    assert excess_of_head(head(HOST, (b"x", b"a" * room), path=path, query=query)) is None


@pytest.mark.parametrize(
    "path",
    [
        *(b"//v1/me", b"/v1//me", b"/hooks/forms//", b"/x/../metrics", b"/./metrics", b"/v1/..", b"/v1/."),
        *(
            b"/hooks/%2e%2E/metrics",
            b"/hooks%2Fforms",
            b"/hooks%2fforms",
            b"/%6detrics",
            b"/v%31/me",
            b"/%4dE",
        ),
        *(
            b"*",
            b"",
            b"metrics",
            b"/hooks\\forms",
            b"/hooks%5Cforms",
            b"/hooks/forms%00",
            b"/%7a",
            b"/%5A",
            b"/%70",
        ),
    ],
)
def test_a_second_spelling_of_an_address_is_known(path):
    assert has_second_spelling(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            b"/",
            b"/hooks/forms",
            b"/hooks/forms/k-9f27c1d0a4b84f7e.2b_~",
            b"/v1/recalls/rc_0000000151f5",
        ),
        *(
            b"/hooks/..a",
            b"/hooks/a..",
            b"/static/a.min.css",
            b"/hooks/%7Ekey",
            b"/hooks/a%2Db%5Fc",
            b"/hooks/%C3%B1",
        ),
        *(b"/hooks/a%20b", b"/hooks/a%zz", b"/hooks/a%40b%3Ac%5B%5D%60%7B"),
    ],
)
def test_the_plain_spelling_of_an_address_passes(path):
    assert not has_second_spelling(path)


@given(character=st.sampled_from(string.printable))
def test_of_all_escapes_those_that_make_a_second_spelling_are_refused(character):
    escape = f"/a%{ord(character):02x}".encode()
    refused = character.isalnum() or character in "./\\"
    assert has_second_spelling(escape) == refused
    assert has_second_spelling(escape.upper()) == refused


@given(part=st.text(min_size=1, max_size=8).filter(lambda part: part not in {".", ".."}))
def test_what_an_honest_client_writes_for_a_part_passes(part):
    if not {"/", "\\", "\0"} & set(part) and not part.startswith("."):
        part = quote(part, safe="", errors="replace")
        assert not has_second_spelling(f"/hooks/{part}".encode())
