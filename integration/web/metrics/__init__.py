"""The Prometheus metrics: the counters of all processes and the state of the store.

Labels are configured names, fixed words and versions. They contain no personal data, no secrets and no
values of an unverified sender. At most MOST_ACCOUNTS accounts have their own series, see `gauges`.
"""

from integration.web.metrics.collector import StoreCollector, registry
from integration.web.metrics.gauges import MOST_ACCOUNTS, QUEUE_STATES

__all__ = ["MOST_ACCOUNTS", "QUEUE_STATES", "StoreCollector", "registry"]
