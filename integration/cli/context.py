"""The shared parts of the commands: environment, configuration, store, options and help texts.

The configuration and the store are opened on first use, because some commands do not need both.
"""

from __future__ import annotations

import inspect
import json
import os
from datetime import UTC
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from integration.config import environment
from integration.config.models import zone_of
from integration.domain.errors import ENVIRONMENT, ConfigError, Fault, NotFoundError
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.store.monitoring.durability_watch import DurabilityWatch
from integration.store.token_queue import TokenQueues

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.config.watcher import ConfigWatch

STORE_CONNECT_SECONDS = 2.0
STORE_ANSWER_SECONDS = 10.0


class CliContext:
    """The environment, configuration and store of one `ringback` call."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = dict(os.environ if environ is None else environ)

    def use_config(self, path: Path) -> None:
        """Use the configuration file `path` instead of RINGBACK_CONFIG."""
        self.environ["RINGBACK_CONFIG"] = str(path)

    @property
    def config_path(self) -> Path:
        """Return the path of the configuration file."""
        return environment.config_path(self.environ)

    @cached_property
    def watch(self) -> ConfigWatch:
        """Load and return the watched configuration. Raise ConfigError if it is not valid."""
        return watch_config(self.config_path, self.environ)

    @property
    def config(self) -> Config:
        """Return the configuration. Raise ConfigError if it is not valid."""
        return self.watch.current

    @property
    def config_if_good(self) -> Config | None:
        """Return the configuration, or None if it is not valid."""
        try:
            return self.config
        except ConfigError:
            return None

    def zone_of(self, account: str | None = None) -> tzinfo:
        """Return the time zone in which times are printed, UTC without a valid configuration.

        Without `account` this is the most common zone of the accounts.
        """
        config = self.config_if_good
        return UTC if config is None else zone_of(config, account)

    @cached_property
    def store(self) -> Store:
        """Return the store, not yet connected. Raise ConfigError if its address is missing or not valid."""
        return open_store(environment.store_url(self.environ))

    @property
    def store_address(self) -> str:
        """Return the address of the store for messages, without user name and password."""
        try:
            return redacted_address(environment.store_url(self.environ))
        except ConfigError:
            return "an unknown address"

    def assure_store(self) -> None:
        """Check that the store keeps what a command acknowledges. Raise StoreUnsafeError, StoreAwayError.

        Without a valid configuration `accept_loss` counts as false.
        """
        config = self.config_if_good
        accept_loss = config is not None and config.store.accept_loss
        DurabilityWatch(self.store, lambda: accept_loss).assure()

    @cached_property
    def services(self) -> Services:
        """Return the services. These publish no wake-ups; the sweep of the workers finds new work."""
        return Services(self.watch, self.store, WakeUpPublisher.silent())

    def source(self, name: str) -> Source:
        """Return the configured source with this name. Raise NotFoundError."""
        found = self.config.sources.get(name)
        if found is None:
            raise NotFoundError(unknown("source", name, self.config.sources))
        return found

    def require_account(self, name: str) -> None:
        """Raise NotFoundError if neither the configuration nor the store knows the account."""
        config = self.config_if_good
        known = set(TokenQueues(self.store).bound()) | set(config.accounts if config else ())
        if name not in known:
            raise NotFoundError(unknown("account", name, known))


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Return the error text for an unknown name, with the known names."""
    names = ", ".join(sorted(known)) or "none"
    return f"there is no {what} {name!r}. Known: {names}"


def open_store(url: str) -> Store:
    """Return the store at `url`, not yet connected. Raise ConfigError if the URL is not valid."""
    try:
        client = connect(url, timeout_seconds=STORE_ANSWER_SECONDS, connect_seconds=STORE_CONNECT_SECONDS)
    except ValueError as error:
        allowed = "redis://host:port/0, rediss://host:port/0 or unix:///path?db=0"
        fault = Fault(ENVIRONMENT, "REDIS_URL", "an invalid address", allowed)
        raise ConfigError((fault,)) from error
    return Store(client)


def redacted_address(url: str) -> str:
    """Return a URL without user name, password, query string and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


# --- help --------------------------------------------------------------------------------------


def write_help(command: click.Command, formatter: click.HelpFormatter) -> None:
    """Write the help text with the line breaks of the docstring. click would rewrap tables."""
    formatter.write_paragraph()
    for line in inspect.cleandoc(command.help or "").splitlines():
        formatter.write(f"  {line}".rstrip() + "\n")


class AsWritten(click.Command):
    """A command whose help text keeps its line breaks."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002  (click's)
        """Write the help text with its line breaks."""
        write_help(self, formatter)


# --- shared options ----------------------------------------------------------------------------

pass_cli_context = click.make_pass_decorator(CliContext, ensure=True)


def _use_config(ctx: click.Context, _: click.Parameter, value: Path | None) -> None:
    if value is not None and not ctx.resilient_parsing:
        ctx.ensure_object(CliContext).use_config(value)


config_option = click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    expose_value=False,
    callback=_use_config,
    help="The configuration file. Default: RINGBACK_CONFIG, else ./ringback.toml.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def read_json_file(file: Any, name: str) -> Any:
    """Return the parsed JSON of an open file. Raise click.BadParameter for the parameter `name`."""
    try:
        return json.loads(file.read())
    except ValueError as error:
        raise click.BadParameter("the file does not contain valid JSON", param_hint=name) from error
