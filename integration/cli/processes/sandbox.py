"""`ringback sandbox`: runs a simulator of wolkvox."""

from __future__ import annotations

from typing import Any

import click
from pydantic import ValidationError

from integration.cli import output
from integration.cli.context import AsWritten, read_json_file
from integration.domain.errors import RingbackError
from integration.local.sandbox import Settings, serve

DEFAULT_PORT = 8202


@click.command(cls=AsWritten)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The port. 0 chooses a free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--latency-ms",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="The duration of each call in milliseconds.",
)
@click.option("--daily-limit", type=click.IntRange(1), help="Calls per token and day. Default: unlimited.")
@click.option(
    "--token",
    "tokens",
    multiple=True,
    metavar="TEXT",
    help="Accept this token; may be given several times. Default: any token.",
)
@click.option(
    "--rules",
    type=click.File("rb"),
    metavar="FILE",
    help="Fault rules as a JSON list, in the format of POST /sandbox/rules.",
)
def sandbox(port: int, host: str, latency_ms: float, rules: Any, **more: Any) -> None:
    """Run a simulator of wolkvox.

    The simulator responds as wolkvox documents, enforces the limits of wolkvox, and injects faults by
    rules. To use it, set base_url = "http://127.0.0.1:8202" and a token in an account. The page at /
    shows the received calls. The simulator calls no other machine.

    Examples:
      ringback sandbox
      ringback sandbox --latency-ms 300 --daily-limit 1000
      curl -d '{"action":"answer","status":500,"times":2}' http://127.0.0.1:8202/sandbox/rules
    """
    settings = Settings(
        latency_ms=latency_ms,
        daily_limit=more["daily_limit"],
        tokens=frozenset(more["tokens"]) or None,
    )
    placed = [] if rules is None else _rules(read_json_file(rules, "--rules"))
    try:
        serve(port, host, settings=settings, rules=placed, announce=_announce)
    except ValidationError as error:
        raise click.BadParameter(_faults(error), param_hint="--rules") from error
    except OSError as error:
        raise RingbackError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another port with --port."
        ) from error


def _rules(document: Any) -> list[dict[str, Any]]:
    rules = document if isinstance(document, list) else [document]
    if not all(isinstance(rule, dict) for rule in rules):
        raise click.BadParameter(
            "not a fault rule. Give a JSON object or a list of objects.", param_hint="--rules"
        )
    return rules


def _faults(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())


def _announce(url: str) -> None:
    output.line(f"wolkvox sandbox: {url}  (received calls: {url}/; Ctrl-C stops it)")
