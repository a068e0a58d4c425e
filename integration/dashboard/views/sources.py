"""The pages of sources: their activity, and setup instructions for the CRM."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from flask import current_app, request
from flask_babel import gettext as _

from integration.alerts.rules import rule_label
from integration.config.alert_models import DeliveriesLost, LookupsFailing, NothingVerified, SourceSilent
from integration.config.models import lookups_of, zone_of
from integration.config.source_models import JsonSource, presets
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.charts.plots import Plot, PlotSeries, plot
from integration.dashboard.language import language
from integration.dashboard.presenting import setup
from integration.dashboard.presenting.times import hour_and_minute
from integration.dashboard.responses import note, page
from integration.domain.errors import NotFoundError
from integration.mapping.route_reads import compared_with, fields_of, under
from integration.webhooks.hook_urls import options_url
from integration.webhooks.hubspot_options import account_inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask import Response

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.services.container import Services
    from integration.store.monitoring.alerts import Alert
    from integration.store.monitoring.lookup_status import LookupStatus
    from integration.store.monitoring.source_status import HourlyDeliveries, SourceActivity

TICKS: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """A source with its activity.

    `state` is "waiting" (nothing accepted so far), "receiving", or "refused" (the latest deliveries were
    rejected). `taken`, `refused` and `lost` are numbers of deliveries in the last 24 hours.
    """

    source: Source
    address: setup.Address
    activity: SourceActivity
    state: str
    taken: int
    refused: int
    lost: int
    plot: Plot
    ticks: tuple[str, ...]
    alerts: tuple[Alert, ...]
    lookup: LookupStatus | None

    @property
    def is_failing(self) -> bool:
        """Return True if an alert about the source is active, or if its lookups fail."""
        return bool(self.alerts) or (self.lookup is not None and self.lookup.failure is not None)


@signed_in
def sources(services: Services) -> Response:
    """List the sources: first those with alerts or failing lookups, then those with rejections."""
    rows_by_name = _rows(services, list(services.config.sources))
    order = {"refused": 0, "waiting": 1, "receiving": 2}
    rows = sorted(
        rows_by_name.values(), key=lambda row: (not row.is_failing, order[row.state], row.source.name)
    )
    return page("sources.html", rows=rows, zone=zone_of(services.config))


@signed_in
def source(services: Services, name: str) -> Response:
    """Show one source: its activity and its setup. Raise NotFoundError."""
    settings = source_of(services, name)
    config, routes = services.config, services.config.routes_by_source[name]
    row = _rows(services, [name])[name]
    fields = fields_of(routes)
    sample = setup.sample_of(config, settings, datetime.now(UTC) + timedelta(days=1))
    command, preset = "", None
    if isinstance(settings, JsonSource):
        command = setup.command_of(settings, row.address.text, sample)
        preset = presets().get(settings.preset or "")
    return page(
        "source.html",
        row=row,
        settings=settings,
        routes=routes,
        fields=fields,
        inputs=under("inputFields", fields),
        dropdowns=account_inputs(routes),
        options_url=options_url(row.address.text),
        keys=setup.keys_of(fields),
        properties=compared_with(routes, "propertyName"),
        sample=sample,
        command=command,
        preset=preset,
        steps=() if preset is None else preset.steps(language()),
        rules=_rules(config, name),
        zone=zone_of(config),
    )


@role("operator")
def reveal_source(services: Services, name: str) -> Response:
    """Show a source's whole address, and record this in the audit log. Raise NotFoundError."""
    settings = source_of(services, name)
    note(services, "reveal", f"source:{name}")
    return page("revealed.html", text=setup.address_of(settings, _root(services.config), revealed=True).text)


def source_of(services: Services, name: str) -> Source:
    """Return the configured source with this name. Raise NotFoundError."""
    found = services.config.sources.get(name)
    if found is None:
        raise NotFoundError("no such source")
    return found


def _root(config: Config) -> str:
    """Return the receiver's base URL: [dashboard] public_url, else RECEIVER_URL, else the request's."""
    own: str | None = current_app.config["RECEIVER_URL"]
    return config.dashboard.public_url or own or request.url_root


def _rows(services: Services, names: Sequence[str]) -> dict[str, SourceRow]:
    now, config = datetime.now(UTC), services.config
    activity, days = services.source_status.activity(names), services.source_status.day(names, now)
    holding = [alert for alert in services.alerts.holding() if alert.on]
    root = _root(config)
    lookups = services.lookup_status.all(lookups_of(config))
    return {
        name: SourceRow(
            source=config.sources[name],
            address=setup.address_of(config.sources[name], root),
            activity=activity[name],
            state=_state(activity[name]),
            taken=sum(hour.taken for hour in days[name]),
            refused=sum(hour.refused for hour in days[name]),
            lost=sum(hour.lost for hour in days[name]),
            plot=_plot(days[name]),
            ticks=_ticks(config, days[name]),
            alerts=tuple(a for a in holding if a.subject == name and a.kind in _KINDS),
            lookup=lookups.get(name),
        )
        for name in names
    }


_KINDS: Final = frozenset({"source-silent", "nothing-verified", "deliveries-lost", "lookups-failing"})


def _state(activity: SourceActivity) -> str:
    if activity.refusing_since is not None:
        return "refused"
    return "waiting" if activity.taken is None else "receiving"


def _plot(day: Sequence[HourlyDeliveries]) -> Plot:
    return plot(
        PlotSeries(_("Accepted"), [hour.taken for hour in day], "first"),
        PlotSeries(_("Rejected"), [hour.refused for hour in day], "second"),
    )


def _ticks(config: Config, day: Sequence[HourlyDeliveries]) -> tuple[str, ...]:
    """Return the labels under the plot: times at equal distances, then "now"."""
    zone, begin, span = zone_of(config), day[0].at, day[-1].at - day[0].at
    times = (begin + span * place / (TICKS - 1) for place in range(TICKS - 1))
    return (*(hour_and_minute(time, zone) for time in times), _("now"))


def _rules(config: Config, name: str) -> tuple[str, ...]:
    """Return the texts of the alert rules that apply to a source."""
    return tuple(
        rule_label(rule)
        for rule in config.alerts.rules
        if isinstance(rule, SourceSilent | NothingVerified | DeliveriesLost | LookupsFailing)
        and (rule.sources is None or name in rule.sources)
    )


VIEWS = (
    ("GET /sources", sources),
    ("GET /sources/<name>", source),
    ("POST /sources/<name>/reveal", reveal_source),
)
