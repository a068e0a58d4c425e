"""The wolkvox sandbox: a simulator that injects faults and records the calls it received.

The sandbox responds as wolkvox documents. A call counts as in flight until its simulated work is done,
even if its client has disconnected. Tokens are displayed as fingerprints only. The sandbox sends no
requests and writes nothing to disk.
"""

from integration.local.sandbox.calls import fingerprint
from integration.local.sandbox.rules import Rule
from integration.local.sandbox.simulator import Sandbox, serve
from integration.local.sandbox.wolkvox import Settings

__all__ = ["Rule", "Sandbox", "Settings", "fingerprint", "serve"]
