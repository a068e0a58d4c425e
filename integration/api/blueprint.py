"""The Flask blueprint of `/v1` and `/openapi.json`, made from the table in `operations`.

A request to an operation of `/v1` is authenticated and counted against the rate limit before the view is
called.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, g, request

from integration.api.keys import caller_of, require_rate
from integration.api.openapi import document_json
from integration.api.operations import OPERATIONS

if TYPE_CHECKING:
    from integration.api.operations import Operation, View
    from integration.services.container import Services
    from integration.web.rate_limit import RateLimit


def api_blueprint(services: Services, rates: RateLimit) -> Blueprint:
    """Return the blueprint with the routes of `/v1` and `/openapi.json`."""
    blueprint = Blueprint("api", __name__)
    blueprint.add_url_rule("/openapi.json", "openapi", _openapi, methods=["GET"])
    blueprint.register_blueprint(_v1(services, rates))
    return blueprint


def _openapi() -> Response:
    return Response(document_json(datetime.now(UTC).date()), content_type="application/json")


def _v1(services: Services, rates: RateLimit) -> Blueprint:
    blueprint = Blueprint("v1", __name__)

    @blueprint.before_request
    def prove() -> None:
        caller = caller_of(request.headers.get("Authorization"), services.config.api_keys)
        require_rate(caller, rates)
        services.configuration.note_key(caller.name)
        g.caller = caller

    for operation in OPERATIONS:
        if operation.view is not None:
            _add(blueprint, services, operation, operation.view)
    return blueprint


def _add(blueprint: Blueprint, services: Services, operation: Operation, view: View) -> None:
    def answer(**parts: Any) -> Response:
        answer = view(services, g.caller, **parts)
        model, status, headers = answer if isinstance(answer, tuple) else (answer, min(operation.answers), {})
        return Response(
            model.model_dump_json(), status=status, headers=dict(headers), content_type="application/json"
        )

    blueprint.add_url_rule(
        operation.path.replace("{", "<").replace("}", ">"),
        operation.name,
        answer,
        methods=[operation.method],
        provide_automatic_options=False,
    )
