"""A tab that renews itself gets 204 while nothing is new, and pages are compressed."""

from __future__ import annotations

import gzip

import pytest

from integration.web.response_size import DIGEST, MOST_RANDOM_BYTES, POLL, compressed
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages
from support.installation import Installation

GZIP = {"Accept-Encoding": "gzip"}
ADDRESSES = ("/accounts", "/recalls", "/parked", "/calendar", "/sources", "/alerts", "/deliveries")


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


def tick(pages, address, digest=None):
    headers = {"HX-Request": "true", POLL: "1", **({DIGEST: digest} if digest else {})}
    return pages.get(address, headers=headers)


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_tick_with_nothing_new_is_empty(services, address):
    """Each response has another CSRF token, which counts for nothing."""
    pages = Pages(services)
    first = tick(pages, address)
    assert first.status_code == 200
    again = tick(pages, address, first.headers[DIGEST])
    assert (again.status_code, again.data) == (204, b"")
    assert again.headers[DIGEST] == first.headers[DIGEST]


def test_a_tick_with_something_new_is_whole(services):
    pages = Pages(services)
    digest = tick(pages, "/accounts").headers[DIGEST]
    Installation(services).ask()
    answer = tick(pages, "/accounts", digest)
    assert answer.status_code == 200
    assert answer.headers[DIGEST] != digest


def test_a_page_that_a_person_asks_for_is_never_empty(services):
    pages = Pages(services)
    digest = tick(pages, "/accounts").headers[DIGEST]
    answer = pages.get("/accounts", headers={"HX-Request": "true", DIGEST: digest})
    assert answer.status_code == 200
    assert DIGEST not in answer.headers


@pytest.mark.parametrize("address", ["/", "/accounts", "/static/ringback.css", "/static/ringback.js"])
def test_pages_and_static_files_are_compressed_where_the_browser_takes_it(services, address):
    pages = Pages(services)
    plain, packed = pages.get(address), pages.get(address, headers=GZIP)
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert len(packed.data) < len(plain.data) / 2
    assert int(packed.headers["Content-Length"]) == len(packed.data)
    assert len(gzip.decompress(packed.data)) == pytest.approx(len(plain.data), abs=200)


def test_the_padding_changes_the_length_and_not_the_content():
    body = b"<p>text</p>" * 100
    lengths = [len(compressed(body, padding)) for padding in range(1, MOST_RANDOM_BYTES + 1)]
    assert lengths == list(range(lengths[0], lengths[0] + MOST_RANDOM_BYTES))
    assert gzip.decompress(compressed(body, MOST_RANDOM_BYTES)) == body


def test_lengths_of_a_page_vary(services):
    pages = Pages(services)
    assert len({len(pages.get("/accounts", headers=GZIP).data) for _ in range(20)}) > 5
