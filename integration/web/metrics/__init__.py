"""What Prometheus reads: what all processes counted, and how the whole store stands. True for any web.

A label is a configured name or a word of ours: never a token, a customer, a number or anything that an
unverified sender chose. With very many accounts only those are shown by name that need a look.
"""

from integration.web.metrics.collector import StoreCollector, registry
from integration.web.metrics.states import MOST_ACCOUNTS, QUEUE_STATES

__all__ = ["MOST_ACCOUNTS", "QUEUE_STATES", "StoreCollector", "registry"]
