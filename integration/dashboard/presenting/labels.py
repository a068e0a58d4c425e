"""Translations of reasons and push outcomes into the user's language.

The store keeps reasons in English, as in the log and `/v1`. A text that is not listed here, for example
one that an operator typed, is shown unchanged.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from flask_babel import gettext

from integration.dashboard.presenting.delivery_texts import DELIVERY_TEXTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _(text: str) -> str:
    """Return the text unchanged. The name `_` marks the text for extraction."""
    return text


# From integration/clients/wolkvox_protocol.py and wolkvox.py.
_OF_CALLS: Final[Sequence[str]] = (
    _("wolkvox answered 202: recorded, not yet called"),
    _("wolkvox rejects the token: check the account's token and server, then resume the account"),
    _("wolkvox has no such API at this address: check the account's server, then resume the account"),
    _("wolkvox reports missing or invalid parameters: check campaign, customer, telephone and date"),
    _("wolkvox reports that the token's daily limit is reached; calls continue after the reset"),
    _("wolkvox reports simultaneous calls with this token: give Ringback a token of its own"),
    _("wolkvox rejects calls for now (403), for example during maintenance"),
    _("wolkvox timed out before it had the whole request (408)"),
    _("wolkvox reports too many requests (429)"),
    _("wolkvox answered with a success code other than the documented 202"),
    _("wolkvox answered with a redirect, which is not followed: check the account's server"),
    _("wolkvox rejected the callback; its answer gives the reason"),
    _("wolkvox reports a server error (5xx)"),
    _("wolkvox's answer neither accepts nor rejects the callback"),
    _("the answer is not JSON, so it may not be from wolkvox: check the account's server"),
    _("the worker died while it was pushing"),
    _("the request was not sent"),
    _("wolkvox sent no complete answer"),
    _("no complete answer within %(seconds)s s"),
    _("the answer is larger than %(size)s KiB"),
    _("the answer is incomplete or not valid HTTP"),
    _("the connection was lost before the answer was complete"),
    _("the request is not valid HTTP: check the account's token and server for special characters"),
    _("DNS: %(words)s"),
    _("connect: %(words)s"),
    _("TLS: %(words)s"),
    _("no answer in time"),
    _("the server's name was not found"),
    _("the server's certificate is not valid (%(why)s)"),
    _("the handshake failed (%(why)s)"),
)

# From workers/retry.py, workers/drain.py, store/token_queue.py, services/accounts.py and the Lua scripts.
_OF_QUEUES: Final[Sequence[str]] = (
    _(
        "wolkvox refused %(number)s recalls in a row with the same text: fix the cause that the last answer "
        "names, then resume the account"
    ),
    _("the recall failed repeatedly while other recalls passed; last fault: %(words)s"),
    _("workers died while pushing the recall, and others passed"),
    _("this worker has not loaded the account's configuration yet"),
    _("no time was left to send the request"),
    _("dry-run: the call was not sent to wolkvox"),
    _("the daily limit is used up"),
    _("quiet time: wolkvox may still be working on a call"),
    _("due, but no worker has taken it: check that workers are running and not all busy"),
    _("a recall is being pushed"),
    _("a test call is being made"),
    _(
        "workers have taken no wake-ups since %(time)s UTC, so callbacks are sent late: check BROKER_URL, "
        "then restart the workers"
    ),
    _("paused by the operator"),
    _("paused by %(name)s"),
    _("the account is no longer in the configuration"),
    _("the store lost data, so calls that it has no record of may be running"),
    _("the store has just been started"),
)

# From integration/services/connection_probe.py and services/accounts.py.
_OF_TEST_CALLS: Final[Sequence[str]] = (
    _("wolkvox accepts the token; campaigns listed: %(number)s"),
    _("%(words)s; wolkvox may still be working on the call"),
    _("no test call was made: %(words)s"),
    _("a call may be running on this token; try again in a moment"),
    _("the queue waits: %(words)s"),
    _("too many test calls are running; try again in a moment"),
)

# From integration/clients/lookups: why the records of a CRM cannot be read.
_OF_LOOKUPS: Final[Sequence[str]] = (
    _("HubSpot rejects the token: check the lookup's token (%(status)s)"),
    _("HubSpot rejects the token: it may lack the scope %(scope)s (%(status)s)"),
    _("HubSpot rejects the request: check the lookup's object and properties (%(status)s)"),
    _(
        "HubSpot has no such object or API at this address: check the lookup's object and base_url "
        "(%(status)s)"
    ),
    _("HubSpot's daily limit is reached (429)"),
    _("HubSpot's rate limit is reached (429)"),
    _("HubSpot's answer has no list of results"),
    _("HubSpot's answer is incomplete: its status is not COMPLETE"),
    _("a result in HubSpot's answer has an undocumented form"),
    _("HubSpot could not read some of the records"),
    _("HubSpot could not read some of the associations"),
    _("HubSpot could not read the record"),
    _("HubSpot's answer does not contain the record"),
    _("Bitrix24's answer has no results"),
    _("Bitrix24 did not return the record: check the read permissions of the inbound webhook's user"),
    _("Bitrix24's rate limit is reached"),
    _("Bitrix24's rate limit is reached (%(code)s)"),
    _("Bitrix24 has no inbound webhook at this address: check the lookup's url (%(status)s)"),
    _(
        "Bitrix24 rejects the inbound webhook: check the lookup's url and the webhook's permission CRM (crm) "
        "(%(status)s)"
    ),
    _("HubSpot answered too slowly to read all records within 40 s; the others are tried again"),
    _("Meta answered too slowly to read all leads within 40 s; the others are tried again"),
    _("Meta found no lead with this id, or the token has no permission to read it"),
    _("Meta's answer has no field_data"),
    _("Meta's rate limit is reached (code %(code)s)"),
    _("Meta rejects the token: check the lookup's token (code %(code)s)"),
    _("Meta rejects the token: it may lack the permission leads_retrieval (code %(code)s)"),
    _("%(provider)s answered %(status)s"),
    _("no complete answer from %(provider)s within %(seconds)s s"),
    _("%(provider)s cannot be reached: check the network and DNS"),
    _("the connection to %(provider)s was lost"),
    _("%(provider)s's answer is larger than 4 MiB"),
    _("%(provider)s's answer is not JSON"),
    _("%(provider)s's answer is not a JSON object"),
)

# From integration/store/lua, domain/schedule, the dashboard and the command line.
_OF_RECALLS: Final[Sequence[str]] = (
    _("admitted"),
    _("a newer request: %(recall)s"),
    _("taken back by the CRM"),
    _("taken back by the CRM, too late: wolkvox already has it"),
    _("the customer no longer wants the call"),
    _("the date was in the past, and the account has late = drop"),
    _("the date was in the past, late = asap: moved to %(minutes)s minutes from now"),
    _("earlier than min_lead_minutes allows: moved to %(minutes)s minutes from now"),
    _("moved to the next opening of the calling hours"),
    _("there are no calling hours within %(days)s days"),
    _("retried by %(name)s"),
    _("requested again by %(name)s"),
    _("cancelled by %(name)s"),
    _("retried by %(name)s, with others"),
    _("cancelled by %(name)s, with others"),
    _("retried on the command line"),
    _("cancelled on the command line"),
    _("the customer has a newer request, which replaces this recall"),
)

# From integration/mapping, domain/dates and domain/schedule: why an event could not be mapped.
_OF_EVENTS: Final[Sequence[str]] = (
    _("it has no `when`"),
    _("its `when` is true"),
    _("its `when` is false"),
    _("not reached: an earlier route decided"),
    _("a text shaped like %(shape)s"),
    _("a number shaped like %(shape)s"),
    _("a blank text"),
    _("an absent field"),
    _("%(place)s, which this event does not have"),
    _("%(place)s, which this contact does not have"),
    _("a field that is in the stored delivery, or the filter default"),
    _("a property that the lookup reads and the contact has, or the filter default"),
    _("%(place)s, which this record does not have"),
    _("a property that the lookup reads and the record has, or the filter default"),
    _("%(place)s, which is null"),
    _("%(place)s, which is blank"),
    _("a date without a time"),
    _("a date without a time, and the account has no calling_hours"),
    _("a date without a time, and no calling hours after it"),
    _("a moment that is not midnight"),
    _("a time shaped like %(shape)s"),
    _("a date more than %(days)s days ahead"),
    _("an invalid date format"),
    _("a date in a year that is out of range"),
    _("a date with an offset that no time zone has"),
    _("a number out of range"),
    _("a control character or line break"),
    _("%(number)s characters"),
    _("a text with %(found)s"),
    _("missing"),
    _("invalid JSON"),
    _("more than %(number)s levels"),
    _("a text with JSON"),
    _("a value"),
    _("one line of text"),
    _("missing, because this source has no route"),
    _("too slow, or needs too much memory"),
    _("simpler templates"),
    _("Add a table [[routes]] with source = this source's name"),
    _("an account that this route may not use"),
    _("one of its accounts (%(names)s)"),
    _("a record that the lookup can read"),
    _("an invalid strftime format"),
    _("directives without a width"),
    _("at most %(number)s"),
    _("a date, or midnight UTC of a date"),
    _("a text in the format %(format)s"),
    _("HH:MM, HH:MM:SS or HH:MM:SS.sssZ"),
    _("a format that `ringback check` accepts"),
    _("a date within max_days_ahead of the account, or raise max_days_ahead if the field is right"),
    _(
        "ISO 8601, epoch seconds (10 digits), milliseconds (13 digits), microseconds (16 digits) or "
        "nanoseconds (19 digits), YYYYmmddHHMMSS, RFC 2822, /Date(milliseconds)/, a date alone where the "
        "account has calling_hours, years 2000 to 2100; other forms by date(format)"
    ),
)

# From integration/domain/phone_numbers: why a number is not dialled, and what is allowed.
_OF_NUMBERS: Final[Sequence[str]] = (
    _("a text without a number"),
    _("a number with letters in it"),
    _("digits instead of letters"),
    _("a text with characters that are not part of a telephone number"),
    _("a number in scientific notation, which has lost digits"),
    _("a negative number, which a spreadsheet computes from a number with dashes"),
    _("all digits; export the column as text from the spreadsheet"),
    _("a number with an extension, which is not dialled"),
    _("the number alone; put the extension into a separate field"),
    _("a number with an extension or one digit too many"),
    _("several numbers"),
    _("one number; put the others into separate fields"),
    _("a number with two different country codes"),
    _("one country code"),
    _("a number that is incomplete or has no country code"),
    _("a number without its area code"),
    _("the whole number, with its area code"),
    _("a number with too few digits"),
    _("a number with too many digits"),
    _("a number with a length that does not exist in its country"),
    _("a number with a country code that does not exist"),
    _("a number of an earlier numbering plan, or one with a digit missing"),
    _("the number as it is dialled today, with + and its country code"),
    _("a number that can be read as two different numbers"),
    _("a 1 before ten digits: the country code 1, or a prefix that Mexico abolished in 2019"),
    _("the ten digits alone, or the number with + and its country code"),
    _("a number that does not exist in the numbering plan of %(country)s"),
    _("a number of %(country)s, a country that the account does not dial"),
    _(
        "a number of the account's country; to dial numbers of other countries, add the countries "
        "to `countries` and write {e164} in dial_format"
    ),
    _("a number of a service, such as a pager, a personal number or voicemail"),
    _("a premium-rate number, which costs the caller extra"),
    _("a shared-cost number, which costs the caller extra"),
    _("a toll-free number, which does not belong to a customer"),
    _("a fixed, mobile or VoIP number of a customer"),
    _(
        "a fixed, mobile or VoIP number of a customer; to dial toll-free numbers, set toll_free = true in "
        "the account"
    ),
    _("a telephone number that exists: digits, of the account's country or with + and a country code"),
)

# From integration/store/audit.py and config/loader.py: an actor, and places in a faulty file.
_OF_ACTORS_AND_FILES: Final[Sequence[str]] = (
    _("command line"),
    _("the file"),
    _("line %(line)s, column %(column)s"),
    _("end of document"),
)

VERDICTS: Final[Mapping[str, str]] = {
    "accepted": _("accepted"),
    "refused": _("rejected by wolkvox"),
    "wait": _("must wait"),
    "concurrency": _("token in use elsewhere"),
    "quota": _("calls of the day used up"),
    "stopped": _("stopped"),
    "not_sent": _("not sent"),
    "unknown": _("no clear answer"),
    "worker lost": _("worker lost"),
}
"""Labels of push outcomes by `clients.wolkvox_protocol.Kind`; "worker lost" is set by the store."""

STATES: Final[Mapping[str, str]] = {
    "queued": _("queued"),
    "pushing": _("pushing"),
    "accepted": _("accepted"),
    "dead": _("dead"),
    "superseded": _("superseded"),
    "cancelled": _("cancelled"),
    "expired": _("expired"),
    "simulated": _("simulated"),
    "idle": _("idle"),
    "busy": _("busy"),
    "waiting": _("waiting"),
    "paused": _("paused"),
    "stopped": _("stopped"),
}
"""Labels of the states of recalls and of queues."""

_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s")

KNOWN: Final[Sequence[str]] = (
    *_OF_CALLS,
    *_OF_QUEUES,
    *_OF_TEST_CALLS,
    *_OF_LOOKUPS,
    *_OF_RECALLS,
    *_OF_EVENTS,
    *_OF_NUMBERS,
    *_OF_ACTORS_AND_FILES,
    *DELIVERY_TEXTS,
)


def label_for(text: str | None) -> str:
    """Return a reason in the language of the current request; "" for None.

    A text that is not in KNOWN is returned unchanged. Values in a text are translated in the same way.
    """
    reason = text or ""
    if reason in KNOWN:
        return str(gettext(reason))
    for shape, words in _shapes():
        found = shape.fullmatch(reason)
        if found is not None:
            arguments = {name: label_for(value) for name, value in found.groupdict().items()}
            return str(gettext(words, **arguments))
    return reason


def verdict_word(verdict: str) -> str:
    """Return the label of a push outcome in the language of the request; an unknown outcome unchanged."""
    return str(gettext(VERDICTS[verdict])) if verdict in VERDICTS else verdict


def state_label(state: str) -> str:
    """Return the label of a state of a recall or a queue; an unknown state unchanged."""
    return str(gettext(STATES[state])) if state in STATES else state


@cache
def _shapes() -> tuple[tuple[re.Pattern[str], str], ...]:
    with_placeholders = [words for words in KNOWN if _PLACEHOLDER.search(words)]
    # Longest first: the name in "retried by NAME, with others" must not match "NAME, with others".
    return tuple((_shape(words), words) for words in sorted(with_placeholders, key=_weight, reverse=True))


def _weight(words: str) -> int:
    return len(_PLACEHOLDER.sub("", words))


def _shape(words: str) -> re.Pattern[str]:
    parts = _PLACEHOLDER.split(words)
    return re.compile(
        "".join(f"(?P<{part}>.+)" if place % 2 else re.escape(part) for place, part in enumerate(parts)),
        re.DOTALL,
    )
