"""`ringback up`: runs web, dashboard, worker and, without REDIS_URL, an embedded store on this machine.

The child processes end with this process. Secrets are passed in the environment, not on a command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    open_store,
    pass_cli_context,
    redacted_address,
)
from integration.config import environment
from integration.config.warnings import config_warnings
from integration.local.embedded_store import EmbeddedStore
from integration.local.stack import (
    LOOPBACK,
    child_environment,
    listen,
    port_next_to,
    port_of,
    relay,
    start_web,
    start_worker,
)
from integration.local.supervisor import Backoff, Ended, Supervisor
from integration.store.durability import assure
from integration.webhooks.hook_urls import masked_path

if TYPE_CHECKING:
    import socket


@click.command(cls=AsWritten)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port of webhooks and API. Default: PORT, else 8080."
)
@click.option(
    "--dashboard-port",
    type=click.IntRange(1, 65535),
    help="The port of the dashboard, on loopback only. Default: --port plus 1.",
)
@config_option
@pass_cli_context
def up(context: CliContext, port: int | None, dashboard_port: int | None) -> None:
    """Run store, web, dashboard and worker on this machine.

    Ctrl-C stops all of them. If REDIS_URL is not set, the command runs an embedded store in
    RINGBACK_DATA_DIR (default .ringback). The dashboard has its own port on the loopback interface.
    Processes that crash or hang are restarted. Valid changes of ringback.toml take effect within seconds,
    except those to accept with `ringback config accept`.

    Examples:
      ringback up
      ringback up --port 9000 --config /etc/ringback.toml
    """
    port = environment.port(context.environ) if port is None else port
    config = context.config
    for warning in config_warnings(config):
        output.problem(f"warning: {warning}")
    dashboard_port = port_next_to(port) if dashboard_port is None else dashboard_port
    try:
        with (
            listen(port) as listener,
            listen(dashboard_port, LOOPBACK) as dashboard_listener,
            Supervisor(restart=Backoff(), on_ended=_report_end) as supervisor,
        ):
            _start(context, supervisor, listener, dashboard_listener)
            supervisor.run()
    except KeyboardInterrupt:
        output.line("stopped")


def _report_end(ended: Ended) -> None:
    output.problem(str(ended))


def _start(
    context: CliContext,
    supervisor: Supervisor,
    listener: socket.socket,
    dashboard_listener: socket.socket,
) -> None:
    url = _start_store(context, supervisor)
    # Child processes would report an unsafe store at every restart.
    assure(open_store(url).client, accept_loss=context.config.store.accept_loss)
    environ = child_environment(context.environ, redis_url=url)
    environ["RINGBACK_CONFIG"] = str(context.config_path.resolve())
    if seen := environment.epoch_file(context.environ):
        environ["RINGBACK_EPOCH_FILE"] = str(seen)
    start_worker(supervisor, environ, relay)
    start_web(supervisor, environ, listener=listener, dashboard_listener=dashboard_listener, relay=relay)
    address, dashboard = (f"http://{LOOPBACK}:{port_of(each)}" for each in (listener, dashboard_listener))
    _announce(context, address, dashboard, url)


def _start_store(context: CliContext, supervisor: Supervisor) -> str:
    """Return REDIS_URL, or start an embedded store and return its URL if REDIS_URL is not set."""
    known = context.environ.get("REDIS_URL")
    if known:
        return known
    store = EmbeddedStore(environment.data_dir(context.environ))
    supervisor.start(store)
    return store.url


def _dashboard(context: CliContext, address: str) -> str:
    if context.config.can_sign_in:
        return f"{address}/"
    return f"{address}/ (no user yet; create one with: ringback user NAME --role admin)"


def _announce(context: CliContext, address: str, dashboard: str, url: str) -> None:
    where = redacted_address(url)
    if not context.environ.get("REDIS_URL"):
        where = f"{environment.data_dir(context.environ).resolve()} (embedded)"
    hooks = [address + masked_path(source) for source in context.config.sources.values()]
    output.line("Ringback is up. Ctrl-C stops it.")
    output.pairs(
        (
            ("dashboard", _dashboard(context, dashboard)),
            *(("webhook", hook) for hook in hooks),
            ("API", f"{address}/v1 (described at {address}/openapi.json)"),
            ("store", where),
        ),
        indent="  ",
    )
