"""`ringback map`: what a sample webhook would become, shown step by step. Sends and stores nothing.

`way` works it out; here the files are read and the steps are put into words.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_session,
    read_json_file,
)
from integration.domain.delivery import headers_of
from integration.domain.errors import UnmappableError
from integration.domain.schedule import parse_moment
from integration.mapping.routes import CompiledRoutes
from integration.telemetry.logging import printable
from integration.web.problems import MAX_BODY_BYTES
from integration.webhooks.hook_urls import hook_path, signed_address
from integration.webhooks.preview import Sample, whole_way
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.source_models import Source

_TYPES_BY_NAME = {
    ".json": "application/json",
    ".xml": "text/xml; charset=utf-8",
    ".form": "application/x-www-form-urlencoded",
}


@click.command("map", cls=AsWritten)
@click.argument("source")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--headers",
    type=click.File("rb"),
    metavar="FILE",
    help='Its headers: a JSON object, or "Name: value" lines.',
)
@click.option(
    "--contact",
    type=click.File("rb"),
    metavar="FILE",
    help="The HubSpot contact, as JSON, in place of the lookup.",
)
@click.option("--url", metavar="URL", help="The address it was sent to, as the sender signed it.")
@click.option(
    "--at",
    metavar="TIME",
    help="Look at it as of then (ISO 8601 with zone); signatures age within 5 minutes.",
)
@config_option
@json_option
@pass_session
def map_sample(session: CliContext, /, source: str, file: IO[bytes], *, as_json: bool, **given: Any) -> None:
    """Show what a sample webhook would become. Nothing is sent.

    FILE holds the body ("-": standard input). For each event you see which route takes it and why
    not the others, every field before and after, the date, the exact call to wolkvox without the
    token, and what would be parked and why.
    Exit 1 when something would be refused or parked.

    Examples:
      ringback map hubspot body.json
      ringback map forms body.json --headers headers.txt --at 2030-06-03T15:00:00Z
      ringback map hubspot body.json --contact contact.json
    """
    sample = _sample(session, session.source(source), file, given)
    way = whole_way(CompiledRoutes.of(session.config), sample)
    if as_json:
        output.as_json(way)
    else:
        _tell(way)
    if not way["good"]:
        raise SystemExit(1)


# --- reading what was given --------------------------------------------------------------------


def _sample(session: CliContext, source: Source, file: IO[bytes], given: Mapping[str, Any]) -> Sample:
    body = file.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise click.BadParameter(
            f"more than {MAX_BODY_BYTES} bytes, which would be refused", param_hint="FILE"
        )
    now = _moment(given["at"])
    headers = None if given["headers"] is None else _headers(given["headers"])
    url = given["url"] or signed_address(source, headers or {}, session.environ)
    return Sample(
        source=source,
        body=body,
        content_type=_content_type(source, getattr(file, "name", ""), body, now),
        headers=headers,
        url=url,
        url_key=_url_key(source, given["url"]),
        contacts={} if given["contact"] is None else _contacts(read_json_file(given["contact"], "--contact")),
        now=now,
    )


def _moment(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        found = parse_moment(text)
    except UnmappableError:
        found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise click.BadParameter(
            "allowed: ISO 8601 with a zone, such as 2030-06-03T15:00:00Z", param_hint="--at"
        )
    return found


def _headers(file: IO[bytes]) -> dict[str, str]:
    """Return the headers of a file: an object, or lines as they travel."""
    text = file.read().decode("utf-8-sig", "replace").strip()
    given = _header_object(text) if text.startswith("{") else _header_lines(text)
    return headers_of((name.strip(), value) for name, value in given)


def _header_object(text: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter("not JSON", param_hint="--headers") from error
    return [
        (name, ",".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in found.items()
    ]


def _header_lines(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    # The first line of a captured request may be there too.
    if lines and lines[0].partition(" ")[0] == "POST":
        del lines[0]
    for number, line in enumerate(lines, start=1):
        if ":" not in line:
            raise click.BadParameter(f"line {number}: no colon; allowed: Name: value", param_hint="--headers")
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def _content_type(source: Source, name: object, body: bytes, now: datetime) -> str:
    guessed = _TYPES_BY_NAME.get(PurePath(str(name)).suffix.lower()) if source.kind == "json" else None
    if guessed is not None:
        return guessed
    signed = SOURCES[source.kind].sign(body, source, url="", method="POST", message_id="", now=now)
    return signed["Content-Type"]


def _url_key(source: Source, url: str | None) -> str | None:
    """Give the key in the address; where no address was given, the right one stands in."""
    if source.url_key is None:
        return None
    if url is None:
        return source.url_key.get_secret_value()
    before, _, last = urlsplit(url).path.rpartition("/")
    return last if before.endswith(hook_path(source)) else None


def _contacts(given: Any) -> dict[str, Any]:
    """Read one contact for all events, or HubSpot's answer to a batch read, by id."""
    if isinstance(given, dict) and isinstance(given.get("results"), list):
        return {str(one.get("id")): one for one in given["results"] if isinstance(one, dict)}
    return {"": given}


# --- in words ----------------------------------------------------------------------------------


def _tell(way: Mapping[str, Any]) -> None:
    output.pairs(
        (
            ("source", f"{way['source']} ({way['kind']})"),
            ("body", f"{way['bytes']} bytes, {way['content_type'] or 'no content type'}"),
            ("verified", _verified(way["verified"])),
        )
    )
    if way["refused"]:
        refused = way["refused"]
        output.line(f"refused   {refused['where']}: found {refused['found']}; allowed: {refused['allowed']}")
    for number, event in enumerate(way["events"], start=1):
        output.line()
        output.line(f"event {number} of {len(way['events'])}: {_OUTCOME_WORDS[event['outcome']]}")
        _tell_event(event)
    output.line()
    counts = ", ".join(f"{count} {name}" for name, count in way["counts"].items()) or "no events"
    output.line(f"{counts}. Nothing was sent.")


_OUTCOME_WORDS = {
    "recall": "would be queued",
    "cancel": "would take a queued recall back",
    "expired": "would be recorded as expired, and not sent",
    "ignored": "no route takes it: would be ignored",
    "parked": "would be PARKED, until the configuration is mended",
    "pending": "would wait for the contact to be looked up; --contact FILE stands in for it",
}


def _verified(told: Mapping[str, Any]) -> str:
    if not told["checked"]:
        return "not checked, no headers given (--headers FILE)"
    return "yes" if told["ok"] else f"NO: {told['check']}: {told['why']}"


def _tell_event(event: Mapping[str, Any]) -> None:
    output.pairs(
        (
            ("happened at", event["occurred_at"]),
            ("the same event", event["dedup"]),
            ("contact", event["lookup_id"]),
        ),
        indent="  ",
    )
    for route in event["routes"]:
        mark = "takes it" if route["matched"] else "no"
        output.line(f"  route {printable(route['route'])!r}: {mark}, {printable(route['why'])}")
    for field in event["fields"]:
        _tell_field(field)
    for name in ("schedule", "parked", "cancel", "call"):
        if name in event:
            _TELL[name](event[name])


def _tell_field(field: Mapping[str, Any]) -> None:
    made = "(nothing)" if field["rendered"] is None else repr(printable(field["rendered"]))
    if field["fault"]:
        end = f"cannot be sent: found {field['fault']['found']}; allowed: {field['fault']['allowed']}"
    else:
        end = printable(field["value"])
    output.line(f"  {field['name']:<16}  {printable(field['template'])}  ->  {made}  ->  {end}")


def _tell_schedule(schedule: Mapping[str, Any]) -> None:
    notes = "; ".join(schedule["notes"]) or "as asked"
    output.line(f"  date: asked {schedule['requested_date']}, sent {schedule['recall_date']} ({notes})")


def _tell_parked(reason: Mapping[str, Any]) -> None:
    output.line(f"  parked: {reason['field']}: found {reason['found']}; allowed: {reason['allowed']}")


def _tell_cancel(asked: Mapping[str, Any]) -> None:
    output.line(f"  takes back: campaign {asked['campaign_id']}, customer {asked['customer_id']}")


def _tell_call(call: Mapping[str, Any]) -> None:
    if not call["made"]:
        output.line('  the account has mode = "dry-run": this call would not be made')
    output.line(f"  {call['method']} {call['url']}")
    for name, value in call["headers"].items():
        output.line(f"  {name}: {value}")
    output.line("  wolkvox-token: (not shown)")
    output.line(f"  {call['body']}")


_TELL = {"schedule": _tell_schedule, "parked": _tell_parked, "cancel": _tell_cancel, "call": _tell_call}
