"""An ASGI bridge in front of one WSGI application, its limits handed in."""

from __future__ import annotations

from integration.asgi import WsgiBridge
from integration.web.request_threads import PATIENCE_SECONDS, RequestThreads


def bridge(
    app,
    *,
    threads=32,
    most_waiting=4096,
    patience_seconds=PATIENCE_SECONDS,
    ends_with_client=False,
    **limits,
):
    pool = RequestThreads(
        app,
        threads=threads,
        most_waiting=most_waiting,
        patience_seconds=patience_seconds,
        ends_with_client=ends_with_client,
    )
    return WsgiBridge(lambda _path: pool, **limits)
