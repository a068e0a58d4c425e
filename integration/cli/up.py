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
from integration.local.stack import (
    LOOPBACK,
    child_environment,
    port_next_to,
    relay,
    require_free,
    start_web,
    start_worker,
)
from integration.local.supervisor import Backoff, Ended, Supervisor
from integration.store.durability import assure
from integration.webhooks.hook_urls import shown_path


@click.command(cls=AsWritten)
@click.option("--port", type=click.IntRange(1, 65535), help="The port of the web. Default: PORT, else 8080.")
@click.option(
    "--dashboard-port",
    type=click.IntRange(1, 65535),
    help="The port of the dashboard, on this machine only. Default: the next one after --port.",
)
@config_option
@pass_session
def up(session: CliContext, port: int | None, dashboard_port: int | None) -> None:
    """Run everything on this machine: store, web, dashboard and worker. Ctrl-C stops them.

    The store is one of Ringback's own, in RINGBACK_DATA_DIR (default .ringback), unless REDIS_URL names
    another. The dashboard has a port of its own, on this machine only. What crashes is started again. A
    changed ringback.toml is taken up within seconds.

    Examples:
      ringback up
      ringback up --port 9000 --config /etc/ringback.toml
    """
    port = environment.port(session.environ) if port is None else port
    config = session.config
    for warning in config_warnings(config):
        output.problem(f"warning: {warning}")
    dashboard_port = port_next_to(port) if dashboard_port is None else dashboard_port
    require_free(port)
    require_free(dashboard_port, LOOPBACK)
    try:
        with Supervisor(restart=Backoff(), on_ended=_report_end) as supervisor:
            _start(session, supervisor, port, dashboard_port)
            supervisor.run()
    except KeyboardInterrupt:
        output.line("stopped")


def _report_end(ended: Ended) -> None:
    output.problem(str(ended))


def _start(session: CliContext, supervisor: Supervisor, port: int, dashboard_port: int) -> None:
    url = _start_store(session, supervisor)
    # Looked at here, so that a store that forgets is told once and not by children that end again and again.
    assure(open_store(url).client, accept_loss=session.config.store.accept_loss)
    environ = child_environment(session.environ, redis_url=url)
    environ["RINGBACK_CONFIG"] = str(session.config_path.resolve())
    if seen := environment.epoch_file(session.environ):
        environ["RINGBACK_EPOCH_FILE"] = str(seen)
    start_worker(supervisor, environ, relay)
    start_web(supervisor, environ, port=port, dashboard_port=dashboard_port, relay=relay)
    _announce(session, f"http://{LOOPBACK}:{port}", f"http://{LOOPBACK}:{dashboard_port}", url)


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


def _announce(session: CliContext, address: str, dashboard: str, url: str) -> None:
    where = shown_address(url)
    if not session.environ.get("REDIS_URL"):
        where = f"{environment.data_dir(session.environ).resolve()} (embedded)"
    hooks = [address + shown_path(source) for source in session.config.sources.values()]
    output.line("Ringback is up. Ctrl-C stops it.")
    output.pairs(
        (
            ("dashboard", _dashboard(session, dashboard)),
            *(("webhook", hook) for hook in hooks),
            ("API", f"{address}/v1 (described at {address}/openapi.json)"),
            ("store", where),
        ),
        indent="  ",
    )
