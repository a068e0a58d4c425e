"""The pages of accounts: their queues, forecasts and quotas; pause, resume and test call."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from flask import request, url_for
from flask_babel import gettext as _

from integration.api.accounts import is_pause_end
from integration.config.models import zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.presenting.account_cache import account_snapshot
from integration.dashboard.presenting.account_labels import quota_label, state_options, weekdays
from integration.dashboard.presenting.account_overview import overview
from integration.dashboard.presenting.labels import label_for, state_label
from integration.dashboard.presenting.times import clock_with_zone
from integration.dashboard.responses import back_to, flash_message, note, page, person
from integration.dashboard.views.recalls import answer_text
from integration.domain.recall import Filter, State
from integration.domain.schedule import next_opening
from integration.domain.timestamps import read_iso
from integration.web.form_values import one_line, whole_number
from integration.web.metrics.gauges import in_need_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.dashboard.presenting.account_overview import QuotaUse
    from integration.dashboard.responses import FlashKind
    from integration.domain.account import Account, AccountView
    from integration.domain.recall import Recall
    from integration.services.accounts import FirstPush
    from integration.services.container import Services

PAGE_SIZE: Final = 50
LONGEST_REASON: Final = 200
MOST_DIGITS: Final = 6  # of the place where a page of the list starts
MORNING: Final = time(8)
_MINUTES: Final = {"30": 30, "60": 60}


@signed_in
def accounts(services: Services) -> Response:
    """List a page of the accounts that match the filters, most urgent first."""
    text, state = request.args.get("q", "").strip(), request.args.get("state", "")
    every = account_snapshot().views
    found = [view for view in every if _fits(view, text, state)]
    start = _start()
    names = [view.name for view in in_need_first(found)[start : start + PAGE_SIZE]]
    listed = services.accounts.all(names)
    return page(
        "accounts.html",
        accounts=listed,
        total=len(found),
        every=len(every),
        text=text,
        state=state,
        state_options=state_options(),
        first=_address(text, state),
        next=_address(text, state, start + PAGE_SIZE) if start + PAGE_SIZE < len(found) else None,
        zones={view.name: zone_of(services.config, view.name) for view in listed},
        **_forecast(services, listed),
    )


def _fits(view: AccountView, text: str, state: str) -> bool:
    return text.lower() in view.name.lower() and state in {"", view.state}


def _start() -> int:
    return whole_number(request.args.get("start", ""), MOST_DIGITS) or 0


def _address(text: str, state: str, start: int = 0) -> str:
    query: dict[str, Any] = {"q": text, "state": state, "start": start}
    return url_for("dashboard.accounts", **{name: value for name, value in query.items() if value})


def _forecast(services: Services, views: Sequence[AccountView]) -> dict[str, Any]:
    moment = services.store.now()
    forecasts = services.accounts.forecasts(views, moment)
    resets = services.accounts.quota_resets((view.name for view in views), moment)
    quotas: dict[str, QuotaUse] = {
        quota.account: quota for quota in overview(views, forecasts, resets).quotas
    }
    return {"forecasts": forecasts, "quotas": quotas, "moment": moment}


@signed_in
def account(services: Services, name: str) -> Response:
    """Show one account: its queue, forecast and settings. Raise NotFoundError."""
    view = services.accounts.get(name)
    settings = services.config.accounts.get(name)
    zone = zone_of(services.config, name)
    return page(
        "account.html",
        account=view,
        settings=settings,
        zone=zone,
        sharing=services.accounts.sharing_token(name),
        endpoint=None if settings is None else settings.endpoint,
        hours=None if settings is None else _hours(settings),
        routes=[route for route in services.config.routes if name in route.account_names],
        ends=_pause_ends(services, name),
        weekdays=weekdays(),
        quota_label=quota_label,
        latest_dead=_latest_dead(services, name),
        answer_text=answer_text,
        **_forecast(services, [view]),
    )


def _latest_dead(services: Services, name: str) -> Recall | None:
    """Return the newest dead recall of an account, or None."""
    records = services.recalls.records
    found = records.search.find(Filter(state=State.DEAD, accounts=frozenset({name})), limit=1)
    return next(iter(records.read(found.ids)), None)


def _hours(settings: Account) -> list[tuple[int, str]] | None:
    """Return the calling hours as pairs of weekday (0 is Monday) and text, or None if there are none."""
    if settings.calling_hours is None:
        return None
    return [
        (day, ", ".join(f"{begin:%H:%M}-{end:%H:%M}" for begin, end in windows))
        for day, windows in enumerate(settings.calling_hours.windows)
    ]


def _pause_ends(services: Services, name: str) -> list[tuple[str, str]]:
    """Return the buttons of a pause, as pairs of form value and label."""
    opening, zone = _next_opening(services, name), zone_of(services.config, name)
    if opening is None:
        morning = _("Pause until %(time)s", time=clock_with_zone(_tomorrow(services, name, MORNING), zone))
    else:
        morning = _("Pause until the opening, %(time)s", time=clock_with_zone(opening, zone))
    return [
        ("30", _("Pause for 30 minutes")),
        ("60", _("Pause for 1 hour")),
        ("morning", morning),
        ("resumed", _("Pause until it is resumed")),
    ]


def _tomorrow(services: Services, name: str, at: time) -> datetime:
    """Return a time of tomorrow (aware), on the account's clock."""
    zone = zone_of(services.config, name)
    return datetime.combine(services.store.now().astimezone(zone).date() + timedelta(days=1), at, zone)


def _next_opening(services: Services, name: str) -> datetime | None:
    """Return the first opening after today (aware); None without calling hours, or if they never open."""
    account = services.config.accounts.get(name)
    hours = None if account is None else account.calling_hours
    return None if hours is None else next_opening(hours, _tomorrow(services, name, time(0)))


@role("operator")
def pause_account(services: Services, name: str) -> ResponseReturnValue:
    """Pause an account, with an optional reason and end."""
    reason = one_line(request.form.get("reason", ""), LONGEST_REASON)
    back = url_for("dashboard.account", name=name)
    try:
        until = _pause_end(services, name, request.form.get("for", ""), request.form.get("until", "").strip())
    except ValueError as error:
        flash_message(str(error), "refused")
        return back_to(back)
    user = person().name
    services.accounts.pause(name, reason or f"paused by {user}", until, by=user)
    note(services, "pause", name)
    words = _("Paused until it is resumed. New recalls are queued.")
    if until is not None:
        at = clock_with_zone(until, zone_of(services.config, name))
        words = _("Paused until %(time)s; it then resumes by itself. New recalls are queued.", time=at)
    flash_message(words)
    return back_to(back)


def _pause_end(services: Services, name: str, chosen: str, text: str) -> datetime | None:
    """Return the end of a pause (aware), or None for a pause until it is resumed.

    `chosen` is a value of `_pause_ends`, or "time" for the time in `text` on the account's clock. Raise
    ValueError, with the message for the user, if one of them is not allowed, or if both are given.
    """
    moment = services.store.now()
    if chosen not in {"time", "morning", "resumed", *_MINUTES}:
        raise ValueError(_("Not paused: this duration is not offered. Choose one of the buttons."))
    if chosen == "time":
        until = read_iso(text, zone_of(services.config, name))
        if until is None or not is_pause_end(until, moment):
            raise ValueError(_("Not paused: the end must be a time in the future, within a year."))
        return until
    if text:
        raise ValueError(
            _("Not paused, because a time is also filled in. Clear it, or choose “Pause until this time”.")
        )
    if chosen == "morning":
        return _next_opening(services, name) or _tomorrow(services, name, MORNING)
    return moment + timedelta(minutes=_MINUTES[chosen]) if chosen in _MINUTES else None


@role("operator")
def resume_account(services: Services, name: str) -> ResponseReturnValue:
    """Resume the queue of an account, and show the result of the first push."""
    before = services.accounts.get(name)
    first = services.accounts.resume_and_watch(name)
    note(services, "resume", name)
    if before.state in {"idle", "busy"} and first.what != "held":
        flash_message(
            _("Nothing was changed, because the account was not paused, stopped or waiting."), "note"
        )
    else:
        flash_message(*_resumed(first))
    # The message for "refused" points to the answer of wolkvox, which only the page of the account shows.
    if request.form.get("page") == "attention" and first.what != "refused":
        return back_to(url_for("dashboard.attention"))
    return back_to(url_for("dashboard.account", name=name))


def _resumed(first: FirstPush) -> tuple[str, FlashKind]:
    """Return the message about a resumed account, and the kind of the message."""
    match first.what:
        case "held":
            words = _(
                "Resumed, but the queue is %(state)s again: %(reason)s",
                state=state_label(first.view.state),
                reason=label_for(first.view.reason),
            )
            return words, "refused" if first.view.state == "stopped" else "note"
        case "accepted":
            return _("Resumed. The first recall was sent, and wolkvox accepted it."), "done"
        case "refused":
            return _(
                "Resumed. The first recall was sent, and wolkvox rejected it; see its answer below."
            ), "note"
        case "nothing queued":
            return _("Resumed. No recall is queued."), "done"
        case "none yet":
            return _(
                "Resumed. No recall was sent within 6 seconds; the worker may be busy. Load the page "
                "again in a minute."
            ), "note"


@role("operator")
def test_account(services: Services, name: str) -> ResponseReturnValue:
    """Test the token of an account: read its campaigns from wolkvox, unless its queue is in use."""
    answer = services.accounts.test_call(name)
    note(services, "test call", name)
    words = _("Test call: %(message)s.", message=label_for(answer.message))
    if answer.words:
        words += " " + _("wolkvox answered: “%(words)s”", words=display_text.visible(answer.words))
    flash_message(words, "done" if answer.good else "refused")
    return back_to(url_for("dashboard.account", name=name))


VIEWS = (
    ("GET /accounts", accounts),
    ("GET /accounts/<name>", account),
    ("POST /accounts/<name>/pause", pause_account),
    ("POST /accounts/<name>/resume", resume_account),
    ("POST /accounts/<name>/test", test_account),
)
