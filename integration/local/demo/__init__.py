"""`ringback demo`: the path from a signed webhook to a wolkvox call, on this machine alone.

CRM and wolkvox are simulated on loopback; everything else is real. Stored data is kept between runs, so
every run uses new customers.
"""

from integration.local.demo.run import demo

__all__ = ["demo"]
