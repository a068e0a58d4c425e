"""`ringback presets`: lists the presets, and shows how to set one up."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from integration.cli import output
from integration.cli.context import AsWritten, json_option
from integration.config.source_models import JSON_LOOKUPS, presets
from integration.config.source_models.checks import NEEDS_SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.source_models import Preset

COLUMNS = ("preset", "sender", "verify", "handshake")


@click.command("presets", cls=AsWritten)
@click.argument("name", required=False)
@json_option
def list_presets(*, name: str | None, as_json: bool) -> None:
    """List the presets of senders, or show one.

    A preset has the steps to set up in the sender and the tables for ringback.toml.

    Examples:
      ringback presets
      ringback presets typeform
      ringback map --preset typeform body.json
    """
    known = presets()
    if name is not None and name not in known:
        raise click.BadParameter(
            f"There is no preset {name!r}. `ringback presets` lists them.", param_hint="NAME"
        )
    if as_json:
        output.as_json(
            _as_dict(known[name]) if name else {"items": [_as_dict(each) for each in known.values()]}
        )
    elif name:
        _print_preset(known[name])
    else:
        output.table(COLUMNS, (_row(preset) for preset in known.values()))


def _row(preset: Preset) -> tuple[object, ...]:
    return preset.name, preset.title, preset.source["verify"], preset.source.get("handshake", "")


def _as_dict(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "title": preset.title,
        "page": preset.page,
        "set_up": list(preset.steps("en")),
        "source": dict(preset.source),
        "route": dict(preset.route),
    }


def _print_preset(preset: Preset) -> None:
    output.line(preset.title)
    output.line(preset.page)
    output.line()
    output.line("In the sender:")
    for step in preset.steps("en"):
        output.line(step)
    output.line()
    output.line("In ringback.toml:")
    for line in toml_lines(preset):
        output.line(line)


def toml_lines(preset: Preset) -> Iterator[str]:
    """Yield the lines of a preset for ringback.toml: a source and an example route."""
    name, variable = preset.name, preset.name.upper().replace("-", "_")
    yield f"[sources.{name}]"
    yield 'kind = "json"'
    yield f'preset = "{name}"'
    verify = preset.source["verify"]
    if verify in NEEDS_SECRETS:
        yield f'secrets = "env:{variable}_SECRET"'
    if verify == "url-key":
        yield f'url_key = "env:{variable}_URL_KEY"'
    if preset.source.get("handshake") == "hub-challenge":
        yield f'verify_token = "env:{variable}_VERIFY_TOKEN"'
    if lookup := preset.source.get("lookup"):
        key = JSON_LOOKUPS[lookup["kind"]].secret_key
        yield ""
        yield f"[sources.{name}.lookup]"
        yield f'{key} = "env:{variable}_LOOKUP_{key.upper()}"'
    yield ""
    yield "[[routes]]"
    yield f'name = "{name}"'
    yield f'source = "{name}"'
    yield 'account = "bogota"'
    yield 'campaign_id = "12345"'
    for key, template in preset.route.items():
        if key == "customer_id":
            yield "# The id of the customer in the campaign. Use the field of the event that holds it."
        yield f"{key} = {_toml_text(template)}"


def _toml_text(text: str) -> str:
    return f"'{text}'" if '"' in text and "'" not in text else json.dumps(text, ensure_ascii=False)
