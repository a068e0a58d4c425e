"""`ringback demo`: signed webhooks and the resulting wolkvox calls, on one machine.

CRM and wolkvox are simulated on loopback. All other parts are real. Stored data is kept between runs, so each
run uses new customers.
"""

from integration.local.demo.run import demo

__all__ = ["demo"]
