"""`ringback web`: looks at the configuration and the store, then becomes the web server.

A server whose processes cannot start tries again and again; here the same fault is told once, in plain
words, and ends the start. A store that is away does not: senders get 503 until it is back.
"""

from __future__ import annotations

import os

import click

from integration.cli import output
from integration.cli.context import AsWritten, CliContext, config_option, open_store, pass_session
from integration.config import environment
from integration.domain.errors import StoreAwayError
from integration.local.stack import require_free, web_command
from integration.store.durability import assure


@click.command(cls=AsWritten)
@click.option(
    "--serve",
    metavar="NAMES",
    help="hooks, api, dashboard, or some of them with commas between. Default: RINGBACK_SERVE, else all.",
)
@config_option
@pass_session
def web(session: CliContext, serve: str | None) -> None:
    """Run the web: webhooks, API and dashboard, on PORT (default 8080). Needs REDIS_URL.

    LOG_LEVEL and WEB_CONCURRENCY (processes, default 2) are read from the environment. It is what the
    `web:` line of the Procfile starts; `ringback up` starts a store and a worker beside it.

    Examples:
      REDIS_URL=redis://127.0.0.1:6379/0 PORT=9000 ringback web
      ringback web --serve hooks,api
    """
    port = environment.port(session.environ)
    accept_loss = session.config.store.accept_loss
    try:
        assure(open_store(environment.store_url(session.environ)).client, accept_loss=accept_loss)
    except StoreAwayError:
        output.problem("warning: the store is away; senders get 503 until it is back")
    require_free(port)
    environ = {**session.environ, "RINGBACK_CONFIG": str(session.config_path)}
    if serve is not None:
        environ["RINGBACK_SERVE"] = serve
    environment.served_applications(environ)
    command = web_command(port, environ)
    os.execve(command[0], command, environ)  # noqa: S606  (a fixed list of words; nothing comes from outside)
