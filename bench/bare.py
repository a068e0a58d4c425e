"""Bare httpx: threads that only call wolkvox, each with its own connection."""

from __future__ import annotations

import ssl
import sys
import threading
import time

import httpx

from bench.stage import token

# Created once: loading the certificates takes 20 ms.
CONTEXT = ssl.create_default_context()


def _call_on(port: int, number: int, end: float) -> None:
    with httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False, verify=CONTEXT
    ) as client:
        while time.monotonic() < end:
            answer = client.put(
                "/api/v2/campaign.php",
                params={"api": "recall", "type_campaign": "predictive", "campaign_id": "10"},
                headers={"wolkvox-token": token(number)},
                json={"recall_date": "20300101100000", "recall_telephone": "3001112233", "customer_id": "C1"},
            )
            if answer.json()["code"] != "202":
                raise RuntimeError("not accepted")


def main() -> None:
    """Run the command line: port, threads, seconds."""
    port, threads, seconds = sys.argv[1:4]
    end = time.monotonic() + float(seconds)
    first = threading.get_native_id() * 1000
    running = [
        threading.Thread(target=_call_on, args=(int(port), first + n, end)) for n in range(int(threads))
    ]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


if __name__ == "__main__":
    main()
