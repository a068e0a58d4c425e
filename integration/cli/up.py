"""`ringback up`: the web, a worker and, without REDIS_URL, a store of its own, on this machine.

All of them end with this process, however it ends. The command lines agree with the Procfile; secrets
travel in the environment, never in a command line.
"""

from __future__ import annotations

import click

from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    open_store,
    pass_session,
    shown_address,
)
from integration.config import environment
from integration.config.warnings import config_warnings
from integration.local.embedded_store import EmbeddedStore
from integration.local.stack import child_environment, relay, require_free, web_command, worker_command
from integration.local.supervisor import Backoff, Ended, Program, Supervisor, wait_until
from integration.store.durability import assure
from integration.webhooks.hook_urls import shown_path

READY_SECONDS = 60.0
WEB_STOP_SECONDS = 12.0
# A drain ends after the call in flight, which may take as long as an account's timeout_seconds.
WORKER_STOP_SECONDS = 30.0


@click.command(cls=AsWritten)
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the web. Default: PORT, else 8080.")
@config_option
@pass_session
def up(session: CliContext, port: int | None) -> None:
    """Run everything on this machine: store, web and worker. Ctrl-C stops them.

    The store is one of Ringback's own, in RINGBACK_DATA_DIR (default .ringback), unless REDIS_URL names
    another. What crashes is started again. A changed ringback.toml is taken up within seconds.

    Examples:
      ringback up
      ringback up --port 9000 --config /etc/ringback.toml
    """
    port = environment.port(session.environ) if port is None else port
    config = session.config
    for warning in config_warnings(config):
        output.problem(f"warning: {warning}")
    require_free(port)
    try:
        with Supervisor(restart=Backoff(), on_ended=_report_end) as supervisor:
            _start(session, supervisor, port)
            supervisor.run()
    except KeyboardInterrupt:
        output.line("stopped")


def _report_end(ended: Ended) -> None:
    output.problem(str(ended))


def _start(session: CliContext, supervisor: Supervisor, port: int) -> None:
    url = _start_store(session, supervisor)
    # Looked at here, so that a store that forgets is told once and not by children that end again and again.
    assure(open_store(url).client, accept_loss=session.config.store.accept_loss)
    environ = child_environment(session.environ, redis_url=url, port=port)
    environ["RINGBACK_CONFIG"] = str(session.config_path.resolve())
    if seen := environment.epoch_file(session.environ):
        environ["RINGBACK_EPOCH_FILE"] = str(seen)
    web = Program("web", web_command(port, environ), env=environ, stop_seconds=WEB_STOP_SECONDS, relay=relay)
    worker = Program(
        "worker", worker_command(environ), env=environ, stop_seconds=WORKER_STOP_SECONDS, relay=relay
    )
    supervisor.start(web)
    supervisor.start(worker)
    address = f"http://127.0.0.1:{port}"
    wait_until(f"{address}/healthz", READY_SECONDS, what="web", alive=lambda: web.poll() is None)
    _announce(session, address, url)


def _start_store(session: CliContext, supervisor: Supervisor) -> str:
    """Give the store's address, of one that is started here unless REDIS_URL is set."""
    known = session.environ.get("REDIS_URL")
    if known:
        return known
    store = EmbeddedStore(environment.data_dir(session.environ))
    supervisor.start(store)
    return store.url


def _dashboard(session: CliContext, address: str) -> str:
    if session.config.can_sign_in:
        return f"{address}/"
    return f"{address}/ (nobody can sign in yet: ringback user NAME --role admin)"


def _announce(session: CliContext, address: str, url: str) -> None:
    where = shown_address(url)
    if not session.environ.get("REDIS_URL"):
        where = f"{environment.data_dir(session.environ).resolve()} (embedded)"
    hooks = [address + shown_path(source) for source in session.config.sources.values()]
    output.line("Ringback is up. Ctrl-C stops it.")
    output.pairs(
        (
            ("dashboard", _dashboard(session, address)),
            *(("webhook", hook) for hook in hooks),
            ("API", f"{address}/v1 (described at {address}/openapi.json)"),
            ("store", where),
        ),
        indent="  ",
    )
