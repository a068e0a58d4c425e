"""Benchmarks of Ringback."""
