"""The web of Ringback, and what web and workers share: domain, configuration, store, services, clients."""
