"""`/v1` and `/openapi.json`: which address is answered by what, once the caller is known.

Every request under `/v1` proves its key and is counted before anything else is looked at. What each
address does is in `recalls`, `parked` and `accounts`; errors are answered by `problems`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import Blueprint, Response, g, request

from integration.api import accounts, parked, recalls
from integration.api.keys import caller_of, require_rate
from integration.api.openapi import document_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import BaseModel

    from integration.config import ApiKey
    from integration.rates import Rates
    from workers.desk import Desk

    View = Callable[..., BaseModel]


def api_blueprint(desk: Desk, rates: Rates) -> Blueprint:
    """Make the addresses of `/v1`, and their description."""
    blueprint = Blueprint("api", __name__)
    blueprint.add_url_rule("/openapi.json", "openapi", _openapi, methods=["GET"])
    blueprint.register_blueprint(_v1(desk, rates))
    return blueprint


def _openapi() -> Response:
    return Response(document_json(), content_type="application/json")


def _v1(desk: Desk, rates: Rates) -> Blueprint:
    blueprint = Blueprint("v1", __name__, url_prefix="/v1")

    @blueprint.before_request
    def prove() -> None:
        caller = caller_of(request.headers.get("Authorization"), desk.config.api_keys)
        require_rate(caller, rates)
        g.caller = caller

    for address, status, view in _VIEWS:
        _add(blueprint, desk, address, status, view)
    _add_ask(blueprint, desk)
    return blueprint


_VIEWS: tuple[tuple[str, int, View], ...] = (
    ("GET /me", 200, accounts.me),
    ("GET /recalls", 200, recalls.many),
    ("GET /recalls/<recall_id>", 200, recalls.one),
    ("POST /recalls/<recall_id>/retry", 202, recalls.retry),
    ("POST /recalls/<recall_id>/cancel", 202, recalls.cancel),
    ("GET /parked", 200, parked.many),
    ("POST /parked/remap", 200, parked.remap),
    ("GET /accounts", 200, accounts.many),
    ("GET /accounts/<name>", 200, accounts.one),
    ("POST /accounts/<name>/pause", 200, accounts.pause),
    ("POST /accounts/<name>/resume", 200, accounts.resume),
)


def _add(blueprint: Blueprint, desk: Desk, address: str, status: int, view: View) -> None:
    method, path = address.split(" ")

    def answer(**parts: Any) -> Response:
        return _json(view(desk, _caller(), **parts), status)

    blueprint.add_url_rule(path, address, answer, methods=[method], provide_automatic_options=False)


def _add_ask(blueprint: Blueprint, desk: Desk) -> None:
    def ask() -> Response:
        recall, again = recalls.ask(desk, _caller())
        # A path, not an address: behind a proxy only the caller knows under which name we are reached.
        return _json(recall, 200 if again else 202, {"Location": f"/v1/recalls/{recall.id}"})

    blueprint.add_url_rule(
        "/recalls", "POST /recalls", ask, methods=["POST"], provide_automatic_options=False
    )


def _caller() -> ApiKey:
    return cast("ApiKey", g.caller)


def _json(shown: BaseModel, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(shown.model_dump_json(), status=status, headers=headers, content_type="application/json")
