"""Reads `ringback.toml`: texts from `env:` and `file:`, then models, then what the tables say of each other.

Promises every fault at once, each with its key, what was found and what is allowed; and a `Config` only
when there is none. Never quotes a secret, nor anything that could be one: not in a fault, not in a log.
"""

from integration.config_file.doubts import warnings
from integration.config_file.loading import load
from integration.config_file.watch import ConfigWatch

__all__ = ["ConfigWatch", "load", "warnings"]
