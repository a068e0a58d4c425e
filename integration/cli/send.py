"""`ringback send`: posts a sample webhook to the running web, signed as its CRM would sign it.

The one command that sends what looks real; it shows neither the signature nor the key in the address.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any

import click
import httpx

from integration.cli import output
from integration.cli.context import AsWritten, CliContext, config_option, json_option, pass_session
from integration.clients.deadline_transport import DeadlineClient, DeadlineTransport
from integration.config.source_models import JsonSource
from integration.domain.errors import RingbackError
from integration.telemetry.logging import printable
from integration.webhooks.hook_urls import public_url, secret_path, web_address
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from integration.config.source_models import Source

SEND_SECONDS = 15.0
_TERSE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedRequest:
    """Where a sample goes, and the address that its signature covers."""

    url: str
    signed_url: str
    message_id: str


@click.command(cls=AsWritten)
@click.argument("source")
@click.argument("file", type=click.File("rb"))
@click.option("--url", metavar="URL", help="Post it there. Default: the web on this machine, at PORT.")
@click.option("--public", is_flag=True, help="Post it to the source's public_url.")
@click.option(
    "--message-id", metavar="TEXT", help="The sender's id of the message. Default: a new one each time."
)
@config_option
@json_option
@pass_session
def send(session: CliContext, /, source: str, file: IO[bytes], *, as_json: bool, **given: Any) -> None:
    """Post a sample webhook, signed as its CRM would sign it.

    FILE holds the body ("-": standard input), and goes to the web that runs on this machine.
    HubSpot and Salesforce carry their ids in the body: the same file again is the same event, and
    changes nothing. Exit 0 when it was taken (2xx).

    Examples:
      ringback send hubspot body.json
      ringback send forms body.json --url http://127.0.0.1:8080/hooks/forms
    """
    settings = session.source(source)
    letter = _letter(session, settings, **given)
    response = _post(settings, letter, file.read())
    answer = _answer(response)
    if as_json:
        output.as_json({"source": source, "status": response.status_code, "answer": answer})
    else:
        output.line(f"{response.status_code} {response.reason_phrase}")
        _tell(answer)
    if response.status_code == httpx.codes.UNAUTHORIZED:
        output.problem("not verified; the web's log says which check failed and why, its answer never does")
    if not response.is_success:
        raise SystemExit(1)


def _letter(
    session: CliContext, source: Source, *, url: str | None, public: bool, message_id: str | None
) -> _SignedRequest:
    known = public_url(source)
    if public and (known is None or url is not None):
        raise click.UsageError("--public needs a source with public_url, and no --url")
    target = known if public and known else url or web_address(session.environ) + secret_path(source)
    return _SignedRequest(
        url=target,
        # With a public_url the receiver takes that for what was signed, wherever this is posted.
        signed_url=known or target,
        message_id=message_id or f"msg_{secrets.token_hex(12)}",
    )


def _post(source: Source, letter: _SignedRequest, body: bytes) -> httpx.Response:
    headers = SOURCES[source.kind].sign(
        body,
        source,
        url=letter.signed_url,
        method="POST",
        message_id=letter.message_id,
        now=datetime.now(UTC),
    )
    if isinstance(source, JsonSource):
        # Where the scheme has no message id, this is the header that is read as one.
        headers.setdefault("Idempotency-Key", letter.message_id)
    try:
        with DeadlineClient(DeadlineTransport(), seconds=SEND_SECONDS) as client:
            return client.post(letter.url, content=body, headers=headers)
    except httpx.InvalidURL as error:
        raise click.BadParameter("not an address", param_hint="--url") from error
    except httpx.UnsupportedProtocol as error:
        raise click.BadParameter("allowed: http:// or https://", param_hint="--url") from error
    except httpx.TimeoutException as error:
        raise RingbackError(f"{_where(letter)}: no answer within {SEND_SECONDS:g} s") from error
    except httpx.TransportError as error:
        raise RingbackError(
            f"{_where(letter)}: nothing answers there; `ringback up` starts the web"
        ) from error


def _where(letter: _SignedRequest) -> str:
    url = httpx.URL(letter.url)
    return f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}"


def _answer(response: httpx.Response) -> Any:
    """Give the answer as JSON, as text where it is none."""
    try:
        return response.json()
    except ValueError:
        return response.text[:_TERSE]


def _tell(answer: Any) -> None:
    if not isinstance(answer, dict):
        output.line(printable(answer))
        return
    shown = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in answer.items()
    }
    output.pairs(shown.items(), indent="  ")
    for recall in answer.get("recalls") or ():
        output.line(f"what becomes of it: ringback show {printable(recall)}")
