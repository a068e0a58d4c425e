"""The models of `/v1` and of webhook responses: validation, serialization and OpenAPI schemas.

The description of a field in a request completes the sentence "Use …" in the error for an invalid value.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from integration.domain.json_codec import read_json
from integration.domain.recall import State
from integration.domain.timestamps import from_epoch_ms, from_iso, iso_milliseconds, iso_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_TEXT = 256
MOST_ITEMS = 200
DEFAULT_ITEMS = 50
MOST_PAUSE_DAYS = 366
RECALL_ID = r"^rc_[0-9a-z]{8}[0-9a-f]{4}$"
CURSOR = r"^c1_[0-9a-z]{8}[0-9a-f]{4}$"
PARKED_CURSOR = r"^p1_[0-9]{1,15}_[0-9a-z]{8}[0-9a-f]{4}$"
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
_VISIBLE = r"[^\u0000-\u001F\u007F-\u009F\u2028\u2029]*"
ONE_LINE = rf"^{_VISIBLE}\S{_VISIBLE}$"

_TEXT_WORDS = f"one line of text of 1 to {LONGEST_TEXT} characters, or a number"
_LINE_WORDS = f"one line of text of 1 to {LONGEST_TEXT} characters"
_MOMENT_WORDS = "a time in ISO 8601 with an offset, such as 2027-06-03T15:30:00-05:00"
_UNTIL_WORDS = f"{_MOMENT_WORDS}. The range ends before this time"
_ISO_MOMENT = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:\d\d)"
_LIMIT_WORDS = f"a whole number from 1 to {MOST_ITEMS}"


def _whole_number(value: object) -> object:
    # Query parameters are texts. int() would also accept "1_0", " 5 " and digits of other scripts.
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isdecimal()
        and len(value) <= len(str(MOST_ITEMS))
    ):
        return int(value)
    return value


def _iso_moment(value: object) -> object:
    # pydantic would also accept numbers, and read a date alone as midnight.
    if isinstance(value, str) and not re.fullmatch(_ISO_MOMENT, value, re.ASCII):
        raise ValueError("not ISO 8601 with an offset")
    return value


_DateTime = WithJsonSchema({"type": "string", "format": "date-time"})
Seconds = Annotated[datetime, PlainSerializer(iso_seconds, return_type=str), _DateTime]
Milliseconds = Annotated[datetime, PlainSerializer(iso_milliseconds, return_type=str), _DateTime]

_Line = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT, pattern=ONE_LINE)]
Text = _Line | float
Moment = Annotated[AwareDatetime, BeforeValidator(_iso_moment)]
AccountName = Annotated[str, Field(pattern=NAME, examples=["bogota"])]
Limit = Annotated[
    int,
    Field(strict=True, ge=1, le=MOST_ITEMS, description=_LIMIT_WORDS),
    BeforeValidator(_whole_number),
]


class RequestModel(BaseModel):
    """Base class of requests. Unknown fields are errors. Only `strict=False` allows conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class ResponseModel(BaseModel):
    """Base class of responses. A model can be made from any object with the same attributes."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


# --- recalls -----------------------------------------------------------------------------------


class RecallRequestBody(RequestModel):
    """A callback to create. All fields except `account` also accept numbers."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "account": "bogota",
                    "campaign_id": "12345",
                    "customer_id": "80123456",
                    "recall_telephone": "+57 300 111 2233",
                    "recall_date": "2027-06-03T15:30:00-05:00",
                }
            ]
        }
    )

    account: AccountName = Field(description="the name of an account")
    campaign_id: Text = Field(description=_TEXT_WORDS, examples=["12345"])
    customer_id: Text = Field(description=_TEXT_WORDS, examples=["80123456"])
    recall_telephone: Text = Field(
        description="a valid telephone number of the account's country, or one with + and a country code",
        examples=["+57 300 111 2233"],
    )
    recall_date: Text = Field(
        description="a time in ISO 8601 (without an offset it is in the account's time zone), epoch seconds "
        "or milliseconds, or YYYYmmddHHMMSS, at most max_days_ahead of the account in the future. A date "
        "without a time is allowed if the account has calling hours",
        examples=["2027-06-03T15:30:00-05:00"],
    )


class RecallsQuery(RequestModel):
    """The query parameters of a list of recalls. Filters are combined with "and"."""

    # Query parameters are texts, also `state` and `limit`.
    model_config = ConfigDict(strict=False)

    state: State | None = Field(default=None, description=f"one of {', '.join(State)}")
    account: Annotated[str, Field(pattern=NAME)] | None = Field(
        default=None, description="the name of an account"
    )
    customer_id: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT)] | None = Field(
        default=None, description=f"a customer id of 1 to {LONGEST_TEXT} characters"
    )
    telephone: _Line | None = Field(
        default=None, description="a telephone number in any notation, or at least its last four digits"
    )
    campaign_id: _Line | None = Field(default=None, description=_LINE_WORDS)
    record_id: _Line | None = Field(
        default=None, description=f"the id of the record in the CRM, such as a deal: {_LINE_WORDS}"
    )
    source: _Line | None = Field(
        default=None, description="the name of a source, or api: followed by the name of a key"
    )
    route: _Line | None = Field(default=None, description=_LINE_WORDS)
    created_from: Moment | None = Field(default=None, description=_MOMENT_WORDS)
    created_until: Moment | None = Field(default=None, description=_UNTIL_WORDS)
    recall_from: Moment | None = Field(default=None, description=_MOMENT_WORDS)
    recall_until: Moment | None = Field(default=None, description=_UNTIL_WORDS)
    limit: Limit = DEFAULT_ITEMS
    cursor: Annotated[str, Field(pattern=CURSOR)] | None = Field(
        default=None, description="the `next` of the previous page"
    )


class AttemptModel(ResponseModel):
    """A call to wolkvox. `http_status`, `code` and `msg` are null if there was no response.

    `answer` is the body of the response, at most 64 KiB. Only the first 3 and the latest 20 attempts have
    it, and no attempt that wolkvox accepted. `seconds` is the duration of the call.
    """

    started_at: Milliseconds
    seconds: float
    http_status: int | None
    code: str | None
    msg: str | None
    outcome: str
    answer: str | None = None


class StateChangeModel(ResponseModel):
    """A change of the state of a recall, with its reason."""

    at: Milliseconds
    state: State
    reason: str


class RecallModel(ResponseModel):
    """A recall with its attempts and its changes of state.

    `requested_date` is the date of the request. `recall_date` is the date that is sent to wolkvox, after the
    calling hours are applied. `source` is the name of a source, or `api:` followed by the name of a key.
    """

    id: Annotated[str, Field(pattern=RECALL_ID)]
    state: State
    account: str
    campaign_id: str
    customer_id: str
    recall_telephone: str
    recall_date: Seconds
    requested_date: Seconds
    source: str
    route: str | None
    created_at: Milliseconds
    attempts: tuple[AttemptModel, ...]
    history: tuple[StateChangeModel, ...]
    reason: str | None


class RecallPage(ResponseModel):
    """A page of recalls, newest first. `next` is the cursor of the next page, null on the last page."""

    items: tuple[RecallModel, ...]
    next: Annotated[str, Field(pattern=CURSOR)] | None


# --- accounts ----------------------------------------------------------------------------------


class Me(ResponseModel):
    """The name of the API key and the names of the accounts that the key may see."""

    name: str
    accounts: tuple[str, ...]


def _aware_moment(value: object) -> object:
    # Pydantic alone would read a number as seconds since 1970.
    if value is None or isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("a text")  # noqa: TRY004 (pydantic reports this kind)
    return from_iso(value)


class PauseRequestBody(RequestModel):
    """The optional reason and the optional end of a pause."""

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT, pattern=ONE_LINE)] | None = Field(
        default=None,
        description=f"one line of text of 1 to {LONGEST_TEXT} characters",
        examples=["the campaign is being changed"],
    )
    until: Annotated[
        datetime | None,
        BeforeValidator(_aware_moment),
        WithJsonSchema({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
    ] = Field(
        default=None,
        description=f"a time in ISO 8601 with an offset, in the future and at most {MOST_PAUSE_DAYS} days "
        "ahead. Omit it to pause until the account is resumed",
    )


class AccountModel(ResponseModel):
    """An account with its queue. Accounts with the same token share a queue and its state.

    `oldest_seconds` is the age of the oldest queued recall, null if none is queued. `until` is the end of
    a wait or a pause, null if there is none. `daily_limit` is null if the account has no limit.
    """

    name: str
    state: Literal["idle", "busy", "waiting", "paused", "stopped"]
    reason: str | None
    until: Milliseconds | None
    queued: int
    dead: int
    pushed_today: int
    daily_limit: int | None
    oldest_seconds: float | None


class AccountList(ResponseModel):
    """The accounts that the key may see."""

    items: tuple[AccountModel, ...]


# --- parked events -----------------------------------------------------------------------------


class ParkedQuery(RequestModel):
    """The query parameters of a list of parked events."""

    model_config = ConfigDict(strict=False)

    source: Annotated[str, Field(pattern=NAME)] | None = Field(
        default=None, description="the name of a source"
    )
    route: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="the name of a route, 1 to 200 characters"
    )
    limit: Limit = DEFAULT_ITEMS
    cursor: Annotated[str, Field(pattern=PARKED_CURSOR)] | None = Field(
        default=None, description="the `next` of the previous page"
    )


class ParkedReason(ResponseModel):
    """The reason why an event could not be mapped: the field, what was found in it, what is allowed."""

    field: str
    found: str
    allowed: str


class ParkedEventModel(ResponseModel):
    """An event that could not be mapped. `event` is the event in the body of the webhook, as JSON."""

    id: str
    source: str
    route: str | None
    account: str | None
    reason: ParkedReason
    parked_at: Milliseconds
    received_at: Milliseconds
    event: Any

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Return the model of a parked event from its fields in the store."""
        event = read_json(record["event"])
        return cls(
            id=record["id"],
            source=record["source"],
            route=record["route"] or None,
            account=record["account"] or None,
            reason=ParkedReason(field=record["field"], found=record["found"], allowed=record["allowed"]),
            parked_at=from_epoch_ms(record["at"]),
            received_at=from_iso(record["received"]),
            event=event["data"],
        )


class ParkedPage(ResponseModel):
    """A page of parked events, newest first. `next` is the cursor of the next page, null on the last page."""

    items: tuple[ParkedEventModel, ...]
    next: Annotated[str, Field(pattern=PARKED_CURSOR)] | None


class RemapRequestBody(RequestModel):
    """The parked events to remap: those of a source, those of a route, or all."""

    source: Annotated[str, Field(pattern=NAME)] | None = Field(
        default=None, description="the name of a source", examples=["hubspot"]
    )
    route: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="the name of a route, 1 to 200 characters"
    )
    cursor: Annotated[str, Field(pattern=PARKED_CURSOR)] | None = Field(
        default=None, description="the `next` of the previous request, which ended early"
    )


class RemapModel(ResponseModel):
    """The result of a remap. `looked_at` is the number of examined events.

    `recalls` has the ids of the new recalls.
    """

    looked_at: int
    recalls: tuple[str, ...]
    pending: int = Field(description="the number of events that wait for a lookup")
    still_parked: int
    complete: bool = Field(
        description="false if it ended early: send the request again, with `next` as `cursor`"
    )
    next: str | None = Field(description="the cursor of the rest, null if `complete`")


# --- the webhooks' answers and errors ----------------------------------------------------------


class DeliveryModel(ResponseModel):
    """The result of a webhook. `recalls` has the ids of the new recalls.

    `pending` is the number of events that wait for a lookup. `cancelled` has the ids of recalls that the
    sender cancelled, `too_late` of those that wolkvox had already accepted. Both are omitted if empty.
    `pending` may be omitted if it is 0.
    """

    delivery: str
    recalls: tuple[str, ...]
    ignored: int
    parked: int
    pending: int = 0
    cancelled: tuple[str, ...] = ()
    too_late: tuple[str, ...] = ()


class ActionFields(ResponseModel):
    """The output fields of a HubSpot custom workflow action."""

    delivery: str
    recall_id: str
    outcome: Literal["recall", "cancelled", "too_late", "parked", "ignored"]
    hs_execution_state: Literal["SUCCESS", "FAIL_CONTINUE"]


class CustomActionModel(ResponseModel):
    """The response to a HubSpot custom workflow action."""

    outputFields: ActionFields  # noqa: N815  (HubSpot's word)


class OptionModel(ResponseModel):
    """An option of a drop-down field in HubSpot's workflow editor."""

    label: str
    description: str
    value: str


class OptionsModel(ResponseModel):
    """A page of options. `after` is the cursor of the next page, null on the last page."""

    options: tuple[OptionModel, ...]
    searchable: Literal[True]
    after: str | None = None


class FieldErrorModel(ResponseModel):
    """An invalid value, in the body (`pointer`, RFC 6901), in a query parameter or in a header."""

    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None
    detail: str


class Problem(ResponseModel):
    """An error (RFC 9457). `state` is the state of the recall if it does not permit the action."""

    type: Literal["about:blank"]
    title: str
    status: int
    detail: str | None = None
    errors: tuple[FieldErrorModel, ...] | None = None
    state: State | None = None
