"""An answer that waits for the store without a thread: what the application leaves behind for the gate.

The application still answers at once, to nobody: the gate sends what `Finish` gives, with the headers
that every answer carries. Served by anything else than the gate, the application waits by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.delivery import Reply

KEY = "ringback.later"
"""Where a request's environment holds a `Later`."""

Finish = Callable[[], "Reply"]
"""Gives the answer once the store has spoken; quick, never raises for what the store does."""

Start = Callable[[Callable[[Finish], None]], None]
"""Asks the store; what it is handed is called once, from any thread, with what finishes the answer."""


@dataclass(slots=True)
class Later:
    """Where the application leaves what it has begun."""

    start: Start | None = None
