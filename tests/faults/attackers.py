"""Strangers that post huge forms to the sign-in, and viewers that try the heaviest templates.

`test_attack` runs it. The one argument is a JSON object: `port`, `seconds`, `forms` (connections) and `viewers` (for
each the headers that prove it). It prints how often each status was answered.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from urllib.parse import urlencode

from support.hook_client import AT
from support.isolated_work_client import HEAVY, HEAVY_SAMPLE

ATTACKS_OF_A_VIEWER = 3
LEAVES_AFTER_SECONDS = 0.5

FORM_OF_MANY_FIELDS = b"a&" * 500_000
DRAFT = urlencode(
    {
        "source": "forms",
        "route": "0",
        "name": "form",
        "account": "bogota",
        "action": "recall",
        "when": HEAVY.replace("{{", "(").replace("}}", ")").replace(") (", ") and ("),
        "campaign_id": HEAVY,
        "customer_id": HEAVY,
        "recall_telephone": HEAVY,
        "recall_date": AT,
        "sample": HEAVY_SAMPLE,
    }
).encode()


def request(path, body, **headers):
    lines = [f"POST {path} HTTP/1.1", "Host: attacked", f"Content-Length: {len(body)}", "Connection: close"]
    lines += ["Content-Type: application/x-www-form-urlencoded"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


async def status_of(port, message):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return "no connection"
    try:
        writer.write(message)
        await writer.drain()
        line = await reader.readline()
        return line.split(b" ")[1].decode() if line else "closed"
    except OSError:
        return "closed"
    finally:
        writer.transport.abort()


async def attack(port, message, end, leaves=None):
    """Send a request again and again until `end`. Return how often each status was answered."""
    loop, found = asyncio.get_running_loop(), Counter()
    while loop.time() < end:
        try:
            found[await asyncio.wait_for(status_of(port, message), leaves or 60)] += 1
        except TimeoutError:
            found["left"] += 1
    return found


async def attack_all(settings):
    port, end = settings["port"], asyncio.get_running_loop().time() + settings["seconds"]
    form = request("/sign-in", FORM_OF_MANY_FIELDS)
    forms = asyncio.gather(*(attack(port, form, end) for _ in range(settings["forms"])))
    drafts = [
        attack(
            port, request("/studio/try", DRAFT, **viewer), end, LEAVES_AFTER_SECONDS if number == 0 else None
        )
        for viewer in settings["viewers"]
        for number in range(ATTACKS_OF_A_VIEWER)
    ]
    tried = asyncio.gather(*drafts)
    return {"forms": sum(await forms, Counter()), "drafts": sum(await tried, Counter())}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(attack_all(json.loads(sys.argv[1])))))
