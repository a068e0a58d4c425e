"""The protocol of the script in `integration/store/lua`: its text, the header and the reply of a run.

The header contains the epoch known to the caller. The script compares it with the store's epoch and returns
the current one (epoch.lua).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import structlog

from integration.store.scripting.layout import LAYOUT, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.store.scripting.epoch import StoreEpoch

log = structlog.get_logger("ringback.store")

PREFIX = "{ringback}:"

_PARTS = (
    *("keys", "epoch", "recalls", "queue", "drain", "parked", "admission", "operator_commands", "search"),
    *("monitoring", "purge", "dispatch"),
)
SCRIPT = "\n".join(
    (
        f"local LAYOUT, VERSION = '{LAYOUT}', '{VERSION}'",
        *((files("integration.store") / "lua" / f"{part}.lua").read_text("utf-8") for part in _PARTS),
    )
)
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324  (the store's own naming)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLoss:
    """A detected loss of data.

    `how` is "went back", "was emptied" or "was exchanged" (for another store). `missing` is the minimum
    number of lost changes to queues and recalls, or None if unknown.
    """

    how: str
    missing: int | None


class ScriptProtocol:
    """Creates the headers of a process's runs and reads their replies.

    `who` identifies the process. `epoch` records the latest epoch and revision seen. `clock` returns epoch
    milliseconds and is for tests; None uses the store's clock. `on_loss` is called after a loss of data, in
    one process only.
    """

    def __init__(self, who: str, epoch: StoreEpoch, clock: Callable[[], int] | None) -> None:
        self.epoch = epoch
        self.on_loss: Callable[[EpochLoss], None] = lambda _: None
        self._who = who
        self.clock = clock

    def header(self, command: str) -> tuple[str | int, ...]:
        """Return the arguments that precede those of the calls. lua/keys.lua lists them."""
        now = "" if self.clock is None else self.clock()
        seen = self.epoch.seen()
        return PREFIX, command, now, seen.epoch, seen.revision, seen.server, seen.ago_ms, self._who

    def replies(self, reply: Sequence[Any]) -> list[Any]:
        """Record the epoch of a run, and report a loss. Return the reply or error of each call."""
        epoch, revision, server, loss, replies = reply
        before = self.epoch.seen()
        changed = self.epoch.note(epoch, int(revision), server)
        if loss and changed:
            self._report(loss, before.revision)
        elif changed and before.epoch:
            log.warning("the store has a new epoch: another process has reported the loss of data")
        return list(replies)

    def _report(self, text: str, seen: int) -> None:
        how, _, found = text.partition("|")
        loss = EpochLoss(how=how, missing=seen - int(found) if how == "went back" else None)
        reason = "the store went back, was emptied or was exchanged; acknowledged recalls may be missing"
        log.error(
            "the store lost data; each queue waits for the length of its lease",
            how=how,
            missing=loss.missing,
            reason=reason,
        )
        self.on_loss(loss)
