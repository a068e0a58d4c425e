"""The web of Ringback, and the parts shared by web and workers: domain, configuration, store, services."""
