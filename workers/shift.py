"""A shift: the turns of one thread, one lane after the other, while lanes wait and its time lasts.

Who has ended a turn goes on with the lane that waits for longest, without a doorbell. Connections are kept
from one turn to the next where both lanes are of one server.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from workers.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.config import Account
    from integration.wolkvox_http import Line
    from workers.turn import Tools

LONGEST_SECONDS = 20.0
"""While a thread is idle nobody waits for this one. Even so a worker with more room is to have the lane."""
CROWDED_SECONDS = 5.0
"""Where all threads of a worker are busy, look-ups wait for one."""


class Shift:
    """One shift of one thread. `accounts_of` gives those of a lane, by name, None when they are not known.

    It takes no further turn after `seconds`; left out, after a time that hangs on whether threads are idle.
    """

    def __init__(
        self,
        tools: Tools,
        accounts_of: Callable[[str], Mapping[str, Account] | None],
        *,
        seconds: float | None = None,
    ) -> None:
        self._tools = tools
        self._accounts_of = accounts_of
        self._seconds = seconds
        self._began = tools.boottime()
        self._opened = ExitStack()
        self._line: tuple[str, Line] | None = None

    def run(self, lane: str) -> str | None:
        """Take turns, the first on this lane unless others wait for longer.

        Gives a lane that still waits when the shift is over: its doorbell is to be rung.
        """
        in_line = True
        with self._opened:
            while (accounts := self._accounts_of(lane)) is not None:
                told = Turn(self._tools, lane, accounts, self).run(in_line=in_line)
                if told.next_lane is None or not told.taken:
                    return told.next_lane
                lane, in_line = told.next_lane, False
        return None

    def lasts(self) -> bool:
        """Tell whether this thread takes another turn."""
        if self._tools.stopping():
            return False
        most = self._seconds
        if most is None:
            most = CROWDED_SECONDS if self._tools.crowded() else LONGEST_SECONDS
        return self._tools.boottime() - self._began < most

    def line_to(self, endpoint: str) -> Line:
        """Give the line to a server."""
        if self._line is None or self._line[0] != endpoint:
            self._opened.close()
            self._line = endpoint, self._opened.enter_context(self._tools.open_line(endpoint))
        return self._line[1]
