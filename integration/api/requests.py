"""Reads requests to `/v1`: JSON bodies, query parameters, the idempotency key.

The error for a request lists the faults, each with its place: a JSON pointer (RFC 6901), a parameter or a
header. The descriptions of the faults do not contain the invalid values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from integration.domain.errors import UnsupportedTypeError, invalid_value
from integration.domain.limits import MAX_FIELDS
from integration.mapping.expressions import kind
from integration.web.problems import ProblemError
from integration.web.request_body import read_body
from integration.webhooks.providers.bodies import read_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Request
    from pydantic_core import ErrorDetails

    from integration.domain.errors import UnmappableError

Fault = dict[str, str]
_ModelT = TypeVar("_ModelT", bound=BaseModel)

# RFC 8259 defines no charset parameter, but some clients send one.
_JSON_TYPE = re.compile(r'application/json *(; *charset *= *"?utf-?8"? *)?', re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r"[ -~]{1,255}")
MOST_FAULTS = 100
IDEMPOTENCY_WORDS = "1 to 255 printable ASCII characters"


def json_body(request: Request) -> Any:
    """Return the parsed JSON body.

    Raise RequestEntityTooLarge (413) over 1 MiB, UnsupportedTypeError (415) if the body is compressed or
    not declared as JSON, and UnreadableError (400) if it is incomplete or not valid JSON.
    """
    _require_json_type(request)
    return read_json(read_body(request))


def optional_json_body(request: Request) -> Any:
    """Return the parsed JSON body, or {} if the body is empty. Raise the errors of `json_body`."""
    body = read_body(request)
    if not body:
        return {}
    _require_json_type(request)
    return read_json(body)


def checked(model: type[_ModelT], value: Any) -> _ModelT:
    """Return a body as a model. Raise the ProblemError of `bad_fields` if it has faults."""
    faults = body_faults(model, value)
    if faults:
        raise bad_fields(faults)
    return model.model_validate(value)


def body_faults(model: type[BaseModel], value: Any) -> list[Fault]:
    """Return the faults of a body, each with a JSON pointer."""
    return [{"pointer": pointer, "detail": words} for pointer, words in _faults(model, value, "/").items()]


def query(model: type[_ModelT], request: Request) -> _ModelT:
    """Return the query parameters as a model.

    Raise the ProblemError of `bad_fields` if a parameter is invalid, unknown or repeated.
    """
    parameters = request.args.to_dict(flat=False)
    twice = "the parameter is given more than once. Give it once."
    faults = {name: twice for name, values in parameters.items() if values[1:]}
    once = {name: values[0] for name, values in parameters.items()}
    faults = {**_faults(model, once, ""), **faults}
    if faults:
        raise bad_fields([{"parameter": name, "detail": words} for name, words in faults.items()])
    return model.model_validate(once)


def idempotency_key(request: Request) -> str | None:
    """Return the `Idempotency-Key` header, or None if it is missing.

    Raise ProblemError (422) if the header is invalid.
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        found = "empty" if not key else "too long or not printable ASCII"
        detail = invalid_value("Idempotency-Key", found, IDEMPOTENCY_WORDS)
        raise bad_fields([{"header": "Idempotency-Key", "detail": detail}])
    return key


def unmappable(error: UnmappableError) -> Fault:
    """Return the fault of a field that the mapping rejected, with its JSON pointer."""
    return {"pointer": f"/{error.field}", "detail": invalid_value(error.field, error.found, error.allowed)}


def bad_fields(faults: Iterable[Fault]) -> ProblemError:
    """Return the ProblemError (422) for a request with faults. The error lists at most MOST_FAULTS."""
    errors = tuple(faults)
    # Without a limit, the response to a body of unknown names would be ten times as large as the body.
    some = "" if len(errors) <= MOST_FAULTS else f", the first {MOST_FAULTS} of {len(errors)}"
    detail = f"the request has invalid values, listed in `errors`{some}"
    return ProblemError(422, detail, errors=errors[:MOST_FAULTS])


def _require_json_type(request: Request) -> None:
    if not _JSON_TYPE.fullmatch(request.headers.get("Content-Type", "").strip()):
        raise UnsupportedTypeError("Content-Type", "missing or not JSON", "application/json in UTF-8")


def _faults(model: type[BaseModel], value: Any, before: str) -> dict[str, str]:
    """Return the descriptions of the faults by place: `before` and the name, or "" for the whole body.

    A value with more than MAX_FIELDS fields has only that fault.
    """
    if isinstance(value, dict) and len(value) > MAX_FIELDS:
        # Each unknown name is described before the first ones are chosen: 1 MiB of names takes over a second.
        return {"": invalid_value("the body", f"{len(value)} names", f"at most {MAX_FIELDS}")}
    try:
        model.model_validate(value)
    except ValidationError as error:
        faults: dict[str, str] = {}
        for details in error.errors(include_url=False):
            name = str(details["loc"][0]) if details["loc"] else None
            place = "" if name is None else before + _escaped(name)
            faults.setdefault(place, _words(model, name, details, value))
        return faults
    return {}


def _words(model: type[BaseModel], name: str | None, details: ErrorDetails, value: Any) -> str:
    if name is None:
        return invalid_value("the body", kind(value), "an object")
    if details["type"] == "extra_forbidden":
        return invalid_value("the name", "unknown", f"one of {', '.join(model.model_fields)}")
    found = "missing" if name not in value else _found(value[name])
    return invalid_value(name, found, _allowed(model.model_fields, name))


def _allowed(fields: Mapping[str, Any], name: str) -> str:
    return fields[name].description or "a valid value"


def _found(value: Any) -> str:
    return f"a text of {len(value)} characters" if isinstance(value, str) else kind(value)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
