"""`ringback web`: checks the configuration and the store, then becomes the web server (execve).

The check reports faults once; the processes of the server would report them at every restart. If the store
is unavailable, the server starts anyway and responds to webhooks with 503 until the store is available.
"""

from __future__ import annotations

import os

import click

from integration.cli import output
from integration.cli.context import AsWritten, CliContext, config_option, open_store, pass_cli_context
from integration.config import environment
from integration.domain.errors import StoreAwayError
from integration.local.stack import listen, web_command
from integration.store.durability import assure


@click.command(cls=AsWritten)
@click.option(
    "--serve",
    metavar="NAMES",
    help="A comma-separated list of hooks, api and dashboard. Default: RINGBACK_SERVE, else all.",
)
@config_option
@pass_cli_context
def web(context: CliContext, serve: str | None) -> None:
    """Run the web server: webhooks, API and dashboard.

    The command reads the environment: PORT (default 8080), REDIS_URL (default: the running store of
    `ringback up`), LOG_LEVEL, and WEB_CONCURRENCY, the number of processes (default 2).
    `ringback up` also starts a store and a worker.

    Examples:
      REDIS_URL=redis://127.0.0.1:6379/0 PORT=9000 ringback web
      ringback web --serve hooks,api
    """
    port = environment.port(context.environ)
    accept_loss = context.config.store.accept_loss
    try:
        assure(open_store(environment.store_url(context.environ)).client, accept_loss=accept_loss)
    except StoreAwayError:
        output.problem(
            "warning: the store cannot be reached. Webhooks get status 503 until it can. Check REDIS_URL."
        )
    listener = listen(port)
    listener.set_inheritable(True)
    environ = {**context.environ, "RINGBACK_CONFIG": str(context.config_path)}
    if serve is not None:
        environ["RINGBACK_SERVE"] = serve
    environment.served_applications(environ)
    command = web_command(listener)
    os.execve(command[0], command, environ)  # noqa: S606  (a fixed command line without external input)
