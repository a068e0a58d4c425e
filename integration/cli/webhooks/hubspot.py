"""`ringback hubspot project`: writes a HubSpot project app for a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from integration.cli import output
from integration.cli.context import AsWritten, CliContext, config_option, json_option, pass_cli_context
from integration.config.source_models import HubspotSource
from integration.domain.errors import RingbackError
from integration.webhooks.hubspot_project import (
    project_files,
    reads_inputs,
    route_for_action,
    updated_files,
)
from integration.webhooks.hubspot_project.files import WEBHOOKS_FILE

if TYPE_CHECKING:
    from integration.config.models import Config

RECORD: Final = ".ringback-project.json"
"""The file with the generated content, which is compared with the files to find the user's edits."""


_DELETED: Final = "deleted by you, not written again"


@click.group("hubspot", short_help="Write a HubSpot project app.")
def hubspot() -> None:
    """Set up HubSpot: `ringback hubspot project DIR` writes the app of a source."""


@hubspot.command("project", cls=AsWritten)
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--source", "name", metavar="NAME", help="The source. Default: the only HubSpot source.")
@config_option
@json_option
@pass_cli_context
def project(context: CliContext, /, folder: Path, *, name: str | None, as_json: bool) -> None:
    """Write a HubSpot project app to DIR, or update it.

    The app has the webhook subscriptions that the routes of the source need, and the workflow action
    "Schedule a callback". You may edit the files; running the command again keeps your edits.
    Upload the app with HubSpot's command `hs project upload`.

    Examples:
      ringback hubspot project hubspot-app
      ringback hubspot project hubspot-app --source hubspot
    """
    config = context.config
    source = _source(context, name)
    routes = config.routes_by_source[source.name]
    used = dict.fromkeys(name for route in routes for name in route.account_names)
    accounts = list(used) or list(config.accounts)
    generated = project_files(source, routes)
    states = _write(folder, source.name, generated)
    notes = _notes(config, source, accounts, with_webhooks=WEBHOOKS_FILE in generated)
    if _DELETED in states.values():
        notes.append(
            f"Files that you deleted were not written again. To write them, delete {RECORD} and run "
            "the command again. It keeps your edits."
        )
    if as_json:
        output.as_json({"source": source.name, "folder": str(folder), "files": states, "notes": notes})
        return
    output.pairs(states.items())
    output.line("")
    output.line(_next_steps(folder, source))
    for note in notes:
        output.line("")
        output.line(note)


def _source(context: CliContext, name: str | None) -> HubspotSource:
    known = [each for each in context.config.sources.values() if isinstance(each, HubspotSource)]
    if name is None:
        if len(known) == 1:
            return known[0]
        names = ", ".join(each.name for each in known) or "none"
        raise click.UsageError(f"Give --source. The HubSpot sources are: {names}.")
    source = context.source(name)
    if not isinstance(source, HubspotSource):
        raise click.BadParameter(f'{name} has kind = "{source.kind}", not "hubspot"', param_hint="--source")
    return source


# --- files -------------------------------------------------------------------------------------


def _write(folder: Path, source: str, generated: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Write the files that change. Return the state of each file (such as "updated") by its path.

    Raise RingbackError if the folder has the project of another source, or a file cannot be read or
    written.
    """
    record = _read(folder / RECORD) or {"source": source, "files": {}}
    if record.get("source") != source or not isinstance(record.get("files"), dict):
        raise RingbackError(
            f"{folder} already has the project of the source {record.get('source')!r}. Choose another folder "
            f"for {source!r}."
        )
    base = record["files"]
    paths = dict.fromkeys((*generated, *base))
    current = {path: found for path in paths if (found := _read(folder / path)) is not None}
    files, next_base = updated_files(base, generated, current)
    for path, content in files.items():
        if content != current.get(path):
            _save(folder / path, content)
    _save(folder / RECORD, {"source": source, "files": next_base})
    return {path: _state(path, files, current) for path in next_base}


def _state(path: str, files: dict[str, dict[str, Any]], current: dict[str, Any]) -> str:
    if path not in files:
        return _DELETED
    if path not in current:
        return "created"
    return "unchanged" if files[path] == current[path] else "updated"


def _read(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None if the file does not exist.

    Raise RingbackError if the file cannot be read or does not contain a JSON object.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RingbackError(
            f"{path} cannot be read as JSON ({type(error).__name__}), so nothing was written. Correct it, "
            f"or delete it and {RECORD} and run the command again."
        ) from error
    if not isinstance(found, dict):
        raise RingbackError(f"{path} is not a JSON object, so nothing was written. Correct the file.")
    return found


def _save(path: Path, content: dict[str, Any]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise RingbackError(f"{path} cannot be written: {error.strerror}. Choose another folder.") from error


# --- what to do next ---------------------------------------------------------------------------


def _next_steps(folder: Path, source: HubspotSource) -> str:
    token = "" if source.lookup is None else f", the access token in sources.{source.name}.lookup.token"
    return f"""Next, with HubSpot's command line (npm install -g @hubspot/cli):
  hs account auth          connects the command to your HubSpot account; once
  cd {folder}
  hs project upload        uploads and builds the app
Install the app in HubSpot: Development > Projects > the app.
Its tab Auth has the client secret and the access token. The client secret belongs in
sources.{source.name}.secrets{token}."""


def _notes(config: Config, source: HubspotSource, accounts: list[str], *, with_webhooks: bool) -> list[str]:
    """Return the notes to print: missing routes and settings, and secrets in the files."""
    notes = []
    if not with_webhooks:
        notes.append(
            "No file for webhooks was written, because no route of this source compares event.propertyName "
            "or event.subscriptionType in `when`. Add such a route and run the command again."
        )
    if not reads_inputs(config.routes_by_source[source.name]):
        notes.append(
            "No route reads the fields of the workflow action yet. To use the action, add:\n\n"
            + route_for_action(source.name, accounts)
        )
    if "v2" not in source.signatures:
        notes.append(
            "HubSpot signs workflow actions with v2, which this source does not accept. To use the action, "
            f'set in [sources.{source.name}]: signatures = ["v3", "v2"]'
        )
    if source.url_key is not None:
        notes.append(
            "The files contain the address of the source with its url_key, which is a secret. Keep them out "
            "of public repositories."
        )
    return notes
