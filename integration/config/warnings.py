"""Warnings about a valid configuration that probably does not do what its author intends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from integration.config.cross_table_checks import secret_texts
from integration.config.source_models import HubspotSource, JsonSource
from integration.config.source_models.checks import ALL_PROOF_KEYS, PROOF_KEYS
from integration.domain.phone_numbers.dialling import has_country_code, needs_carrier, undialled_types

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.models import Config
    from integration.domain.account import Account

_SHORT_KEY: Final = 16
# wolkvox' API documentation: a call may take up to 60 s.
_WOLKVOX_CALL_SECONDS: Final = 60


def config_warnings(config: Config) -> tuple[str, ...]:
    """Return the warnings. Each says what the configuration does, and what to change."""
    return (
        *_idle_tables(config),
        *_queue_warnings(config),
        *_dialling_warnings(config),
        *_weak_checks(config),
        *_short_secrets(config),
        *_exposed_files(config),
        *_unknown_addresses(config),
        *_keys_without_effect(config),
        *_route_warnings(config),
        *_alert_warnings(config),
    )


def _idle_tables(config: Config) -> Iterator[str]:
    if not config.accounts:
        yield "There is no account, so no callback can be made. Add a table [accounts.NAME]."
    served = {route.source for route in config.routes}
    yield from (
        f"sources.{name} has no route: its events are parked. Add a table [[routes]]."
        for name in config.sources
        if name not in served
    )
    routed = {name for route in config.routes for name in route.account_names}
    reachable = [key.accounts for key in config.api_keys.values()]
    for name in config.accounts:
        if name not in routed and not any(accounts is None or name in accounts for accounts in reachable):
            yield (
                f"accounts.{name} has no route and no API key: it gets no recalls. "
                "Add a route or an API key, or remove the account."
            )


def _queue_warnings(config: Config) -> Iterator[str]:
    first: dict[str, Account] = {}
    for name, account in config.accounts.items():
        if account.server_limit_seconds < _WOLKVOX_CALL_SECONDS and account.base_url is None:
            yield (
                f"accounts.{name}.server_limit_seconds is below {_WOLKVOX_CALL_SECONDS}: "
                "a call may take that long at wolkvox, so two calls could run at once. Raise it."
            )
        other = first.setdefault(account.token.get_secret_value(), account)
        if other.timezone != account.timezone:
            yield (
                f"accounts.{name} and accounts.{other.name} share a token but not a time zone: "
                "quota_resets_at is a different moment for each. Use one time zone."
            )


def _dialling_warnings(config: Config) -> Iterator[str]:
    for name, account in config.accounts.items():
        place, own = f"accounts.{name}", account.country
        types = undialled_types(account.dial_format, own)
        if types:
            yield (
                f"{place}.dial_format is not how {' and '.join(types)} numbers of {own} are dialled inside "
                "the country. Use {dial} in place of {national}, or {e164} if the trunk expects the country "
                "code."
            )
        elif needs_carrier(account.dial_format, own):
            yield (
                f"{place}.dial_format has no carrier: calls to another area code of {own} are dialled with 0 "
                "and the digits of a carrier. Write them before the placeholder, or use {e164} if the trunk "
                "expects the country code."
            )
        foreign = sorted(set(account.countries or ()) - {own})
        if foreign and not has_country_code(account.dial_format):
            yield (
                f"{place}.countries has {', '.join(foreign)}, but dial_format writes no country code: their "
                f"numbers would be dialled as numbers of {own}. Use {{e164}}."
            )


def _short_secrets(config: Config) -> Iterator[str]:
    """Yield a warning for each short secret with which Ringback itself verifies or signs."""
    for use, place, secret in secret_texts(config):
        if use in {"key", "secret", "alert secret"} and len(secret.get_secret_value()) < _SHORT_KEY:
            name = ".".join(str(part) for part in place if isinstance(part, str)).removesuffix(".key")
            yield f"{name} is shorter than {_SHORT_KEY} characters and could be guessed. Use a longer one."


def _exposed_files(config: Config) -> Iterator[str]:
    for path in config.exposed_files:
        yield (
            f"{path} has a secret in it, and every user of this machine can read it. "
            f"Use env: or file: for the secret, or run: chmod o-r {path}"
        )


def _unknown_addresses(config: Config) -> Iterator[str]:
    urls = [
        config.dashboard.public_url,
        *(getattr(each, "public_url", None) for each in config.sources.values()),
    ]
    behind_proxy = any(url and url.startswith("https:") for url in urls)
    if behind_proxy and config.can_sign_in and config.dashboard.proxies == 0:
        yield (
            "dashboard.proxies is 0, but a public_url with https: needs a reverse proxy. All users then have "
            "the proxy's address: they share one limit of failed sign-ins, and the audit log lacks their "
            "addresses. "
            "Set proxies to the number of your reverse proxies."
        )


def _weak_checks(config: Config) -> Iterator[str]:
    for name, source in config.sources.items():
        weak = sorted({"v1", "v2"} & set(source.signatures)) if isinstance(source, HubspotSource) else []
        if weak:
            versions = " and ".join(weak)
            yield (
                f"sources.{name}.signatures has {versions}: these signatures have no timestamp, "
                'so that others can replay a delivery. Use "v3" where HubSpot sends it.'
            )


def _keys_without_effect(config: Config) -> Iterator[str]:
    for name, source in config.sources.items():
        if not isinstance(source, JsonSource):
            continue
        for key in sorted((ALL_PROOF_KEYS - PROOF_KEYS[source.verify]) & source.model_fields_set):
            yield f'sources.{name}.{key} has no effect with verify = "{source.verify}". Remove it.'


def _route_warnings(config: Config) -> Iterator[str]:
    names: set[str] = set()
    takes_all: dict[str, int] = {}
    for number, route in enumerate(config.routes, start=1):
        if route.name in names:
            yield (
                f"routes[{number}] has the name of an earlier route: reports cannot distinguish them. "
                "Rename it."
            )
        names.add(route.name)
        earlier = takes_all.get(route.source)
        if earlier:
            yield (
                f"routes[{number}] is never reached: "
                f"routes[{earlier}] takes every event of sources.{route.source}. Give that route a when."
            )
        elif route.when is None:
            takes_all[route.source] = number


def _alert_warnings(config: Config) -> Iterator[str]:
    alerts = config.alerts
    if alerts.rules and not alerts.channels:
        yield (
            "There are alerts.rules and no alerts.channels: alerts appear only on the dashboard. "
            "To receive messages, add a table [alerts.channels.NAME]."
        )
    if alerts.channels and not alerts.rules:
        yield (
            "There are alerts.channels and no alerts.rules: no alert is ever sent. "
            "Add a table [[alerts.rules]]."
        )
    limited = {name for name, account in config.accounts.items() if account.daily_limit}
    for number, rule in enumerate(alerts.rules, start=1):
        if rule.kind == "quota-used" and not limited & set(rule.accounts or config.accounts):
            yield (
                f"alerts.rules[{number}] watches daily_limit, but none of its accounts has a daily_limit. "
                "Set daily_limit, or remove the rule."
            )
