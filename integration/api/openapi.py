"""The OpenAPI 3.1 document of `/v1` and `/hooks`, generated from the models that the views use.

The document is public and contains nothing of the configuration. Only the example of a future time depends on
the day.
"""

from __future__ import annotations

import re
from datetime import timedelta
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import orjson
from pydantic.json_schema import models_json_schema

from integration.api.models import Problem
from integration.api.operations import (
    ALWAYS,
    ERROR_HEADERS,
    ERROR_WORDS,
    FORM,
    HEADERS,
    OPERATIONS,
    PATH_SCHEMAS,
    PATH_WORDS,
    XML,
    DocumentedResponse,
)
from integration.web.problems import PROBLEM_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from pydantic import BaseModel

    from integration.api.operations import Operation

    Model = type[BaseModel]
    Schema = dict[str, Any]

REFS = "#/components/schemas/{model}"


@lru_cache(maxsize=1)
def document_json(today: date) -> bytes:
    """Return the OpenAPI document as JSON. The example of a future time is one day after `today`."""
    return orjson.dumps(document(today))


def document(today: date) -> Schema:
    """Return the OpenAPI document. The example of a future time is one day after `today`."""
    paths: dict[str, Schema] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringback",
            "version": _version(),
            "summary": "Turns CRM events into wolkvox callbacks.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "v1", "description": "For programs that create and manage recalls."},
            {"name": "hooks", "description": "For CRMs that send webhooks."},
        ],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": _schemas(today),
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A key of `[api_keys]` in ringback.toml, as a bearer token.",
                }
            },
        },
    }


def _version() -> str:
    try:
        return version("ringback")
    except PackageNotFoundError:
        return "0"


def _operation(operation: Operation) -> Schema:
    described: Schema = {
        "operationId": operation.name,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    parameters = [*_path_parameters(operation.path), *_query_parameters(operation), *operation.headers]
    if parameters:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": _content(operation.body),
        }
    described["responses"] = _responses(operation)
    if operation.tag == "hooks":
        described["security"] = []
    return described


def _responses(operation: Operation) -> Schema:
    errors = {status: _error(status) for status in operation.errors}
    always = {status: _error(status) for status in ALWAYS}
    every = {**operation.answers} if operation.tag == "hooks" else {**operation.answers, **errors, **always}
    responses = {str(status): _response(response) for status, response in sorted(every.items())}
    # An unexpected error (500) is a problem too.
    return {
        **responses,
        "default": _response(DocumentedResponse("Any other error.", {PROBLEM_TYPE: Problem})),
    }


def _error(status: int) -> DocumentedResponse:
    return DocumentedResponse(ERROR_WORDS[status], {PROBLEM_TYPE: Problem}, ERROR_HEADERS.get(status, ()))


def _response(response: DocumentedResponse) -> Schema:
    described: Schema = {"description": response.words, "content": _content(response.content)}
    if response.headers:
        described["headers"] = {name: HEADERS[name] for name in response.headers}
    return described


def _content(content: Mapping[str, Model | None]) -> Schema:
    return {kind: {"schema": _schema_of(kind, model)} for kind, model in content.items()}


def _schema_of(kind: str, model: Model | None) -> Schema:
    if model is not None:
        return {"$ref": REFS.format(model=model.__name__)}
    return {XML: {"type": "string"}, FORM: {"type": "object"}}.get(kind, {})


def _path_parameters(path: str) -> Iterable[Schema]:
    for name in re.findall(r"{(\w+)}", path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_WORDS[name],
            "schema": PATH_SCHEMAS[name],
        }


def _query_parameters(operation: Operation) -> Iterable[Schema]:
    if operation.query is None:
        return
    shape = operation.query.model_json_schema(ref_template=REFS)
    for name, schema in shape["properties"].items():
        parameter = _without_null(schema)
        parameter.pop("title", None)
        description = parameter.pop("description")
        yield {
            "name": name,
            "in": "query",
            "required": False,
            "description": description,
            "schema": parameter,
        }


def _without_null(schema: Schema) -> Schema:
    """Return a schema that does not allow null. A query parameter without a value is omitted."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if not kinds:
        return dict(schema)
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "default"}}
    return {**kinds[0], **rest}


def _models() -> Iterable[tuple[Model, str]]:
    """Yield each model of the operations with its mode: "validation" or "serialization"."""
    for operation in OPERATIONS:
        for model in (operation.body or {}).values():
            if model is not None:
                yield model, "validation"
        for response in operation.answers.values():
            for answer in response.content.values():
                if answer is not None:
                    yield answer, "serialization"
    yield Problem, "serialization"
    yield from ((operation.query, "validation") for operation in OPERATIONS if operation.query)


def _schemas(today: date) -> Schema:
    _, defined = models_json_schema(dict.fromkeys(_models()), ref_template=REFS)  # type: ignore[arg-type]
    schemas: Schema = defined["$defs"]
    # The example is relative to today, because a pause must end in the future and within some years.
    tomorrow = today + timedelta(days=1)
    schemas["PauseRequestBody"]["properties"]["until"]["examples"] = [f"{tomorrow}T18:00:00-05:00"]
    queries = {operation.query.__name__ for operation in OPERATIONS if operation.query}
    return {name: schema for name, schema in schemas.items() if name not in queries}
