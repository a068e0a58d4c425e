"""The Prometheus metrics: the counters of all processes and the state of the store.

Labels are configured names or fixed words, never personal data, secrets or values of an unverified sender.
With many accounts, only those that need attention have their own series.
"""

from integration.web.metrics.collector import StoreCollector, registry
from integration.web.metrics.gauges import MOST_ACCOUNTS, QUEUE_STATES

__all__ = ["MOST_ACCOUNTS", "QUEUE_STATES", "StoreCollector", "registry"]
