"""The calendar: queued recalls and recalls accepted by wolkvox, by hour and campaign."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from flask import request, url_for

from integration.config.models import zone_of
from integration.dashboard.auth.roles import signed_in
from integration.dashboard.charts.heat_map import HeatMap, local_text
from integration.dashboard.responses import page

if TYPE_CHECKING:
    from flask import Response

    from integration.dashboard.charts.heat_map import HeatCell
    from integration.services.container import Services

DAYS: Final = 7
MOST_ROWS: Final = 40


@signed_in
def calendar(services: Services) -> Response:
    """Show queued and accepted recalls: seven days by hour, and one day by campaign."""
    config, now = services.config, datetime.now(UTC)
    account = request.args.get("account", "")
    names = [account] if account in config.accounts else sorted(config.accounts)
    chosen = account if account in config.accounts else ""
    accounts = {name: config.accounts[name] for name in names}
    heat = HeatMap(services.schedule.of(names), zone_of(config, chosen or None), accounts, now)
    day = _day(request.args.get("day", ""), heat.today)
    week, campaigns = heat.by_day(DAYS), heat.by_campaign(day)
    return page(
        "calendar.html",
        accounts=[(name, name) for name in sorted(config.accounts)],
        account=chosen,
        week=week,
        day=day,
        campaigns=campaigns[:MOST_ROWS],
        more=max(0, len(campaigns) - MOST_ROWS),
        past_due=heat.past_due(),
        past_href=_recalls_address(
            chosen, "queued", due_until=local_text(now.astimezone(zone_of(config, chosen or None)))
        ),
        beyond=heat.beyond(heat.today + timedelta(days=DAYS - 1)),
        queued=heat.queued(),
        accepted=heat.accepted(),
        opening=next((cell.begins.hour for cell in week[0].cells if not cell.closed), 0),
        day_href=lambda row: url_for(
            "dashboard.calendar", **_without_empty(account=chosen), day=row.day.isoformat()
        ),
        cell_href=lambda cell, state, campaign: _cell_href(chosen, cell, state, campaign),
        zone=zone_of(config, chosen or None),
    )


def _day(text: str, today: date) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return today


def _without_empty(**filters: str) -> dict[str, Any]:
    return {name: value for name, value in filters.items() if value}


def _recalls_address(account: str, state: str, **filters: str) -> str:
    return url_for("dashboard.recalls", **_without_empty(state=state, account=account, **filters))


def _cell_href(account: str, cell: HeatCell, state: str, campaign: str) -> str:
    return _recalls_address(
        account,
        state,
        campaign=campaign,
        due_from=local_text(cell.begins),
        due_until=local_text(cell.ends),
    )


VIEWS = (("GET /calendar", calendar),)
