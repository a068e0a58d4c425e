"""The status of the lookups of each source: waiting events, and the cause of failures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.domain.timestamps import from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.clients.lookups import FailureKind
    from integration.config.source_models import Lookup
    from integration.store.client import Store

# A failure of single records ends if it is not reported again within this time after its next try. The
# same as in parked.lua.
OUTDATED_MS: Final = 120_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupFailure:
    """The cause of failing lookups of a source. Times are aware, UTC.

    `kind` is a value of FailureKind. `failures` counts consecutive failures since `since`. If `is_held`
    is True, no record is looked up before `next_try` unless the lookup's settings change; otherwise the
    failure affects single records only. `next_try` is None if only a change of the settings, or
    `LookupStatusStore.succeeded`, ends the wait.
    """

    kind: str
    reason: str
    since: datetime
    next_try: datetime | None
    failures: int
    is_held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupStatus:
    """The lookups of a source: the CRM, the number of waiting events, and the failure, if any."""

    source: str
    provider: str
    events: int
    failure: LookupFailure | None = None


class LookupStatusStore:
    """Reads and writes the lookup status of the sources."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self, lookups: Mapping[str, Lookup]) -> dict[str, LookupStatus]:
        """Return the lookup status by source, in one round trip. Raise StoreAwayError."""
        now_ms = self._store.now_ms()

        def commands(pipe: Any) -> None:
            pipe.hgetall(self._store.key("lookup_events"))
            for source in lookups:
                pipe.hgetall(self._store.key(f"lookup_failure:{source}"))

        events, *failures = self._store.pipelined(commands)
        return {
            source: LookupStatus(
                source=source,
                provider=lookup.provider,
                events=int(events.get(source, 0)),
                failure=_failure(fields, lookup, now_ms),
            )
            for (source, lookup), fields in zip(lookups.items(), failures, strict=True)
        }

    def failed(
        self,
        source: str,
        settings: str,
        kind: FailureKind,
        reason: str,
        *,
        wait_seconds: float | None,
        holds: bool,
    ) -> None:
        """Record a failure of the lookups of a source. Raise StoreAwayError.

        `settings` is the digest of the lookup's settings. With `holds`, lookups with these settings are
        suspended for `wait_seconds`, or until `succeeded` is called if `wait_seconds` is None.
        """
        failure: dict[str, Any] = {
            "kind": str(kind),
            "reason": reason,
            "holds": holds,
            "settings": settings,
        }
        if wait_seconds is not None:
            failure["wait_ms"] = round(wait_seconds * 1000)
        self._store.call("fail_lookups", source, orjson.dumps(failure))

    def failures(self, source: str) -> int:
        """Return the number of consecutive failures that affected all lookups of a source, 0 for none.

        Raise StoreAwayError.
        """
        (fields,) = self._store.hashes([f"lookup_failure:{source}"])
        return int(fields["failures"]) if fields.get("holds") == "1" else 0

    def succeeded(self, source: str, settings: str) -> bool:
        """Clear a failure that affected all lookups of a source with these settings.

        `settings` is the digest of the lookup's settings. Return True if there was such a failure. Raise
        StoreAwayError.
        """
        return bool(self._store.call("end_lookup_failure", source, settings))


def _failure(fields: Mapping[str, str], lookup: Lookup, now_ms: int) -> LookupFailure | None:
    # A failure with other settings does not count, because the next lookup uses the new settings.
    if not fields or fields["settings"] != lookup.digest:
        return None
    is_held, until = fields["holds"] == "1", int(fields["until"]) if fields["until"] else None
    if not is_held and until is not None and now_ms > until + OUTDATED_MS:
        return None
    return LookupFailure(
        kind=fields["kind"],
        reason=fields["reason"],
        since=from_epoch_ms(int(fields["since"])),
        next_try=None if until is None else from_epoch_ms(max(until, now_ms)),
        failures=int(fields["failures"]),
        is_held=is_held,
    )
