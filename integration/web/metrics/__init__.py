"""The Prometheus metrics: the counters of all processes and the state of the store.

Labels are configured names or fixed words: never a token, a customer, a number or anything chosen by an
unverified sender. With very many accounts only those that need attention have series of their own.
"""

from integration.web.metrics.collector import StoreCollector, registry
from integration.web.metrics.states import MOST_ACCOUNTS, QUEUE_STATES

__all__ = ["MOST_ACCOUNTS", "QUEUE_STATES", "StoreCollector", "registry"]
