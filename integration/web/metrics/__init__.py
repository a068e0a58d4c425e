"""What Prometheus reads: what all processes counted, and how the whole store stands. True for any web.

A label is a configured name or a word of ours: never a token, a customer, a number or anything that an
unverified sender chose. With very many accounts only those are shown by name that need a look.
"""

from integration.web.metrics.collector import StoreCollector, registry
from integration.web.metrics.states import LANE_STATES, MOST_ACCOUNTS

__all__ = ["LANE_STATES", "MOST_ACCOUNTS", "StoreCollector", "registry"]
