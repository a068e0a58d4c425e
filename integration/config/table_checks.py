"""Checks within one table that its types cannot express: dependent keys and the format of secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonenumbers import SUPPORTED_REGIONS

from integration.config.descriptions import masked
from integration.config.source_models import JsonSource
from integration.config.source_models.checks import json_source_issues
from integration.domain.account import COUNTRY_WORDS, DIAL_FORMAT_WORDS
from integration.domain.field_types import ValidationIssue
from integration.domain.phone_numbers import dial_format_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.models import Config, Route
    from integration.config.reading import ConfigReading
    from integration.domain.account import Account


def check_each_table(reading: ConfigReading, config: Config) -> None:
    """Report the faults within each table. A check is skipped if the key it depends on has a fault."""
    for name, account in config.accounts.items():
        reading.report_all(("accounts", name), _account_issues(account))
    for name, source in config.sources.items():
        place = ("sources", name)
        if isinstance(source, JsonSource) and not reading.at_fault((*place, "verify")):
            reading.report_all(place, json_source_issues(source))
    for index, route in enumerate(config.routes):
        if not reading.at_fault(("routes", index, "action")):
            reading.report_all(("routes", index), _route_issues(route))


def _account_issues(account: Account) -> Iterator[ValidationIssue]:
    if account.country not in SUPPORTED_REGIONS:
        yield ValidationIssue(("country",), COUNTRY_WORDS)
    for index, country in enumerate(account.countries or ()):
        if country not in SUPPORTED_REGIONS:
            yield ValidationIssue(("countries", index), COUNTRY_WORDS)
    found = dial_format_fault(account.dial_format)
    if found:
        yield ValidationIssue(
            ("dial_format",), DIAL_FORMAT_WORDS, masked(f"a text with {found}", account.dial_format)
        )


def _route_issues(route: Route) -> Iterator[ValidationIssue]:
    for key, value in (("recall_telephone", route.recall_telephone), ("recall_date", route.recall_date)):
        if route.action == "recall" and value is None:
            yield ValidationIssue((key,), 'a template, because action = "recall" needs one')
        if route.action == "cancel" and value is not None:
            yield ValidationIssue(
                (key,), 'Remove the key: action = "cancel" uses only campaign_id and customer_id'
            )
