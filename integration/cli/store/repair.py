"""`ringback store repair`: removes the damaged end of the embedded store's data, after it made a copy.

The server reads its append-only file up to the first command that it cannot read, and then does not start.
The program that repairs the file, valkey-check-aof, is the server under another name (valkey.io,
"Persistence").
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from integration.config.environment import data_dir
from integration.local.embedded_store import EmbeddedError, find_server, lock_folder

if TYPE_CHECKING:
    from pathlib import Path

LOG_FOLDER = "appendonlydir"
MANIFEST = "appendonly.aof.manifest"


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair: the bytes removed from the newest file, those kept in it, and the copy of all data."""

    removed_bytes: int
    kept_bytes: int
    copy: Path


@click.group()
def store() -> None:
    """Look after the embedded store of `ringback up`."""


@store.command(name="repair")
def repair_command() -> None:
    """Repair a store that does not start because its data are damaged.

    Copies the data, then removes everything from the first damaged byte on. What was stored after that byte
    is lost. Run it in the folder in which `ringback up` runs, while that is stopped.
    """
    done = repair(data_dir(os.environ), datetime.now(UTC))
    if done is None:
        click.echo("The data are not damaged. Nothing was changed.")
        return
    click.echo(
        f"Removed the last {done.removed_bytes} bytes; {done.kept_bytes} bytes before them are kept.\n"
        f"The data as they were are in {done.copy}.\n"
        "Callbacks that were stored or sent in the removed part are missing or queued again. Compare with "
        "wolkvox before you start `ringback up`, and send webhooks again that are missing."
    )


def repair(folder: Path, now: datetime) -> Repair | None:
    """Repair the data in the folder of an embedded store. Return None if they are not damaged.

    `now` names the copy. Raise EmbeddedBusyError if a server uses the folder, or EmbeddedError.
    """
    manifest = folder / LOG_FOLDER / MANIFEST
    if not manifest.is_file():
        raise EmbeddedError(f"{folder}: has no data of an embedded store; set RINGBACK_DATA_DIR")
    with lock_folder(folder):
        status, report = _check(manifest)
        if status == 0:
            return None
        copy = folder / f"damaged-{now:%Y%m%dT%H%M%S}"
        shutil.copytree(manifest.parent, copy)
        status, report = _check(manifest, "--fix")
    found = re.search(r"size=(\d+), ok_up_to=(\d+)[^\n]*\n[^\n]*shrink", report)
    if status != 0 or found is None:
        raise EmbeddedError(
            f"{folder}: the data cannot be repaired: {_last_line(report)}; "
            f"they are unchanged, and copied to {copy}. Restore a backup"
        )
    size, kept = int(found[1]), int(found[2])
    return Repair(removed_bytes=size - kept, kept_bytes=kept, copy=copy)


def _check(manifest: Path, *options: str) -> tuple[int, str]:
    """Check the files of a manifest. Return the exit status and the output."""
    done = subprocess.run(
        ["valkey-check-aof", *options, str(manifest)],
        executable=find_server(),
        input="y\n",
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def _last_line(report: str) -> str:
    return next((line for line in reversed(report.splitlines()) if line.strip()), "no reason given")
