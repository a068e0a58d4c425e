"""Convert configurations, deliveries, events and plans to JSON values and back. Pure.

The values are sent to the fork server and returned by it.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import date, datetime, time
from typing import TYPE_CHECKING, Any, Final

from integration.config.models import Config
from integration.domain.delivery import Delivery, Event
from integration.domain.recall import CancelRequest, RecallRequest
from integration.mapping.planner import CancelWanted, Expired, Ignored, Parked, Pending, RecallWanted

if TYPE_CHECKING:
    from integration.mapping.planner import EventPlan
    from integration.store.delivery_log import StoredDelivery

# The fork server verifies nothing. The models require a key of this form.
_NO_URL_KEY: Final = "not-for-templates"
_HANDED_OVER: Final = {"accounts", "vars", "sources", "routes"}
_TAG: Final = "\0"  # no key of TOML has this character
_TOML_TIMES: Final[dict[str, type[datetime | date | time]]] = {
    "datetime": datetime,
    "date": date,
    "time": time,
}
_PLANS: Final[dict[str, type[EventPlan]]] = {
    kind.__name__: kind for kind in (RecallWanted, CancelWanted, Expired, Ignored, Parked, Pending)
}
_MOMENTS: Final = ("recall_date", "requested_date", "version")


def plain_config(config: Config) -> dict[str, Any]:
    """Return the accounts, vars, sources and routes of a configuration, with placeholders for secrets."""
    # pydantic writes "**********" for each secret.
    plain = config.model_dump(mode="json", include=_HANDED_OVER - {"vars"})
    for source in plain["sources"].values():
        if source["url_key"] is not None:
            source["url_key"] = _NO_URL_KEY
    return {**plain, "vars": _plain_toml(config.vars)}


def config_of(plain: dict[str, Any]) -> Config:
    """Return a configuration with the parts in the result of `plain_config`."""
    return Config.model_validate({**plain, "vars": _toml_of(plain["vars"])})


def _plain_toml(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_toml(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_toml(item) for item in value]
    if isinstance(value, date | time):
        return {_TAG: [type(value).__name__, value.isoformat()]}
    return value


def _toml_of(plain: Any) -> Any:
    if isinstance(plain, dict):
        if _TAG in plain:
            kind, text = plain[_TAG]
            return _TOML_TIMES[kind].fromisoformat(text)
        return {key: _toml_of(item) for key, item in plain.items()}
    return [_toml_of(item) for item in plain] if isinstance(plain, list) else plain


def plain_delivery(delivery: Delivery | StoredDelivery) -> dict[str, Any]:
    """Return the id, the source, the headers and the time of arrival of a delivery."""
    return {
        "id": delivery.id,
        "source": delivery.source,
        "headers": dict(delivery.headers),
        "received_at": delivery.received_at.isoformat(),
    }


def delivery_of(plain: dict[str, Any], body: bytes = b"") -> Delivery:
    """Return a delivery for the result of `plain_delivery`, with `body` as its body and no URL."""
    received_at = datetime.fromisoformat(plain["received_at"])
    return Delivery(**{**plain, "received_at": received_at}, method="POST", url="", body=body)


def plain_event(event: Event) -> dict[str, Any]:
    """Return an event as JSON values."""
    plain = {field.name: getattr(event, field.name) for field in fields(event)}
    return {**plain, "occurred_at": event.occurred_at and event.occurred_at.isoformat()}


def event_of(plain: dict[str, Any]) -> Event:
    """Return the event for the result of `plain_event`."""
    occurred_at = plain["occurred_at"]
    return Event(**{**plain, "occurred_at": occurred_at and datetime.fromisoformat(occurred_at)})


def plain_plan(plan: EventPlan) -> dict[str, Any]:
    """Return the plan of an event, without the event."""
    plain = {field.name: getattr(plan, field.name) for field in fields(plan) if field.name != "event"}
    if "request" in plain:
        plain["request"] = _plain_request(plain["request"])
    return {"outcome": type(plan).__name__, **plain}


def _plain_request(request: RecallRequest | CancelRequest) -> dict[str, Any]:
    plain = {field.name: getattr(request, field.name) for field in fields(request)}
    return plain | {name: plain[name].isoformat() for name in _MOMENTS if name in plain}


def plan_from_plain(plain: dict[str, Any], event: Event, config: Config) -> EventPlan:
    """Return a plan from `plain_plan` for its event. A recall's dates are in the account's time zone."""
    values = {name: value for name, value in plain.items() if name != "outcome"}
    if "request" in values:
        values["request"] = _request_of(values["request"], config)
    if "notes" in values:
        values["notes"] = tuple(values["notes"])
    return _PLANS[plain["outcome"]](event=event, **values)


def _request_of(plain: dict[str, Any], config: Config) -> RecallRequest | CancelRequest:
    values = plain | {name: datetime.fromisoformat(plain[name]) for name in _MOMENTS if name in plain}
    if "recall_date" not in values:
        return CancelRequest(**values)
    zone = config.accounts[values["account"]].timezone
    values |= {name: values[name].astimezone(zone) for name in ("recall_date", "requested_date")}
    return RecallRequest(**{**values, "notes": tuple(values["notes"])})
