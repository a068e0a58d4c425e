"""The sandbox's own endpoints: a page at `/`, and rules, settings and received calls at `/sandbox/…`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from integration.local.sandbox.answers import SandboxAnswer, json_answer
from integration.local.sandbox.calls import json_value
from integration.local.sandbox.page import page
from integration.local.sandbox.rules import Rule
from integration.local.sandbox.state import MOST_CALLS

if TYPE_CHECKING:
    from integration.local.sandbox.state import SandboxState
    from integration.local.sandbox.wolkvox import Settings

_SETTINGS_METHODS = frozenset({"GET", "PUT", "POST"})


class _Change(BaseModel):
    """The settings that can be changed while the sandbox runs."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: float = Field(default=0.0, ge=0, le=3_600_000)
    daily_limit: int | None = Field(default=None, ge=0)


class Control:
    """Handles requests to the sandbox's own endpoints, and changes `settings` in place."""

    def __init__(self, state: SandboxState, settings: Settings) -> None:
        self._state = state
        self._settings = settings

    def answer(self, method: str, path: str, query: str, body: bytes) -> SandboxAnswer:
        """Return the response to a request."""
        if method == "GET" and path == "/":
            content_type = (("Content-Type", "text/html; charset=utf-8"),)
            return SandboxAnswer(200, page(self._state).encode(), headers=content_type)
        if path == "/sandbox/rules":
            return self._rules(method, body)
        if method == "DELETE" and re.fullmatch(r"/sandbox/rules/[0-9]{1,9}", path):
            removed = self._state.remove(int(path.rpartition("/")[2]))
            return json_answer(200 if removed else 404, {"removed": removed})
        if path == "/sandbox/settings" and method in _SETTINGS_METHODS:
            return self._change(method, body)
        return self._lists(method, path, query)

    def _lists(self, method: str, path: str, query: str) -> SandboxAnswer:
        match method, path:
            case "GET", "/sandbox/calls":
                parameters = {name: values[-1] for name, values in parse_qs(query).items()}
                after, limit = _whole(parameters.get("after"), 0), _whole(parameters.get("limit"), MOST_CALLS)
                return json_answer(200, self._state.calls(after=after, limit=limit))
            case "DELETE", "/sandbox/calls":
                self._state.forget_calls()
                return json_answer(200, {"removed": "all"})
            case "GET", "/sandbox/stats":
                return json_answer(200, self._state.stats())
            case "GET", "/sandbox/recalls":
                return json_answer(200, self._state.recalls())
        return json_answer(404, {"error": "unknown endpoint; the sandbox has / and /sandbox/…"})

    def _rules(self, method: str, body: bytes) -> SandboxAnswer:
        if method == "GET":
            return json_answer(200, self._state.rules())
        if method == "DELETE":
            return json_answer(200, {"removed": self._state.remove(None)})
        value = json_value(body)
        try:
            rules = [Rule.model_validate(rule) for rule in (value if isinstance(value, list) else [value])]
        except ValidationError as error:
            return json_answer(400, {"error": _faults(error)})
        return json_answer(201, self._state.place(rules))

    def _change(self, method: str, body: bytes) -> SandboxAnswer:
        settings = self._settings
        if method != "GET":
            try:
                change = _Change.model_validate(json_value(body))
            except ValidationError as error:
                return json_answer(400, {"error": _faults(error)})
            for name in change.model_fields_set:
                setattr(settings, name, getattr(change, name))
        return json_answer(200, {"latency_ms": settings.latency_ms, "daily_limit": settings.daily_limit})


def _whole(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,9}", text) else default


def _faults(error: ValidationError) -> list[str]:
    return [
        f"{'.'.join(str(part) for part in fault['loc']) or 'rule'}: {fault['msg']}"
        for fault in error.errors()
    ]
