"""Logging, Sentry, counters."""
