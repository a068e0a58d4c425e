"""Checks across tables: references, shared secrets, and the settings of shared queues.

A fault about a shared secret contains the place of the other use, never the secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from integration.config.descriptions import nearest
from integration.config.source_models import lookup_of
from integration.config.tables import table_of
from integration.domain.field_types import SITE_WORDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from integration.config.alert_models import Channel
    from integration.config.descriptions import Place
    from integration.config.models import Config, Route
    from integration.config.reading import ConfigReading
    from integration.config.source_models.models import Source
    from integration.domain.account import Account


_ALL_OR_NONE: Final = "all accounts of a token or none of them, because they share one queue"


def check_across_tables(reading: ConfigReading, config: Config) -> None:
    """Report the inconsistencies between tables to `reading`."""
    _check_names(reading, config)
    _check_shared_texts(reading, config)
    _check_shared_queues(reading, config)
    _check_limited_keys(reading, config)
    if config.oidc is not None and config.dashboard.public_url is None:
        allowed = f"{SITE_WORDS}. [oidc] redirects users to it after sign-in"
        reading.report(("dashboard", "public_url"), allowed)


def _check_names(reading: ConfigReading, config: Config) -> None:
    accounts, sources = (table_of(reading, key).keys() for key in ("accounts", "sources"))
    for index, route in enumerate(config.routes):
        if route.source not in sources:
            reading.report(("routes", index, "source"), nearest(route.source, sources, "the sources"))
        _check_account(reading, ("routes", index), route, accounts)
    for name in config.api_keys:
        _check_listed(reading, ("api_keys", name, "accounts"), accounts, "the accounts")
    rules = table_of(reading, "alerts").get("rules")
    for index in range(len(rules) if isinstance(rules, list) else 0):
        _check_rule(reading, ("alerts", "rules", index), config)


def _check_account(reading: ConfigReading, place: Place, route: Route, accounts: Collection[str]) -> None:
    listed = (*place, "accounts")
    if route.has_account_template:
        if route.accounts is None and not reading.at_fault(listed):
            reading.report(listed, "a list of the accounts that the template in account may return")
    elif route.accounts is not None:
        allowed = "Remove the key: account is the name of one account, and only a template needs the list"
        reading.report(listed, allowed)
    elif route.account not in accounts:
        reading.report((*place, "account"), nearest(route.account, accounts, "the accounts"))
    _check_listed(reading, listed, accounts, "the accounts")


def _check_rule(reading: ConfigReading, place: Place, config: Config) -> None:
    accounts, sources = (table_of(reading, key).keys() for key in ("accounts", "sources"))
    channels = table_of(reading, "alerts").get("channels")
    named = channels.keys() if isinstance(channels, dict) else ()
    _check_listed(reading, (*place, "accounts"), accounts, "the accounts")
    _check_listed(reading, (*place, "sources"), sources, "the sources")
    _check_listed(reading, (*place, "channels"), named, "the channels")
    name = reading.value((*place, "hours_of"))
    if isinstance(name, str):
        timed = [account.name for account in config.accounts.values() if account.calling_hours]
        if name not in timed and not reading.at_fault(("accounts", name)):
            reading.report((*place, "hours_of"), nearest(name, timed, "the accounts with calling_hours"))


def _check_listed(reading: ConfigReading, place: Place, known: Collection[str], kind: str) -> None:
    listed = reading.value(place)
    for index, name in enumerate(listed if isinstance(listed, list) else [listed]):
        if isinstance(name, str) and name not in known:
            reading.report((*place, index), nearest(name, known, kind))


def secret_texts(config: Config) -> Iterator[tuple[str, Place, SecretStr]]:
    """Yield the use, the place and the value of every secret, except password hashes."""
    for name, account in config.accounts.items():
        yield "token", ("accounts", name, "token"), account.token
    for source in config.sources.values():
        yield from _secrets_of_source(source)
    for channel in config.alerts.channels.values():
        yield from _secrets_of_channel(channel)
    for name, key in config.api_keys.items():
        yield "key", ("api_keys", name, "key"), key.key
    if config.oidc is not None:
        yield "client_secret", ("oidc", "client_secret"), config.oidc.client_secret


def _secrets_of_source(source: Source) -> Iterator[tuple[str, Place, SecretStr]]:
    place = ("sources", source.name)
    secrets = () if source.kind == "salesforce" else source.secrets
    yield from (("secret", (*place, "secrets", index), each) for index, each in enumerate(secrets))
    if source.url_key:
        yield "url_key", (*place, "url_key"), source.url_key
    if source.kind == "json" and source.verify_token:
        yield "verify_token", (*place, "verify_token"), source.verify_token
    if lookup := lookup_of(source):
        secrets_of_lookup = ((key, value) for key, value in lookup if isinstance(value, SecretStr))
        yield from (("lookup", (*place, "lookup", key), value) for key, value in secrets_of_lookup)


def _secrets_of_channel(channel: Channel) -> Iterator[tuple[str, Place, SecretStr]]:
    place = ("alerts", "channels", channel.name)
    if channel.kind == "email":
        if channel.password:
            yield "password", (*place, "password"), channel.password
        return
    yield "url", (*place, "url"), channel.url
    if channel.kind == "webhook" and channel.secret:
        yield "alert secret", (*place, "secret"), channel.secret


def _check_shared_texts(reading: ConfigReading, config: Config) -> None:
    """Report each secret that has two uses, and each API key or `url_key` that occurs twice.

    One caller of such a secret could act as the other. Other secrets may be shared for the same use:
    accounts with one token share a queue, and sources with one secret are one app with several URLs.
    """
    first: dict[str, tuple[str, Place]] = {}
    for use, place, secret in secret_texts(config):
        other_use, other = first.setdefault(secret.get_secret_value(), (use, place))
        if other != place and (use != other_use or use in {"key", "url_key"}):
            found = f"the same text as {reading.spelled(reading.written(other))}"
            reading.report(place, "another text, because one caller could act as the other", found)


def _check_shared_queues(reading: ConfigReading, config: Config) -> None:
    first: dict[str, Account] = {}
    for account in config.accounts.values():
        other = first.setdefault(account.token.get_secret_value(), account)
        for key, mine, theirs in _queue_settings(account, other):
            if mine != theirs and not any(
                reading.at_fault(("accounts", other.name, k)) for k in _equivalent_keys(key)
            ):
                place = ("accounts", account.name, key)
                default = "missing" if mine is None else f"left out (default: {mine})"
                found = default if reading.value(place) is None else None
                reading.report(place, f"the value of accounts.{other.name}, which has the same token", found)


def _check_limited_keys(reading: ConfigReading, config: Config) -> None:
    """Report each API key that may use only some of the accounts that share a queue.

    Its caller could pause the queue of the other accounts, and supersede their recalls.
    """
    queues: dict[str, set[str]] = {}
    for account in config.accounts.values():
        queues.setdefault(account.token.get_secret_value(), set()).add(account.name)
    shared = [accounts for accounts in queues.values() if len(accounts) > 1]
    for name, key in config.api_keys.items():
        allowed = key.accounts or frozenset()
        for accounts in shared:
            inside, outside = accounts & allowed, accounts - allowed
            if inside and outside:
                found = f"a list with {min(inside)} and without {min(outside)}, which has the same token"
                reading.report(("api_keys", name, "accounts"), _ALL_OR_NONE, found)


def _equivalent_keys(key: str) -> tuple[str, ...]:
    return ("server", "base_url") if key in {"server", "base_url"} else (key,)


def _queue_settings(account: Account, other: Account) -> Iterator[tuple[str, Any, Any]]:
    """Yield each key that must be equal in accounts of one queue, with the values of both accounts."""
    yield ("server" if account.server else "base_url"), account.endpoint, other.endpoint
    for key in ("timeout_seconds", "server_limit_seconds", "daily_limit", "quota_resets_at"):
        yield key, getattr(account, key), getattr(other, key)
