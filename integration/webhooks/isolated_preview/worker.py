"""The program of the helper. The web process starts it with `python -m`."""

from __future__ import annotations

from integration.web.isolation.helper import serve
from integration.webhooks.isolated_preview.work import WORK, prepare

if __name__ == "__main__":
    serve(WORK, prepare)
