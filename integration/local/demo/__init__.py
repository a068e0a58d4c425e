"""`ringback demo`: the main job on this machine alone, from a signed webhook to the call at wolkvox.

Everything is real but the far ends: CRM and wolkvox are stand-ins on loopback. What the first start
stored is still there at the second, so every run makes customers of its own.
"""

from integration.local.demo.run import demo

__all__ = ["demo"]
