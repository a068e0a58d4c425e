"""`ringback user`: prints the configuration table of a new dashboard user. Writes no file."""

from __future__ import annotations

import re
import sys

import click

from integration.cli import output
from integration.cli.context import AsWritten, json_option
from integration.domain.field_types import NAME_WORDS
from integration.domain.passwords import PASSWORD_WORDS, hashed, table
from integration.domain.roles import Role


@click.command(cls=AsWritten, short_help="Create a dashboard user: print a table for ringback.toml.")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice([str(role) for role in Role]),
    default=str(Role.VIEWER),
    help="viewer: reads; operator: also acts; admin: also sees the audit log. Default: viewer.",
)
@json_option
def user(name: str, role: str, *, as_json: bool) -> None:
    """Print the table of a dashboard user for ringback.toml.

    The command prompts for the password, or reads a line of standard input. The table contains the
    argon2id hash of the password.

    Examples:
      ringback user ana --role operator
      ringback user ana --role admin < password.txt >> ringback.toml
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
        raise click.BadParameter(NAME_WORDS, param_hint="NAME")
    hash_ = _hash_of(_prompt() if sys.stdin.isatty() else _read())
    if as_json:
        output.as_json({"name": name, "role": role, "password": hash_})
        return
    click.echo(table(name, role, hash_), nl=False)


def _hash_of(password: str) -> str:
    try:
        return hashed(password)
    except ValueError:
        raise click.UsageError(f"The password must have {PASSWORD_WORDS}.") from None


def _prompt() -> str:
    # Prompt on standard error, so that standard output holds only the table.
    return str(click.prompt("Password", hide_input=True, confirmation_prompt="Once more", err=True))


def _read() -> str:
    return sys.stdin.readline().rstrip("\r\n")
