"""The wolkvox simulator: answers as wolkvox is documented to, fails on demand, shows what it received.

Promises: a call counts as in flight until its work is done, also when its client has left before that,
so what it says of overlaps is the server's view; tokens are shown as fingerprints only.
Never calls anybody, writes nothing to disk.
"""

from integration.local.sandbox.calls import fingerprint
from integration.local.sandbox.rules import Rule
from integration.local.sandbox.simulator import Sandbox, serve
from integration.local.sandbox.wolkvox import Settings

__all__ = ["Rule", "Sandbox", "Settings", "fingerprint", "serve"]
