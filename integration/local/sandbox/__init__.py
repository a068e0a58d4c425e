"""The wolkvox simulator: answers as wolkvox documents, injects faults, and shows the calls it received.

A call counts as in flight until its work is done, even if its client has disconnected, so overlaps are
counted as the server sees them. Tokens are shown as fingerprints only. The sandbox makes no requests and
writes nothing to disk.
"""

from integration.local.sandbox.calls import fingerprint
from integration.local.sandbox.rules import Rule
from integration.local.sandbox.simulator import Sandbox, serve
from integration.local.sandbox.wolkvox import Settings

__all__ = ["Rule", "Sandbox", "Settings", "fingerprint", "serve"]
