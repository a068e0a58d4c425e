"""Exports the data held of one person, and leaves out events of other people. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.domain.json_codec import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from integration.services.personal_data.matcher import PersonMatcher

EXPORT_COLUMNS: Final = (
    *("id", "state", "account", "campaign_id", "customer_id", "recall_telephone", "requested_date"),
    *("recall_date", "source", "route", "created_at", "attempts", "reason"),
)
# Spreadsheets read a cell that begins with one of these signs as a formula. In regions where `;` separates
# cells, Excel begins a cell after it. Pasted text has new cells after tabs and line ends.
_FORMULA: Final = re.compile(r"(^|[;\t\r\n])(?=[ \"]*[=+\-@])|^(?=[\t\r])")


def exported(
    person: PersonMatcher,
    held: Any,
    recalls: Sequence[Mapping[str, Any]],
    records: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Return a person's data as JSON values. `held` is the person's HeldData.

    `records` has deliveries, parked events and lookups of the store. A delivery has its `body` as bytes.
    Of a body, only the events that mention the person are exported, and nothing if it is not JSON.
    """
    return {
        "counts": held.counts,
        "recalls": list(recalls),
        "deliveries": [
            {
                "id": record["id"],
                "source": record.get("source"),
                "received": record.get("received"),
                "events": list(_own(person, _value(record["body"]))),
            }
            for record in records["deliveries"]
        ],
        "parked": [
            {"id": record["id"], "source": record["source"], "event": read_json(record["event"])["data"]}
            for record in records["parked"]
        ],
        "lookups": [
            {
                "id": record["id"],
                "source": record["source"],
                "events": list(_own(person, read_json(record["events"]))),
            }
            for record in records["lookups"]
        ],
    }


def _value(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _own(person: PersonMatcher, value: Any) -> Iterator[Any]:
    """Yield the smallest parts of a list, or of the lists in an object, that mention the person."""
    if isinstance(value, list):
        yield from (part for part in value if person.in_value(part))
    elif isinstance(value, dict):
        lists = [part for part in value.values() if isinstance(part, list) and person.in_value(part)]
        if lists:
            for part in lists:
                yield from _own(person, part)
        elif person.in_value(value):
            yield value


def rows(recalls: Iterable[Mapping[str, Any]]) -> Iterator[list[str]]:
    """Yield recalls as rows of EXPORT_COLUMNS.

    An apostrophe is inserted where a spreadsheet would begin to read a formula.
    """
    for recall in recalls:
        cells = {**recall, "attempts": len(recall["attempts"])}
        yield [_cell(cells[name]) for name in EXPORT_COLUMNS]


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return _FORMULA.sub(lambda found: f"{found[0]}'", text)
