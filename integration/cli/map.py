"""`ringback map`: shows step by step how a sample webhook is mapped. Sends and stores nothing.

This module reads the files and prints the result, which `integration.webhooks.preview` computes.
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
    pass_cli_context,
    read_json_file,
)
from integration.config.source_models import presets
from integration.domain.dates import parse_moment
from integration.domain.delivery import headers_of
from integration.domain.errors import UnmappableError, invalid_value
from integration.domain.limits import MAX_BODY_BYTES
from integration.mapping.expressions import LOOKUP_NAMES
from integration.mapping.routes import CompiledRoutes
from integration.telemetry.logging import printable
from integration.webhooks.hook_urls import hook_path, signed_address
from integration.webhooks.preview import Sample, preset_config, preview_sample
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.models import Config
    from integration.config.source_models import Source

_TYPES_BY_NAME = {
    ".json": "application/json",
    ".xml": "text/xml; charset=utf-8",
    ".form": "application/x-www-form-urlencoded",
}


@click.command("map", cls=AsWritten)
@click.argument("names", nargs=-1, required=True, metavar="[SOURCE] FILE")
@click.option(
    "--preset", metavar="NAME", help="Use a preset of `ringback presets` instead of a configured source."
)
@click.option(
    "--headers",
    type=click.File("rb"),
    metavar="FILE",
    help='The headers of the request: a JSON object, or "Name: value" lines.',
)
@click.option(
    "--contact",
    type=click.File("rb"),
    metavar="FILE",
    help="The contact as JSON. It replaces the lookup.",
)
@click.option(
    "--record",
    type=click.File("rb"),
    metavar="FILE",
    help="The record as JSON. It replaces the lookup. Default: the contact.",
)
@click.option(
    "--url", metavar="URL", help="The URL that the signature covers. Default: the address of the source."
)
@click.option(
    "--at",
    metavar="TIME",
    help="Evaluate at this time (ISO 8601 with zone). Default: now. Signatures with a timestamp expire, by "
    "default after 5 minutes.",
)
@config_option
@json_option
@pass_cli_context
def map_sample(
    context: CliContext, /, names: tuple[str, ...], *, preset: str | None, as_json: bool, **options: Any
) -> None:
    """Show how a sample webhook would be mapped. Sends nothing.

    FILE holds the body; "-" reads standard input. For each event the command prints the route that matches,
    why other routes do not match, each field before and after mapping, the date, and the call to wolkvox
    without the token. If the event would be parked, it prints the reason.
    Exits with status 1 if the delivery would be rejected or an event parked.

    Examples:
      ringback map hubspot body.json
      ringback map forms body.json --headers headers.txt --at 2030-06-03T15:00:00Z
      ringback map hubspot body.json --contact contact.json
      ringback map --preset typeform body.json
    """
    *sources, path = names
    if len(sources) != (preset is None):
        raise click.UsageError("Give SOURCE and FILE, or --preset NAME and FILE.")
    config = context.config if preset is None else _config_of(preset)
    source = context.source(sources[0]) if preset is None else config.sources[preset]
    file = click.File("rb").convert(path, None, click.get_current_context())
    result = preview_sample(CompiledRoutes.of(config), _sample(context, source, file, options))
    if as_json:
        output.as_json(result)
    else:
        _print_result(result)
        if preset is not None:
            output.line("The account and the campaign are examples. Name yours in a route of ringback.toml.")
    if not result["good"]:
        raise SystemExit(1)


# --- input -------------------------------------------------------------------------------------


def _config_of(name: str) -> Config:
    if name not in presets():
        raise click.BadParameter(
            f"There is no preset {name!r}. `ringback presets` lists them.", param_hint="--preset"
        )
    return preset_config(presets()[name])


def _sample(context: CliContext, source: Source, file: IO[bytes], options: Mapping[str, Any]) -> Sample:
    body = file.read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise click.BadParameter(
            f"the file is larger than {MAX_BODY_BYTES} bytes, the limit of the receiver", param_hint="FILE"
        )
    now = _moment(options["at"])
    headers = None if options["headers"] is None else _headers(options["headers"])
    url = options["url"] or signed_address(source, headers or {}, context.environ)
    return Sample(
        source=source,
        body=body,
        content_type=_content_type(source, getattr(file, "name", ""), body, now),
        headers=headers,
        url=url,
        url_key=_url_key(source, options["url"]),
        looked_up=_looked_up(options),
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
            "not a time with a zone. Use ISO 8601, for example 2030-06-03T15:00:00Z.", param_hint="--at"
        )
    return found


def _headers(file: IO[bytes]) -> dict[str, str]:
    """Return the headers in a file: a JSON object or `Name: value` lines. Raise click.BadParameter."""
    text = file.read().decode("utf-8-sig", "replace").strip()
    pairs = _header_object(text) if text.startswith("{") else _header_lines(text)
    return headers_of((name.strip(), value) for name, value in pairs)


def _header_object(text: str) -> list[tuple[str, str]]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.BadParameter("the file does not contain valid JSON", param_hint="--headers") from error
    return [
        (name, ",".join(map(str, value)) if isinstance(value, list) else str(value))
        for name, value in found.items()
    ]


def _header_lines(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    # A captured request may start with its request line.
    if lines and lines[0].partition(" ")[0] == "POST":
        del lines[0]
    for number, line in enumerate(lines, start=1):
        if ":" not in line:
            raise click.BadParameter(
                f"line {number} has no colon. Write each header as Name: value.", param_hint="--headers"
            )
    return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]


def _content_type(source: Source, name: object, body: bytes, now: datetime) -> str:
    guessed = _TYPES_BY_NAME.get(PurePath(str(name)).suffix.lower()) if source.kind == "json" else None
    if guessed is not None:
        return guessed
    signed = SOURCES[source.kind].sign(body, source, url="", method="POST", message_id="", now=now)
    return signed["Content-Type"]


def _url_key(source: Source, url: str | None) -> str | None:
    """Return the key in `url`, or the configured key if `url` is None.

    Return None if the source has no key or `url` contains none.
    """
    if source.url_key is None:
        return None
    if url is None:
        return source.url_key.get_secret_value()
    before, _, last = urlsplit(url).path.rpartition("/")
    return last if before.endswith(hook_path(source)) else None


def _looked_up(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the contact and the record for templates, by id. A single file is used as both."""
    found: dict[str, dict[str, Any]] = {}
    given = {name: options[name] for name in sorted(LOOKUP_NAMES) if options[name] is not None}
    for name, file in given.items():
        for id_, one in _by_id(read_json_file(file, f"--{name}")).items():
            names = LOOKUP_NAMES if len(given) == 1 else {name}
            found.setdefault(id_, {}).update(dict.fromkeys(names, one))
    return found


def _by_id(document: Any) -> dict[str, Any]:
    """Return the records of a HubSpot batch response by id. Any other document is a record with id ""."""
    if isinstance(document, dict) and isinstance(document.get("results"), list):
        return {str(one.get("id")): one for one in document["results"] if isinstance(one, dict)}
    return {"": document}


# --- output ------------------------------------------------------------------------------------


def _print_result(result: Mapping[str, Any]) -> None:
    output.pairs(
        (
            ("source", f"{result['source']} ({result['kind']})"),
            ("body", f"{result['bytes']} bytes, {result['content_type'] or 'no content type'}"),
            ("verified", _verified(result["verified"])),
        )
    )
    if result["refused"]:
        refused = result["refused"]
        reason = invalid_value(refused["where"], refused["found"], refused["allowed"])
        output.line(f"refused   {reason}")
    for number, event in enumerate(result["events"], start=1):
        output.line()
        output.line(f"event {number} of {len(result['events'])}: {_OUTCOME_WORDS[event['outcome']]}")
        _print_event(event)
    output.line()
    if result["handshake"]:
        output.line(
            "The sender only verifies the address. It would get status 200, and nothing would be stored."
        )
        return
    counts = ", ".join(f"{count} {name}" for name, count in result["counts"].items()) or "no events"
    output.line(f"{counts}. Nothing was sent.")


_OUTCOME_WORDS = {
    "recall": "would be queued",
    "cancel": "would cancel a queued recall",
    "expired": "would be stored as expired and not sent, because its date has passed",
    "ignored": "would be ignored: no route matches",
    "parked": "would be PARKED",
    "pending": "would wait for a lookup; give its result with --contact FILE or --record FILE",
}


def _verified(result: Mapping[str, Any]) -> str:
    if not result["checked"]:
        return "not checked; give the headers with --headers FILE"
    return "yes" if result["ok"] else f"NO: {result['check']}: {result['why']}"


def _print_event(event: Mapping[str, Any]) -> None:
    output.pairs(
        (
            ("happened at", event["occurred_at"]),
            ("the same event", event["dedup"]),
            ("looked up", event["lookup_id"]),
        ),
        indent="  ",
    )
    for route in event["routes"]:
        mark = "takes it" if route["matched"] else "no"
        output.line(f"  route {printable(route['route'])!r}: {mark}, {printable(route['why'])}")
    for field in event["fields"]:
        _print_field(field)
    for name in ("schedule", "parked", "cancel", "call"):
        if name in event:
            _PRINTERS[name](event[name])


def _print_field(field: Mapping[str, Any]) -> None:
    # `repr` shows invisible characters, such as a zero-width space, by their code.
    rendered = "(nothing)" if field["rendered"] is None else repr(str(field["rendered"]))
    if field["fault"]:
        fault = invalid_value("the value", field["fault"]["found"], field["fault"]["allowed"])
        end = f"cannot be sent: {fault}"
    else:
        end = printable(field["value"])
    output.line(f"  {field['name']:<16}  {printable(field['template'])}  ->  {rendered}  ->  {end}")


def _print_schedule(schedule: Mapping[str, Any]) -> None:
    notes = "; ".join(schedule["notes"]) or "as requested"
    output.line(f"  date: requested {schedule['requested_date']}, sent {schedule['recall_date']} ({notes})")


def _print_parked(reason: Mapping[str, Any]) -> None:
    output.line(f"  parked: {invalid_value(reason['field'], reason['found'], reason['allowed'])}")


def _print_cancel(cancel: Mapping[str, Any]) -> None:
    output.line(f"  cancels: campaign {cancel['campaign_id']}, customer {cancel['customer_id']}")


def _print_call(call: Mapping[str, Any]) -> None:
    if not call["made"]:
        output.line('  the account has mode = "dry-run": this call would not be made')
    output.line(f"  {call['method']} {call['url']}")
    for name, value in call["headers"].items():
        output.line(f"  {name}: {value}")
    output.line("  wolkvox-token: (not shown)")
    output.line(f"  {call['body']}")


_PRINTERS = {
    "schedule": _print_schedule,
    "parked": _print_parked,
    "cancel": _print_cancel,
    "call": _print_call,
}
