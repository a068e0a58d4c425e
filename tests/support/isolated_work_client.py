"""The previews of all tests of a process, and a template that takes minutes."""

from __future__ import annotations

import json

from integration.webhooks.isolated_work.client import IsolatedWork

# A fork server takes a second to start, and keeps nothing of a test but its configuration.
ISOLATED_WORK = IsolatedWork()

# Each placeholder compares ten thousand numbers with each other.
HEAVY = " ".join(["{{ event.list | select('in', event.list) | list | length }}"] * 60)
HEAVY_SAMPLE = json.dumps({"list": list(range(10_000, 20_000))}, separators=(",", ":"))
