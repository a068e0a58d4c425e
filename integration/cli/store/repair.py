"""`ringback store repair`: copies the data of the embedded store, then removes the damaged end.

The server does not start if a command in the append-only file is damaged, except an incomplete last
command. valkey-check-aof, the server's executable under another name, repairs the file (valkey.io,
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
    """The numbers of bytes removed and kept in the newest file, and the folder with the copy."""

    removed_bytes: int
    kept_bytes: int
    copy: Path


@click.group()
def store() -> None:
    """Maintain the embedded store of `ringback up`."""


@store.command(name="repair")
def repair_command() -> None:
    """Repair an embedded store that does not start because its data are damaged.

    The command copies the data, then removes everything after the first damaged byte. The removed data are
    lost. Stop `ringback up` first, and run the command in the same folder.
    """
    done = repair(data_dir(os.environ), datetime.now(UTC))
    if done is None:
        click.echo("The data are not damaged. Nothing was changed.")
        return
    click.echo(
        f"Removed the last {done.removed_bytes} bytes; {done.kept_bytes} bytes before them are kept.\n"
        f"A copy of the damaged data is in {done.copy}.\n"
        "Callbacks in the removed part may be missing, or queued again although they were sent. Compare with "
        "wolkvox before you start `ringback up`. Send missing webhooks again."
    )


def repair(folder: Path, now: datetime) -> Repair | None:
    """Repair the data in the folder of an embedded store. Return None if the data are not damaged.

    `now` is part of the name of the copy. Raise EmbeddedBusyError if a server uses the folder, and
    EmbeddedError if the folder has no data, the data cannot be repaired, or no server program is found.
    """
    manifest = folder / LOG_FOLDER / MANIFEST
    if not manifest.is_file():
        raise EmbeddedError(
            f"{folder} has no data of an embedded store. Set RINGBACK_DATA_DIR to its folder."
        )
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
            f"the data in {folder} cannot be repaired: {_last_line(report)}. "
            f"They are unchanged; a copy is in {copy}. Restore a backup."
        )
    size, kept = int(found[1]), int(found[2])
    return Repair(removed_bytes=size - kept, kept_bytes=kept, copy=copy)


def _check(manifest: Path, *options: str) -> tuple[int, str]:
    """Run valkey-check-aof on a manifest. Return its exit status and its output."""
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
