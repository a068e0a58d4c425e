"""`ringback send`: posts a sample webhook to the web server, signed as the CRM signs webhooks.

The signature and the URL key are not printed.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click
import httpx

from integration.cli import output
from integration.cli.context import AsWritten, CliContext, config_option, json_option, pass_cli_context
from integration.clients.deadline_transport import DeadlineClient, DeadlineTransport
from integration.config.source_models import JsonSource
from integration.config.source_models.public_keys import PRIVATE_KEY_WORDS, read_private_key
from integration.domain.errors import RingbackError
from integration.telemetry.logging import printable
from integration.webhooks.hook_urls import public_url, secret_path, web_address
from integration.webhooks.providers import SOURCES
from integration.webhooks.service import DUPLICATE_HEADER

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from integration.config.source_models import Source

SEND_SECONDS = 15.0
_TERSE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedRequest:
    """The URL and the message id of a request. Some signatures cover `signed_url`."""

    url: str
    signed_url: str
    message_id: str


@click.command(cls=AsWritten)
@click.argument("source")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--url", metavar="URL", help="The URL to post to. Default: the web server on this machine, at PORT."
)
@click.option("--public", is_flag=True, help="Post to the source's public_url.")
@click.option("--message-id", metavar="TEXT", help="The message id of the webhook. Default: a random one.")
@click.option(
    "--private-key",
    "key",
    type=click.File("r"),
    metavar="FILE",
    help='The private key to sign with, in PEM. Only for verify = "ed25519".',
)
@config_option
@json_option
@pass_cli_context
def send(
    context: CliContext,
    /,
    source: str,
    file: IO[bytes],
    *,
    key: IO[str] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Post a sample webhook, signed as the CRM signs webhooks.

    FILE holds the body; "-" reads standard input. Bodies of HubSpot and Salesforce contain event ids, so
    the same file sent again is a duplicate. A duplicate changes nothing; the output reports it. Exits
    with status 1 unless the response is 2xx.

    Examples:
      ringback send hubspot body.json
      ringback send forms body.json --url http://127.0.0.1:8080/hooks/forms
    """
    settings = context.source(source)
    signed = _signed_request(context, settings, **options)
    private_key = None if key is None else _private_key(settings, key.read())
    response = _post(settings, signed, file.read(), private_key)
    answer, duplicate = _answer(response), DUPLICATE_HEADER in response.headers
    if as_json:
        output.as_json(
            {"source": source, "status": response.status_code, "duplicate": duplicate, "answer": answer}
        )
    else:
        output.line(f"{response.status_code} {response.reason_phrase}")
        if duplicate:
            output.line(
                "This delivery is a duplicate. Nothing was stored; the response is that of the first one."
            )
        _print_answer(answer)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        output.problem(
            "The webhook was not verified. The log of the web server says which check failed and why."
        )
    if not response.is_success:
        raise SystemExit(1)


def _signed_request(
    context: CliContext, source: Source, *, url: str | None, public: bool, message_id: str | None
) -> _SignedRequest:
    known = public_url(source)
    if public and (known is None or url is not None):
        raise click.UsageError(
            "--public requires a source with public_url and cannot be combined with --url."
        )
    target = known if public and known else url or web_address(context.environ) + secret_path(source)
    return _SignedRequest(
        url=target,
        # The receiver verifies against public_url if that is set, even for a request to another URL.
        signed_url=known or target,
        message_id=message_id or f"msg_{secrets.token_hex(12)}",
    )


def _private_key(source: Source, text: str) -> Ed25519PrivateKey:
    if not isinstance(source, JsonSource) or source.verify != "ed25519":
        raise click.UsageError('--private-key requires a source with verify = "ed25519".')
    try:
        return read_private_key(text)
    except ValueError:
        raise click.BadParameter(
            f"not a valid key. Give {PRIVATE_KEY_WORDS}.", param_hint="--private-key"
        ) from None


def _post(
    source: Source, signed: _SignedRequest, body: bytes, private_key: Ed25519PrivateKey | None
) -> httpx.Response:
    headers = SOURCES[source.kind].sign(
        body,
        source,
        url=signed.signed_url,
        method="POST",
        message_id=signed.message_id,
        now=datetime.now(UTC),
        **({} if private_key is None else {"private_key": private_key}),
    )
    if isinstance(source, JsonSource):
        # For schemes without a message id, the receiver reads it from this header.
        headers.setdefault("Idempotency-Key", signed.message_id)
    try:
        with DeadlineClient(DeadlineTransport(), seconds=SEND_SECONDS) as client:
            return client.post(signed.url, content=body, headers=headers)
    except httpx.InvalidURL as error:
        raise click.BadParameter("not a valid URL", param_hint="--url") from error
    except httpx.UnsupportedProtocol as error:
        raise click.BadParameter("the URL must start with http:// or https://", param_hint="--url") from error
    except httpx.TimeoutException as error:
        raise RingbackError(
            f"{_origin(signed)} did not respond within {SEND_SECONDS:g} s. See the log of the web server."
        ) from error
    except httpx.TransportError as error:
        raise RingbackError(
            f"cannot connect to {_origin(signed)}. Start the web server, for example with `ringback up`."
        ) from error


def _origin(signed: _SignedRequest) -> str:
    url = httpx.URL(signed.url)
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}"


def _answer(response: httpx.Response) -> Any:
    """Return the body of the response parsed as JSON, or the start of a body that is not JSON as text."""
    try:
        return response.json()
    except ValueError:
        return response.text[:_TERSE]


def _print_answer(answer: Any) -> None:
    if not isinstance(answer, dict):
        output.line(printable(answer))
        return
    values = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in answer.items()
    }
    output.pairs(values.items(), indent="  ")
    for recall in answer.get("recalls") or ():
        output.line(f"Show the recall with: ringback show {printable(recall)}")
