"""The table of the operations of `/v1` and `/hooks`, with their parameters and responses.

`blueprint` registers the routes of `/v1` from this table, and `openapi` generates the document from it. The
receiver registers the routes of `/hooks`; a test compares them with this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.api import accounts, parked, recalls
from integration.api import models as m
from integration.api.requests import IDEMPOTENCY_WORDS
from integration.web.problems import PROBLEM_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel

    Model = type[BaseModel]
    Schema = dict[str, Any]
    # Takes the services, the caller's key and the path parameters. A model without a status is sent with
    # the only success status of the operation.
    View = Callable[..., BaseModel | tuple[BaseModel, int, Mapping[str, str]]]

JSON = "application/json"
XML = "text/xml"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class DocumentedResponse:
    """A response with its description. `content` maps media types to models; None means no model."""

    words: str
    content: Mapping[str, Model | None]
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A method of a path. `view` handles the request, None for `/hooks`, which the receiver handles."""

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, DocumentedResponse]
    view: View | None = None
    errors: tuple[int, ...] = ()
    description: str = ""
    query: Model | None = None
    headers: tuple[Schema, ...] = ()
    body: Mapping[str, Model | None] | None = None
    body_required: bool = True

    @property
    def tag(self) -> str:
        """Return the tag of the operation in the document: `v1` or `hooks`."""
        return "hooks" if self.view is None else "v1"


ERROR_WORDS = {
    400: "The body cannot be parsed; `detail` says why.",
    401: "The API key is missing or unknown.",
    403: "The key has no access to the account, or the operation needs a key for all accounts.",
    404: "The resource does not exist, or the key has no access to it.",
    409: "The request conflicts with the current state.",
    413: "The body is larger than 1 MiB.",
    415: "The content type is not supported.",
    422: "A field, parameter or header is invalid; `errors` lists each.",
    429: "The key exceeded its requests per minute, or too much work is waiting.",
    503: "The store is unreachable or full. Repeat the request, with the same Idempotency-Key if it has one.",
}
ERROR_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
HEADERS: Schema = {
    "Location": {
        "description": "The path of the recall.",
        "schema": {"type": "string", "pattern": f"^/v1/recalls/{m.RECALL_ID.strip('^$')}$"},
    },
    "Retry-After": {
        "description": "Seconds to wait before the next request.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "The authentication scheme.", "schema": {"type": "string"}},
}
ALWAYS = (401, 429, 503)
_BODY = (400, 413, 415, 422)
_IDEMPOTENCY: Schema = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": f"{IDEMPOTENCY_WORDS}. A request that repeats a key with the same JSON body within "
    "168 hours returns the same recall. With another body the status is 409.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "deal-4711-callback-1",
}
PATH_SCHEMAS: dict[str, Schema] = {
    "recall_id": {"type": "string", "pattern": m.RECALL_ID},
    "name": {"type": "string", "pattern": m.NAME},
    "source": {"type": "string", "pattern": m.NAME},
    "url_key": {"type": "string", "pattern": "^[A-Za-z0-9._~-]{16,}$"},
}
PATH_WORDS = {
    "recall_id": "The id of the recall.",
    "name": "The name of the account.",
    "source": "The name of the source.",
    "url_key": "The secret key in the address of a source whose sender cannot sign.",
}


def _ok(model: Model, words: str, *headers: str) -> DocumentedResponse:
    return DocumentedResponse(words, {JSON: model}, headers)


def _error_responses(status: int) -> DocumentedResponse:
    # The sender of an outbound message reads a SOAP fault.
    return DocumentedResponse(
        ERROR_WORDS[status], {PROBLEM_TYPE: m.Problem, XML: None}, ERROR_HEADERS.get(status, ())
    )


_HOOK_ANSWERS = {
    200: DocumentedResponse(
        "Salesforce gets a SOAP acknowledgement, a HubSpot custom workflow action its `outputFields`, and a "
        "handshake the response that its sender expects. With `answer_status = 200` the body is that of 202.",
        {XML: None, JSON: m.CustomActionModel},
    ),
    202: _ok(
        m.DeliveryModel, "The delivery is on disk. A repeated delivery gets the response of the first one."
    ),
    # RFC 9110 requires a challenge with 401, but a signature is not an authentication scheme.
    401: DocumentedResponse(
        "The delivery is not verified. The log has the reason.", {PROBLEM_TYPE: m.Problem, XML: None}
    ),
    404: DocumentedResponse("There is no source with this address.", {PROBLEM_TYPE: m.Problem}),
    **{status: _error_responses(status) for status in (400, 413, 415, 429, 503)},
}
_OPTIONS_WORDS = (
    "HubSpot sends `inputFieldName`, and `fetchOptions` with the text to search for (`q`) and the cursor of "
    "the next page (`after`). The account field has as options the accounts that the routes of the source "
    "may use. HubSpot signs the request like a custom workflow action. Nothing is stored."
)
_OPTIONS_ANSWERS = {
    200: _ok(m.OptionsModel, "A page of at most 100 options."),
    401: _HOOK_ANSWERS[401],
    404: DocumentedResponse("There is no HubSpot source of this name.", {PROBLEM_TYPE: m.Problem}),
    **{status: _error_responses(status) for status in (400, 413, 415, 429, 503)},
}
_HANDSHAKE_ANSWERS = {
    200: DocumentedResponse("The response that the sender expects. Nothing is stored.", {"text/plain": None}),
    401: DocumentedResponse(
        "The request is not verified. The log has the reason.", {PROBLEM_TYPE: m.Problem}
    ),
    405: DocumentedResponse(
        "There is no such source, or its `handshake` does not use this method.", {PROBLEM_TYPE: m.Problem}
    ),
    **{status: _error_responses(status) for status in (429, 503)},
}
_HOOK_BODIES: Mapping[str, Model | None] = {JSON: None, FORM: None, XML: None}
_HOOK_WORDS = (
    "The source configures how the sender is verified: by a signature of the body, by a header, or by the "
    "`url_key` in the address. The sender determines the format of the body. An event that cannot be mapped "
    "is parked, and the response is 2xx. A repeated delivery changes nothing."
)

OPERATIONS = (
    Operation(
        method="get",
        path="/v1/me",
        name="me",
        view=accounts.me,
        summary="Get the name and the accounts of the key",
        answers={200: _ok(m.Me, "The name and the accounts.")},
    ),
    Operation(
        method="post",
        path="/v1/recalls",
        name="createRecall",
        view=recalls.create,
        summary="Create a recall",
        description="The response is sent after the recall is on disk. A newer request of a customer in a "
        "campaign supersedes an older one that is still queued.",
        headers=(_IDEMPOTENCY,),
        body={JSON: m.RecallRequestBody},
        answers={
            200: _ok(
                m.RecallModel, "The recall of an earlier request with this Idempotency-Key.", "Location"
            ),
            202: _ok(m.RecallModel, "The new recall.", "Location"),
        },
        errors=(*_BODY, 403, 409),
    ),
    Operation(
        method="get",
        path="/v1/recalls",
        name="listRecalls",
        view=recalls.list_recalls,
        summary="List recalls, newest first",
        query=m.RecallsQuery,
        answers={200: _ok(m.RecallPage, "A page of recalls.")},
        errors=(422,),
    ),
    Operation(
        method="get",
        path="/v1/recalls/{recall_id}",
        name="getRecall",
        view=recalls.one,
        summary="Get a recall with its attempts and its changes of state",
        answers={200: _ok(m.RecallModel, "The recall.")},
        errors=(404,),
    ),
    Operation(
        method="post",
        path="/v1/recalls/{recall_id}/retry",
        name="retryRecall",
        view=recalls.retry,
        summary="Queue a dead or expired recall again, unless its customer has a newer one",
        answers={202: _ok(m.RecallModel, "The queued recall.")},
        errors=(404, 409),
    ),
    Operation(
        method="post",
        path="/v1/recalls/{recall_id}/cancel",
        name="cancelRecall",
        view=recalls.cancel,
        summary="Cancel a queued recall",
        answers={202: _ok(m.RecallModel, "The cancelled recall.")},
        errors=(404, 409),
    ),
    Operation(
        method="get",
        path="/v1/parked",
        name="listParked",
        view=parked.list_parked,
        summary="List events that could not be mapped, newest first, with the reasons",
        query=m.ParkedQuery,
        answers={200: _ok(m.ParkedPage, "A page of parked events.")},
        errors=(422,),
    ),
    Operation(
        method="post",
        path="/v1/parked/remap",
        name="remapParked",
        view=parked.remap,
        summary="Remap parked events with the current configuration",
        body={JSON: m.RemapRequestBody},
        body_required=False,
        answers={200: _ok(m.RemapModel, "The result of the remap.")},
        errors=(*_BODY, 403),
    ),
    Operation(
        method="get",
        path="/v1/accounts",
        name="listAccounts",
        view=accounts.list_accounts,
        summary="List the accounts of the key, with their queues",
        answers={200: _ok(m.AccountList, "The accounts.")},
    ),
    Operation(
        method="get",
        path="/v1/accounts/{name}",
        name="getAccount",
        view=accounts.one,
        summary="Get an account with its queue",
        answers={200: _ok(m.AccountModel, "The account.")},
        errors=(404,),
    ),
    Operation(
        method="post",
        path="/v1/accounts/{name}/pause",
        name="pauseAccount",
        view=accounts.pause,
        summary="Pause the queue of an account",
        body={JSON: m.PauseRequestBody},
        body_required=False,
        answers={200: _ok(m.AccountModel, "The paused account.")},
        errors=(*_BODY, 404),
    ),
    Operation(
        method="post",
        path="/v1/accounts/{name}/resume",
        name="resumeAccount",
        view=accounts.resume,
        summary="Resume the queue of an account after a pause, a stop or a wait",
        answers={200: _ok(m.AccountModel, "The resumed account.")},
        errors=(404,),
    ),
    Operation(
        method="post",
        path="/hooks/{source}",
        name="receiveWebhook",
        summary="Receive a webhook",
        description=_HOOK_WORDS,
        body=_HOOK_BODIES,
        answers=_HOOK_ANSWERS,
    ),
    Operation(
        method="post",
        path="/hooks/{source}/{url_key}",
        name="receiveWebhookByUrlKey",
        summary="Receive a webhook from a sender that cannot sign",
        description=_HOOK_WORDS,
        body=_HOOK_BODIES,
        answers=_HOOK_ANSWERS,
    ),
    Operation(
        method="post",
        path="/hooks/{source}/options",
        name="listOptions",
        summary="List the options of a drop-down field in HubSpot's workflow editor",
        description=_OPTIONS_WORDS,
        body={JSON: None},
        answers=_OPTIONS_ANSWERS,
    ),
    Operation(
        method="post",
        path="/hooks/{source}/{url_key}/options",
        name="listOptionsByUrlKey",
        summary="List the options of a drop-down field, at an address with a key",
        description=_OPTIONS_WORDS,
        body={JSON: None},
        answers=_OPTIONS_ANSWERS,
    ),
    Operation(
        method="get",
        path="/hooks/{source}",
        name="checkAddress",
        summary="Verify the address for a sender",
        description="Only for sources with a `handshake` of this method.",
        answers=_HANDSHAKE_ANSWERS,
    ),
    Operation(
        method="get",
        path="/hooks/{source}/{url_key}",
        name="checkAddressByUrlKey",
        summary="Verify an address with a key for a sender",
        description="Only for sources with a `handshake` of this method.",
        answers=_HANDSHAKE_ANSWERS,
    ),
)
