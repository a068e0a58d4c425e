"""HTTP requests of lookups, with a deadline and a limit for the size of the answer.

Redirects, proxies and cookies are not used. Error messages contain no token and no customer data.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

from integration.clients.deadline_transport import AnswerTooLongError, DeadlineClient, DeadlineTransport
from integration.clients.lookups.results import FailureKind, LookupFailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_LIMIT: Final = 4 * 1024 * 1024
REQUEST_SECONDS: Final = 10.0


class _Clients(threading.local):
    """The client of each thread. Its connection stays open for the next calls of the thread."""

    def __init__(self) -> None:
        self.client = DeadlineClient(DeadlineTransport(body_limit=BODY_LIMIT), seconds=REQUEST_SECONDS)


_CLIENTS = _Clients()


def send(
    provider: str, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, seconds: float
) -> httpx.Response:
    """Send a request and return the complete response.

    `provider` is the CRM's name for error messages. The request takes at most `seconds`, and never more than
    REQUEST_SECONDS. Raise LookupFailedError.
    """
    timeout = min(seconds, REQUEST_SECONDS)
    try:
        return _CLIENTS.client.request(method, url, content=body, headers=headers, timeout=timeout)
    except httpx.TimeoutException:
        reason = f"no complete answer from {provider} within {REQUEST_SECONDS:g} s"
    except httpx.ConnectError:
        reason = f"{provider} cannot be reached: check the network and DNS"
    except AnswerTooLongError:
        reason = f"{provider}'s answer is larger than 4 MiB"
        raise LookupFailedError(FailureKind.UNREADABLE, reason) from None
    except httpx.TransportError:
        reason = f"the connection to {provider} was lost"
    raise LookupFailedError(FailureKind.UNREACHABLE, reason)


def json_object(provider: str, answer: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer. Raise LookupFailedError if the body is not a JSON object."""
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        raise LookupFailedError(FailureKind.UNREADABLE, f"{provider}'s answer is not JSON") from None
    if not isinstance(body, dict):
        raise LookupFailedError(FailureKind.UNREADABLE, f"{provider}'s answer is not a JSON object")
    return body
