"""`ringback backup`, `restore`: save the records of the store to a file, and restore them.

Both work with the store of REDIS_URL and with the embedded store.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
import redis

from integration.config.environment import data_dir, running_url
from integration.local.embedded_store import EmbeddedStore
from integration.store.backup import (
    BackupError,
    confirm_restore,
    record_counts,
    restore_backup,
    write_backup,
)
from integration.store.client import Store, connect
from integration.store.token_queue import TokenQueues

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ANSWER_SECONDS = 60.0


@contextmanager
def _store_url() -> Iterator[str]:
    """Yield REDIS_URL or the URL of the embedded store, which is started if it does not run."""
    folder = data_dir(os.environ)
    url = os.environ.get("REDIS_URL") or running_url(folder)
    if url is not None:
        yield url
        return
    with EmbeddedStore(folder) as embedded:
        yield embedded.url


def _text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items()) or "no records"


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def backup(file: Path) -> None:
    """Write all records of the store to a new FILE.

    Ringback may run meanwhile. The store delays writes until the backup is complete: webhooks wait, or get
    503 and their senders retry. FILE has personal data and secret keys; only its owner may read it.

    \b
    Examples:
      ringback backup /backups/ringback-2026-03-02
      RINGBACK_DATA_DIR=/srv/ringback/data ringback backup ringback.backup
    """  # noqa: D301  (click keeps the lines of a paragraph after \b)
    with _store_url() as url, redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS) as client:
        done = write_backup(client, file, datetime.now(UTC))
    click.echo(f"{file}: {done.keys} keys, {file.stat().st_size} bytes\n{_text(done.counts)}")


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--confirm", is_flag=True, help="Resume the queues that the restore paused.")
def restore(file: Path | None, *, confirm: bool) -> None:
    """Restore a backup from FILE into an empty store.

    All queues are paused afterwards, because wolkvox may have newer recalls than the backup. List the queued
    recalls (`ringback recalls --state queued`), cancel those that must not be sent, then run
    `ringback restore --confirm`.

    \b
    Examples:
      ringback restore /backups/ringback-2026-03-02
      ringback restore --confirm
    """  # noqa: D301  (click keeps the lines of a paragraph after \b)
    if confirm == (file is not None):
        raise click.UsageError("Give a FILE to restore, or --confirm to resume the queues.")
    with _store_url() as url:
        if file is None:
            store = Store(connect(url))
            resumed = confirm_restore(TokenQueues(store), store.client)
            if not resumed:
                raise BackupError("No queue is paused by a restore. Nothing was changed.")
            click.echo(f"{resumed} queue{'' if resumed == 1 else 's'} resumed")
            return
        with redis.Redis.from_url(url, socket_timeout=ANSWER_SECONDS) as client:
            done = restore_backup(client, file)
            click.echo(
                f"backup of {done.taken_at} by Ringback {done.version}: {_text(done.counts)}\n"
                f"store now: {_text(record_counts(client))}\n"
                "All queues are paused. Compare the queued recalls with wolkvox. "
                "Then run: ringback restore --confirm"
            )
