"""The views of `/v1/recalls`: create, get, list, retry and cancel recalls."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from flask import request

from integration.api.keys import may_see, note
from integration.api.models import RecallModel, RecallPage, RecallRequestBody, RecallsQuery
from integration.api.requests import bad_fields, body_faults, idempotency_key, json_body, query, unmappable
from integration.domain.errors import NotFoundError, invalid_value
from integration.domain.phone_numbers import endings
from integration.domain.recall import Filter
from integration.mapping.planner import BadFieldsError, Expired, request_from_fields
from integration.web.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.models import ApiKey
    from integration.domain.account import Account
    from integration.domain.recall import Recall, RecallRequest
    from integration.services.container import Services

FIELDS = ("campaign_id", "customer_id", "recall_telephone", "recall_date")
NO_ACCOUNT = {
    "pointer": "/account",
    "detail": "there is no such account. `GET /v1/me` lists the accounts of the key.",
}
_CURSOR, _ID = "c1_", "rc_"
_NUMBER_WORDS = "a telephone number, or at least its last four digits"
# A page that takes longer ends early, with a cursor.
BUDGET_SECONDS = 1.0


def create(services: Services, caller: ApiKey) -> tuple[RecallModel, int, Mapping[str, str]]:
    """Create the recall in the body. Return it with status 202, or 200 for a repeated Idempotency-Key.

    Raise ProblemError (403, 409, 422), the errors of `json_body`, and StoreAwayError.
    """
    key = idempotency_key(request)
    value = json_body(request)
    planned = _planned(services, caller, value)
    recall_request, expired = (
        (planned.request, planned.reason) if isinstance(planned, Expired) else (planned, None)
    )
    admitted = services.admission.admit_one(
        recall_request,
        expired=expired,
        key="" if key is None else _digest(b"idempotency", caller.name.encode(), key.encode()),
        fingerprint=_digest(orjson.dumps(_canonical(value), option=orjson.OPT_SORT_KEYS)),
    )
    if admitted.clash:
        raise ProblemError(
            409, "the Idempotency-Key was used with another body within 168 hours. Use a new key."
        )
    try:
        recall = services.recalls.records.get(admitted.answer.recalls[0])
    except NotFoundError as error:
        detail = "the recall of this Idempotency-Key was deleted after its retention. Use a new key."
        raise ProblemError(409, detail) from error
    # Only a path, because the public host name is not known here.
    location = {"Location": f"/v1/recalls/{recall.id}"}
    return RecallModel.model_validate(recall), 200 if admitted.again else 202, location


def one(services: Services, caller: ApiKey, recall_id: str) -> RecallModel:
    """Return a recall. Raise NotFoundError if it does not exist or the caller must not see it."""
    return RecallModel.model_validate(_visible(services, caller, recall_id))


def list_recalls(services: Services, caller: ApiKey) -> RecallPage:
    """Return a page of recalls that match the query. Raise ProblemError (422) for invalid parameters."""
    parameters = query(RecallsQuery, request)
    which = _filter_of(services, caller, parameters)
    cursor = None if parameters.cursor is None else parameters.cursor.replace(_CURSOR, _ID, 1)
    recalls, following = services.recalls.records.page(
        which, limit=parameters.limit, cursor=cursor, budget_seconds=BUDGET_SECONDS
    )
    return RecallPage(
        items=tuple(RecallModel.model_validate(recall) for recall in recalls),
        next=None if following is None else following.replace(_ID, _CURSOR, 1),
    )


def _filter_of(services: Services, caller: ApiKey, parameters: RecallsQuery) -> Filter:
    telephones = None
    if parameters.telephone is not None:
        telephones = endings(parameters.telephone, services.config.accounts.values())
        if not telephones:
            detail = invalid_value("telephone", "not a telephone number", _NUMBER_WORDS)
            raise bad_fields([{"parameter": "telephone", "detail": detail}])
    return Filter(
        state=parameters.state,
        accounts=_accounts(caller, parameters.account),
        customer_id=parameters.customer_id,
        campaign_id=parameters.campaign_id,
        record=parameters.record_id,
        source=parameters.source,
        route=parameters.route,
        telephones=telephones,
        created_from=parameters.created_from,
        created_until=parameters.created_until,
        date_from=parameters.recall_from,
        date_until=parameters.recall_until,
    )


def retry(services: Services, caller: ApiKey, recall_id: str) -> RecallModel:
    """Queue a dead or expired recall again, and return the recall. Raise NotFoundError, ConflictError."""
    _visible(services, caller, recall_id)
    services.recalls.retry(recall_id, f"retried by api:{caller.name}", datetime.now(UTC))
    note(services, caller, "retry", recall_id)
    return one(services, caller, recall_id)


def cancel(services: Services, caller: ApiKey, recall_id: str) -> RecallModel:
    """Cancel a queued recall, and return the recall. Raise NotFoundError, ConflictError."""
    _visible(services, caller, recall_id)
    services.recalls.cancel(recall_id, f"cancelled by api:{caller.name}")
    note(services, caller, "cancel", recall_id)
    return one(services, caller, recall_id)


def _visible(services: Services, caller: ApiKey, recall_id: str) -> Recall:
    recall = services.recalls.records.get(recall_id)
    if not may_see(caller, recall.account):
        raise NotFoundError("no such recall")
    return recall


def _accounts(caller: ApiKey, account: str | None) -> frozenset[str] | None:
    if account is None:
        return caller.accounts
    return frozenset({account}) if may_see(caller, account) else frozenset()


def _planned(services: Services, caller: ApiKey, value: Any) -> RecallRequest | Expired:
    """Return the recall request in a body. Raise ProblemError: 403 for the account, 422 for faults.

    If the account is known, the ProblemError has the faults of all fields.
    """
    faults = {fault["pointer"]: fault for fault in body_faults(RecallRequestBody, value)}
    if "" in faults:
        raise bad_fields(faults.values())
    account = None if "/account" in faults else _account(services, caller, value["account"])
    if account is None:
        faults.setdefault("/account", NO_ACCOUNT)
        raise bad_fields(faults.values())
    fields = {name: value.get(name) for name in FIELDS}
    try:
        planned = request_from_fields(account, **fields, now=datetime.now(UTC), source=f"api:{caller.name}")
    except BadFieldsError as error:
        unread = {fault["pointer"]: fault for fault in map(unmappable, error.errors)}
        raise bad_fields({**unread, **faults}.values()) from error
    if faults:
        raise bad_fields(faults.values())
    return planned


def _account(services: Services, caller: ApiKey, name: str) -> Account | None:
    if not may_see(caller, name):
        raise ProblemError(
            403, "the key has no access to this account. Use a key that lists it, or one for all accounts."
        )
    return services.config.accounts.get(name)


def _canonical(value: Any) -> Any:
    """Return a JSON value with whole floats as int, so that 1.0 and 1 have the same digest."""
    if isinstance(value, dict):
        return {name: _canonical(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    return value


def _digest(*parts: bytes) -> str:
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        hashed.update(len(part).to_bytes(8, "big") + part)
    return hashed.hexdigest()
