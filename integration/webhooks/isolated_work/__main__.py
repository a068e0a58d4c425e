"""The program of the fork server. The web process starts it with `python -m`."""

from __future__ import annotations

from integration.web.isolation.fork_server import serve
from integration.webhooks.isolated_work.functions import WORK, prepare

if __name__ == "__main__":
    serve(WORK, prepare)
