"""Guess the URLs that a sender may have signed instead of the expected one. Pure.

A proxy may terminate TLS, rename the host, or add or remove a port, a slash, a prefix or the query. The
`public_url` may also differ from the URL in the settings of the CRM.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from integration.webhooks.diagnosis.findings import Finding, Guess

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.domain.delivery import Delivery

MOST = 120
_LONGEST = 2000
_HOST_HEADERS = ("x-forwarded-host", "x-original-host", "host")
_PATH_HEADERS = ("x-original-uri", "x-forwarded-uri", "x-rewrite-url", "x-original-url")


def addresses(delivery: Delivery) -> tuple[Guess, ...]:
    """Return the expected URL, then other likely URLs, the ones with the fewest differences first."""
    parts = urlsplit(delivery.url)
    choices = (
        _once((parts.scheme, "https", "http")),
        _once((parts.netloc, *_hosts(delivery, parts.netloc))),
        _once((parts.path, *_paths(delivery, parts.path))),
        _once((parts.query, "")),
    )
    # Options are ordered by likelihood, so a small sum of indexes means few and likely differences.
    ranked = sorted(
        itertools.product(*(range(len(options)) for options in choices)),
        key=lambda places: (sum(place > 0 for place in places), sum(places)),
    )
    made = [_written(*(options[place] for options, place in zip(choices, places, strict=True)))
            for places in ranked[:MOST]]  # fmt: skip
    # Only the scheme is replaced, so that an unusual URL (such as one with an empty query) stays as it is.
    other_scheme = "http" if parts.scheme == "https" else "https"
    made.insert(0, other_scheme + delivery.url[len(parts.scheme) :])
    others = (url for url in _once(made) if url != delivery.url and len(url) <= _LONGEST)
    return (Guess(delivery.url), *(Guess(url, _finding(delivery, url)) for url in others))


def _finding(delivery: Delivery, url: str) -> Finding:
    facts = {
        "signed": without_secrets(url, delivery.url_key),
        "expected": without_secrets(delivery.url, delivery.url_key),
    }
    return Finding("address", facts)


def without_secrets(url: str, url_key: str | None) -> str:
    """Return a URL with `{url_key}` in place of its key and `?…` in place of its query.

    The key is a secret. The query may contain secrets and customer data.
    """
    bare, has_query, _ = url.partition("?")
    if url_key:
        bare = bare.replace(url_key, "{url_key}")
    return bare + ("?…" if has_query else "")


def _once(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _written(scheme: str, host: str, path: str, query: str) -> str:
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def _hosts(delivery: Delivery, expected: str) -> list[str]:
    forwarded = [
        host.strip()
        for name in _HOST_HEADERS
        for host in delivery.headers.get(name, "").split(",")[:3]
        if host.strip()
    ]
    port = delivery.headers.get("x-forwarded-port", "").split(",")[0].strip()
    with_ports = [
        f"{_without_port(host)}{suffix}"
        for host in (expected, *forwarded)
        for suffix in ("", *([f":{port}"] if port.isdecimal() else []), ":443", ":80")
    ]
    lower = [host.lower() for host in (expected, *forwarded)]
    return [host for host in (*forwarded, *with_ports, *lower) if host]


def _without_port(host: str) -> str:
    before, colon, port = host.rpartition(":")
    return before if colon and port.isdecimal() else host


def _paths(delivery: Delivery, expected: str) -> list[str]:
    own = f"/hooks/{delivery.source}" + (f"/{delivery.url_key}" if delivery.url_key else "")
    forwarded = [
        urlsplit(delivery.headers[name]).path
        for name in _PATH_HEADERS
        if delivery.headers.get(name, "").startswith("/")
    ]
    prefix = delivery.headers.get("x-forwarded-prefix", "").strip().rstrip("/")
    prefixed = [prefix + own] if prefix.startswith("/") else []
    paths = [expected.rstrip("/"), expected.rstrip("/") + "/", own, own + "/", *forwarded, *prefixed]
    return [*paths, unquote(expected)]
