"""The main program of the fork server, which the web process starts with `python -m`."""

from __future__ import annotations

from integration.web.isolation.fork_server import serve
from integration.webhooks.isolated_work.functions import WORK, prepare

if __name__ == "__main__":
    serve(WORK, prepare)
