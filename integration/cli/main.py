"""The command `ringback`: loads a subcommand, runs it, and prints expected errors as text.

Exit status: 0 done, 1 rejected or failed, 2 wrong usage. Errors that an operator can fix print no
traceback. Commands are imported on use.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import click
from redis.exceptions import RedisError

from integration.cli import output
from integration.cli.context import CliContext, config_option, write_help
from integration.domain.errors import (
    ENVIRONMENT,
    ConfigError,
    RingbackError,
    StoreAwayError,
    StoreUnsafeError,
)
from integration.telemetry import logging

# In the order of `--help`: name and location of each command.
COMMANDS = {
    "up": "integration.cli.processes.up:up",
    "web": "integration.cli.processes.web:web",
    "demo": "integration.local.demo:demo",
    "check": "integration.cli.check:check",
    "config": "integration.cli.check:config_group",
    "map": "integration.cli.map:map_sample",
    "send": "integration.cli.webhooks.send:send",
    "presets": "integration.cli.webhooks.presets:list_presets",
    "hubspot": "integration.cli.webhooks.hubspot:hubspot",
    "recalls": "integration.cli.recalls:recalls",
    "show": "integration.cli.recalls:show",
    "retry": "integration.cli.recalls:retry",
    "cancel": "integration.cli.recalls:cancel",
    "forget": "integration.cli.personal_data:forget",
    "export": "integration.cli.personal_data:export",
    "parked": "integration.cli.parked:parked",
    "remap": "integration.cli.parked:remap",
    "accounts": "integration.cli.accounts:accounts",
    "pause": "integration.cli.accounts:pause",
    "resume": "integration.cli.accounts:resume",
    "user": "integration.cli.user:user",
    "alerts": "integration.cli.alerts:alerts",
    "sandbox": "integration.cli.processes.sandbox:sandbox",
    "backup": "integration.cli.store.backup:backup",
    "restore": "integration.cli.store.backup:restore",
    "store": "integration.cli.store.repair:store",
}


class Ringback(click.Group):
    """The group of all commands. It imports a command on first use and prints expected errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  (click's)
        """Return the names of the commands that are installed, in the order of `COMMANDS`."""
        return [name for name, place in COMMANDS.items() if find_spec(place.partition(":")[0])]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is no command of this name."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """Write the help text with its line breaks."""
        write_help(self, formatter)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. Print expected errors to standard error and exit with status 1."""
        try:
            return super().invoke(ctx)
        except (RingbackError, RedisError) as error:
            output.problem(render_error(error, ctx.ensure_object(CliContext)))
            ctx.exit(1)


def render_error(error: Exception, context: CliContext) -> str:
    """Return the text that is printed for an expected error."""
    match error:
        case ConfigError() if all(fault.file == ENVIRONMENT for fault in error.faults):
            return "\n".join(map(str, error.faults))
        case ConfigError():
            count = len(error.faults)
            head = f"the configuration is not valid, {count} fault{'s' if count > 1 else ''}:"
            return "\n".join((head, *(f"- {fault}" for fault in error.faults)))
        case StoreAwayError() if isinstance(error.__cause__, StoreUnsafeError):
            return str(error.__cause__)
        case StoreAwayError() if str(error) == "LAYOUT":
            return (
                f"another version of Ringback wrote the store at {context.store_address}, and this version "
                "does not use its layout. Run ringback check: it names the version to run."
            )
        case StoreAwayError():
            return f"the store at {context.store_address} cannot be reached: {error}. Check REDIS_URL."
        case RedisError():
            text = f"the store at {context.store_address} rejected a command ({type(error).__name__})"
            return f"{text}. See the log of the store."
    return str(error)


@click.group(cls=Ringback, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(version("ringback"), prog_name="ringback")
@config_option
@click.pass_context
def main(ctx: click.Context) -> None:
    """Turn CRM events into wolkvox callbacks.

    A CRM posts a webhook. Ringback verifies the webhook, maps it to a callback ("recall"), and sends the
    callback to wolkvox, one call at a time per token, until wolkvox accepts or refuses it.

    First steps:
      ringback demo --once             run a demonstration on this machine
      ringback check                   check ringback.toml and the store
      ringback map hubspot body.json   show how a webhook would be mapped, and send nothing
      ringback up                      run Ringback on this machine, with its own store
      ringback recalls --state dead    list the recalls that wolkvox refused, with the reasons
    """
    context = ctx.ensure_object(CliContext)
    logging.configure(context.environ.get("LOG_LEVEL") or "WARNING", json=False)
