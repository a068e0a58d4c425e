"""HTTP clients: wolkvox and the lookups of CRMs, on one transport with a deadline."""
