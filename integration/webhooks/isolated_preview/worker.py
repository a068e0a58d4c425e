"""The main program of the helper process, which the web process starts with `python -m`."""

from __future__ import annotations

from integration.web.isolation.helper import serve
from integration.webhooks.isolated_preview.work import WORK, prepare

if __name__ == "__main__":
    serve(WORK, prepare)
