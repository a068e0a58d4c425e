"""Stores the results of deliveries. All results of a delivery are stored, or none.

With `appendfsync always` the results are on disk when `admit` returns. A repeated event adds the id of
its first result to the answer and creates no other. A parked event counts as new after a change of the
configuration. `integration.mapping.planner` computes the results.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.delivery import QUERY, Answer, Delivery, Event, delivery_id
from integration.domain.errors import UnboundError
from integration.domain.json_codec import read_json
from integration.domain.recall import ENDS
from integration.domain.timestamps import epoch_ms, from_epoch_ms, from_iso, iso_seconds
from integration.mapping.planner import (
    CancelWanted,
    EventPlan,
    Expired,
    Ignored,
    Parked,
    Pending,
    RecallWanted,
)
from integration.store.token_queue import wake_ups_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from integration.domain.recall import CancelRequest, Recall, RecallRequest
    from integration.store.client import Store
    from integration.store.token_queue import WakeUp

SHORT_BODY_BYTES = 400
_VARYING = re.compile(r"\d+|\ba{2,}\b")  # numbers, and words in the masked form of a text ("aaa")
_RECORD_ID = re.compile(r"(?:rc|pk|dl)_[0-9a-z]+")
DAY_MS = 24 * 3600 * 1000
# Records that are removed by age: recalls by their final state, parked events, pointers of cancellations,
# jobs.
PURGED = (*ENDS, "parked", "dismissed", "cancel_pointers", "jobs")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionTerms:
    """The retention and deduplication periods of a source, and the digest of the configuration used."""

    dedup_hours: float
    raw_retention_days: int
    config_digest: str

    @property
    def dedup_ms(self) -> int:
        """Return the deduplication period in milliseconds, at least 1."""
        return max(1, round(self.dedup_hours * 3600 * 1000))

    @property
    def listed_days(self) -> int:
        """Return the days for which the delivery log keeps a delivery, at least 1."""
        return max(self.raw_retention_days, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """The result of an admission.

    `again` is True if the whole delivery was admitted before. `clash` is True if the idempotency key was
    used for another request; then nothing was stored and `answer` is empty. The caller must publish
    `wake_ups`. `lookup` is the source whose lookups need a wake-up, or None.
    """

    answer: Answer
    again: bool
    clash: bool
    wake_ups: tuple[WakeUp, ...]
    lookup: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvents:
    """Events of one delivery that wait for a lookup or for a corrected configuration.

    `id` is that of the lookup or parked event. `delivery` has no URL and no body. `seen` has the
    deduplication keys of `events`. `tries` counts the lookups, including the present one; it is 0 for a
    parked event.
    """

    id: str
    delivery: Delivery
    events: tuple[Event, ...]
    seen: tuple[str, ...]
    tries: int = 0


def digest_of(*parts: str | bytes) -> str:
    """Return a hash (32 hex digits) of values that may be long or personal."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        text = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hashed.update(len(text).to_bytes(8, "big") + text)
    return hashed.hexdigest()


def event_keys(delivery: Delivery, events: Sequence[Event]) -> tuple[str, ...]:
    """Return a deduplication key for each event.

    It is made from the event's `dedup_key`, or else from the delivery's content and the event's index.
    """
    body = None
    keys = []
    for index, event in enumerate(events):
        if event.dedup_key is not None:
            keys.append(digest_of(delivery.source, "key", event.dedup_key))
            continue
        body = body or digest_of(delivery.source, "body", _query_of(delivery), delivery.body)
        keys.append(digest_of(body, str(index)))
    return tuple(keys)


def _query_of(delivery: Delivery) -> str:
    """Return the query string, which holds the data, if the body is empty or `{}`; else "".

    A signature over the body does not cover the query. If the query were always part of the key, a
    captured delivery with another query would count as new.
    """
    return "" if delivery.body.strip(b" \t\r\n{}") else delivery.headers.get(QUERY, "")


def _dumps(value: Any) -> str:
    return orjson.dumps(value).decode()


def _request_fields(request: RecallRequest | CancelRequest) -> dict[str, Any]:
    fields = {
        "account": request.account,
        "campaign": request.campaign_id,
        "customer": request.customer_id,
        "version": epoch_ms(request.version),
    }
    return {**fields, "route": request.route} if request.route else fields


def _recall_fields(request: RecallRequest, **more: Any) -> dict[str, Any]:
    """Return the stored fields of a request, and `more`, the fields of its event.

    Fields with a default value are left out, because each run of the script parses all fields.
    """
    fields = _request_fields(request)
    fields["what"] = "recall"
    fields["score"] = epoch_ms(request.recall_date)
    fields["date"], requested = iso_seconds(request.recall_date), iso_seconds(request.requested_date)
    fields["telephone"] = request.recall_telephone
    if requested != fields["date"]:
        fields["requested"] = requested
    if request.notes:
        fields["notes"] = "\n".join(request.notes)
    return {**fields, **more}


def _event_json(event: Event, seen: str, place: int) -> str:
    occurred = None if event.occurred_at is None else epoch_ms(event.occurred_at)
    return _dumps(
        {
            "data": event.data,
            "dedup_key": event.dedup_key,
            "occurred_at": occurred,
            "lookup_id": event.lookup_id,
            "record_id": event.record_id,
            "place": place,
            "seen": seen,
        }
    )


def _reason(parked: Parked, delivery: Delivery) -> dict[str, str]:
    """Return the reason why an event is parked, and the id and description of its group.

    The events of a group have the same source, route, field and `allowed`. Their `found` may differ in
    numbers and in the lengths of masked words.
    """
    alike = _VARYING.sub(lambda run: "a" if run[0][0] == "a" else "#", parked.found)
    about = [delivery.source, parked.route or "", parked.field, alike, parked.allowed]
    reason = {
        "account": parked.account or "",
        "route": parked.route or "",
        "field": parked.field,
        "found": parked.found,
        "allowed": parked.allowed,
    }
    return {**reason, "group": digest_of(*about)[:16], "about": _dumps(about)}


def _event_fields(event: Event | None, place: int) -> dict[str, Any]:
    record = event.record_id if event else None
    return {"place": place, "record": record} if record else {"place": place}


def _fields(plan: EventPlan, delivery: Delivery, seen: str, place: int = 0) -> dict[str, Any]:
    match plan:
        case RecallWanted():
            return _recall_fields(plan.request, **_event_fields(plan.event, place))
        case Expired():
            fields = _recall_fields(plan.request, **_event_fields(plan.event, place))
            return {**fields, "state": "expired", "reason": plan.reason}
        case CancelWanted():
            return {"what": "cancel", **_request_fields(plan.request)}
        case Parked():
            event = _event_json(plan.event, seen, place)
            return {"what": "parked", "event": event, **_reason(plan, delivery)}
        case Pending():
            event = _event_json(plan.event, seen, place)
            return {"what": "pending", "event": event}
        case Ignored():
            return {"what": "ignored"}


def _answer(line: str) -> Answer:
    delivery, recalls, ignored, parked, pending, cancelled, too_late = line.split(";")

    def ids(text: str) -> tuple[str, ...]:
        return tuple(part for part in text.split(",") if part)

    return Answer(
        delivery=delivery,
        recalls=ids(recalls),
        ignored=int(ignored),
        parked=int(parked),
        pending=int(pending),
        cancelled=ids(cancelled),
        too_late=ids(too_late),
    )


def _admitted(reply: Sequence[Any]) -> Admitted:
    what, line, wake_ups, lookup = reply
    if what == "unbound":
        raise UnboundError("an account of the configuration has no queue yet; try again in a few seconds")
    return Admitted(
        answer=_answer(line) if line else Answer(delivery=""),
        again=what == "again",
        clash=what == "clash",
        wake_ups=wake_ups_of(wake_ups),
        lookup=lookup or None,
    )


def admission_args(
    delivery: Delivery, plans: Sequence[EventPlan], retention: RetentionTerms, raw: bytes
) -> tuple[bytes, bytes, bytes]:
    """Return the arguments of the script's `admit` command for a delivery."""
    events_in = [plan.event or Event(data=None) for plan in plans]
    seen = event_keys(delivery, events_in)
    events = [
        {**_fields(plan, delivery, key, place), **_dedup_fields(event, key, retention)}
        for place, (plan, event, key) in enumerate(zip(plans, events_in, seen, strict=True))
    ]
    whole = _whole(delivery, retention, events)
    whole["key"] = digest_of(delivery.source, *seen)
    whole["ttl"] = retention.dedup_ms
    if any(isinstance(plan, Ignored) for plan in plans):
        whole["silent"] = delivery_id(whole["key"][:16])
    whole["listed"] = retention.listed_days * DAY_MS
    return orjson.dumps(whole), _packed(raw), _headers(delivery)


def _dedup_fields(event: Event, key: str, retention: RetentionTerms) -> dict[str, Any]:
    """Return the fields by which the script recognizes a repeated event.

    `by_body` is set for an event without an id of the sender.
    """
    fields: dict[str, Any] = {"k": key, "ttl": retention.dedup_ms}
    return {**fields, "by_body": True} if event.dedup_key is None else fields


def _packed(raw: bytes) -> bytes:
    """Return a body in zlib format, uncompressed if it is short. An empty body stays empty."""
    return zlib.compress(raw, 1 if len(raw) > SHORT_BODY_BYTES else 0) if raw else b""


def _headers(delivery: Delivery) -> bytes:
    return orjson.dumps(dict(delivery.headers))


def _whole(
    delivery: Delivery, retention: RetentionTerms, events: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "source": delivery.source,
        "received": delivery.received_at.isoformat(),
        "proof": delivery.proof,
        "digest": retention.config_digest,
        "suffix": secrets.token_hex(2),
        "raw_ms": retention.raw_retention_days * DAY_MS,
        "events": list(events),
    }


class DeliveryStore:
    """Admits deliveries to a store, and resolves their parked and pending events."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(
        self, delivery: Delivery, plans: Sequence[EventPlan], retention: RetentionTerms, *, raw: bytes = b""
    ) -> Admitted:
        """Store the results of a delivery.

        `raw` is the body, which is kept for `raw_retention_days` unless all events are ignored or
        repeated. Raise StoreAwayError if the store is unavailable: either everything or nothing was
        stored, and the call can be repeated safely. Raise UnboundError if an account has no queue yet;
        nothing was stored.
        """
        return _admitted(self._store.call("admit", *admission_args(delivery, plans, retention, raw)))

    def admit_one(
        self, request: RecallRequest, *, expired: str | None = None, key: str = "", fingerprint: str = ""
    ) -> Admitted:
        """Store one recall requested through the API.

        `expired` is the reason for a recall that expires at once. `key` is a digest of the idempotency
        key, known for 168 hours. `fingerprint` is a digest of the request. If the key was used with
        another fingerprint, nothing is stored and the result has `clash` set. Raise StoreAwayError or
        UnboundError.
        """
        event = {**_recall_fields(request), "k": key, "ttl": 168 * 3600 * 1000}
        if expired is not None:
            event |= {"state": "expired", "reason": expired}
        if key:
            event["fingerprint"] = fingerprint
        return self._admit_without_delivery(request.source, event)

    def admit_again(self, request: RecallRequest, recall: Recall, reason: str, key: str = "") -> Admitted:
        """Store a new recall that an operator requested from an earlier one, `recall`, and link the two.

        `reason` is recorded with the first state. A second call with the same `key` within a day is a
        duplicate, unless the key is "". Raise StoreAwayError or UnboundError.
        """
        links = {"again_of": recall.id, "record": recall.record or "", "reason": reason}
        event = {**_recall_fields(request), **links, "k": key, "ttl": DAY_MS}
        return self._admit_without_delivery(request.source, event)

    def _admit_without_delivery(self, source: str, event: dict[str, Any]) -> Admitted:
        whole = {
            "id": delivery_id(secrets.token_hex(8)),
            "source": source,
            "received": iso_seconds(datetime.now(UTC)),
            "digest": "",
            "suffix": secrets.token_hex(2),
            "raw_ms": 0,
            "key": "",
            "ttl": 1,
            "events": [event],
        }
        return _admitted(self._store.call("admit", orjson.dumps(whole), b"", b"{}"))

    def ids_from_event(self, sources: Iterable[str], event_id: str) -> tuple[str, ...]:
        """Return the ids recorded for an event: its recall or parked event, or the recalls it cancelled.

        The id of its delivery is included if the event was the only one in it. `event_id` is the sender's
        id; it is looked up in each of `sources`. A record expires after `dedup_hours`. Raise StoreAwayError.
        """
        keys = [self._store.key(f"seen:{digest_of(source, 'key', event_id)}") for source in sources]
        texts = self._store.guarded(lambda: self._store.client.mget(keys)) if keys else []
        found = (part for text in texts if text for part in re.split(r"[|;,]", text))
        return tuple(dict.fromkeys(part for part in found if _RECORD_ID.fullmatch(part)))

    def resolve(
        self,
        stored: StoredEvents,
        plans: Sequence[EventPlan],
        retention: RetentionTerms,
        *,
        parked: bool,
        wait_seconds: float = 0.0,
    ) -> Admitted | None:
        """Replace waiting events with the results in `plans`. Return None if the events wait no longer.

        `parked` is True for a parked event, False for events of a lookup. Events with the plan Pending
        are looked up again after `wait_seconds`. Raise StoreAwayError or UnboundError.
        """
        events = [
            {
                **_fields(plan, stored.delivery, seen, event.place),
                **_dedup_fields(event, seen, retention),
            }
            for plan, event, seen in zip(plans, stored.events, stored.seen, strict=True)
        ]
        whole = _whole(stored.delivery, retention, events)
        origin: dict[str, Any] = {"parked": stored.id}
        if not parked:
            origin = {"lookup": stored.id, "tries": stored.tries, "wait_ms": round(wait_seconds * 1000)}
        arguments = (orjson.dumps(whole), orjson.dumps(origin), _headers(stored.delivery))
        reply = self._store.call("resolve", *arguments)
        return None if reply[0] == "gone" else _admitted(reply)

    def repark(self, stored: StoredEvents, parked: Parked) -> None:
        """Update the reason of a parked event that still cannot be mapped. Raise StoreAwayError."""
        self._store.call("repark", orjson.dumps(_reason(parked, stored.delivery)), stored.id)

    def take_lookups(
        self, source: str, settings: str = "", *, most_events: int = 100, lease_seconds: float = 60
    ) -> list[StoredEvents]:
        """Lease due lookups of a source and return their events, about `most_events` in total.

        `settings` is the digest of the lookup's settings. The list is empty while the source waits after
        a failure with the same digest. A lookup is due again when its lease has expired, so that it is
        repeated after a worker died. Raise StoreAwayError.
        """
        lease_ms = round(lease_seconds * 1000)
        replies = self._store.call("take_lookups", source, settings, most_events, lease_ms)
        return [_stored_lookup(read_json(text)) for text in replies]

    def postpone_lookup(self, lookup: str, wait_seconds: float, reason: str) -> None:
        """Postpone a lookup by `wait_seconds`, and do not count its latest try. Raise StoreAwayError."""
        self._store.call("postpone_lookup", lookup, round(wait_seconds * 1000), reason)

    def due_lookups(self, settings: Mapping[str, str]) -> set[str]:
        """Return the sources that have due lookups and do not wait after a failure.

        `settings` maps each source to the digest of its lookup's settings. Raise StoreAwayError.
        """
        now = self._store.now_ms()

        def commands(pipe: Any) -> None:
            for source in settings:
                pipe.zcount(self._store.key(f"lookups:{source}"), "-inf", now)
                pipe.hmget(self._store.key(f"lookup_failure:{source}"), "holds", "until", "settings")

        replies = iter(self._store.pipelined(commands))
        found = set()
        for source, digest in settings.items():
            due, (holds, until, failed) = next(replies), next(replies)
            held = holds == "1" and failed == digest and (not until or int(until) > now)
            if due and not held:
                found.add(source)
        return found

    def purge(self, *, before: datetime | Mapping[str, datetime], limit: int = 100) -> int:
        """Remove at most `limit` records older than `before`. Return the number removed.

        `before` is one aware time, or a mapping from kinds in PURGED to such times. The age of a recall
        counts from its end. Raise StoreAwayError.
        """
        moments = before if isinstance(before, Mapping) else dict.fromkeys(PURGED, before)
        limits = {str(kind): epoch_ms(moment) for kind, moment in moments.items()}
        return int(self._store.call("purge", orjson.dumps(limits), limit))


def _event(fields: Mapping[str, Any]) -> Event:
    occurred = fields["occurred_at"]
    return Event(
        data=fields["data"],
        dedup_key=fields["dedup_key"],
        occurred_at=None if occurred is None else from_epoch_ms(occurred),
        lookup_id=fields["lookup_id"],
        record_id=fields.get("record_id"),
        place=fields.get("place", 0),
    )


def _stored_events(id_: str, record: Mapping[str, str], events: Sequence[Mapping[str, Any]]) -> StoredEvents:
    delivery = Delivery(
        id=record["delivery"],
        source=record["source"],
        method="POST",
        url="",
        headers=read_json(record["headers"]),
        body=b"",
        received_at=from_iso(record["received"]),
        proof=record.get("proof", ""),
    )
    return StoredEvents(
        id=id_,
        delivery=delivery,
        events=tuple(_event(event) for event in events),
        seen=tuple(event["seen"] for event in events),
        tries=int(record.get("tries", 0)),
    )


def _stored_lookup(record: Mapping[str, str]) -> StoredEvents:
    return _stored_events(record["id"], record, read_json(record["events"]))


def parked_events_of(record: Mapping[str, str]) -> StoredEvents:
    """Return the parked event of a record that ParkedStore returned."""
    event = read_json(record["event"])
    return _stored_events(record["id"], record, [event])
