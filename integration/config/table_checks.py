"""Checks within one table that its types cannot express: dependent keys and the format of secrets.

Faults never quote a secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final

from phonenumbers import SUPPORTED_REGIONS

from integration.config.descriptions import masked
from integration.config.source_models import JsonSource
from integration.domain.account import COUNTRY_WORDS, DIAL_FORMAT_WORDS
from integration.domain.field_types import HEADER_TEXT_WORDS, URL_KEY_WORDS, ValidationIssue
from integration.domain.phone_numbers import dial_format_fault

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.models import Config, Route
    from integration.config.reading import ConfigReading
    from integration.domain.account import Account

NEEDS_SECRETS: Final = frozenset({"standard-webhooks", "hmac-sha256", "bearer", "basic", "header"})
NEEDS_HEADER: Final = frozenset({"hmac-sha256", "header"})

# The format of a secret by `verify`: a pattern for the whole secret, and its description.
_SECRET_SHAPES: Final = {
    "bearer": (r"[!-~]+", HEADER_TEXT_WORDS),
    "header": (
        r"[!-~]([ -~]*[!-~])?",
        "a text of visible ASCII characters, because it is sent in a header",
    ),
    "basic": (r"[^:]+:.*", '"USER:PASSWORD"'),
}

_WEBHOOK_KEY_WORDS: Final = (
    '"whsec_" and base64. Keys of asymmetric signatures, "whsk_" and "whpk_", are not supported'
)


def check_each_table(reading: ConfigReading, config: Config) -> None:
    """Report the faults within each table. A check is skipped if the key it depends on has a fault."""
    for name, account in config.accounts.items():
        reading.report_all(("accounts", name), _account_issues(account))
    for name, source in config.sources.items():
        place = ("sources", name)
        if isinstance(source, JsonSource) and not reading.at_fault((*place, "verify")):
            reading.report_all(place, _json_issues(source))
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


def _json_issues(source: JsonSource) -> Iterator[ValidationIssue]:
    needs = f'because verify = "{source.verify}" needs one'
    if source.verify in NEEDS_SECRETS and not source.secrets:
        yield ValidationIssue(("secrets",), f"a secret or a list of them, {needs}")
    if source.verify in NEEDS_HEADER and source.header is None:
        yield ValidationIssue(("header",), f'the name of a header such as "X-Signature", {needs}')
    if source.verify == "url-key" and source.url_key is None:
        yield ValidationIssue(("url_key",), f"{URL_KEY_WORDS}, {needs}")
    for index, secret in enumerate(source.secrets):
        allowed = _secret_shape(source.verify, secret.get_secret_value())
        if allowed:
            yield ValidationIssue(("secrets", index), allowed)


def _secret_shape(verify: str, secret: str) -> str | None:
    """Return a description of the required format, or None if the secret has it."""
    if verify == "standard-webhooks":
        return None if _is_webhook_secret(secret) else _WEBHOOK_KEY_WORDS
    pattern, words = _SECRET_SHAPES.get(verify, (".*", ""))
    return None if re.fullmatch(pattern, secret, re.DOTALL) else words


def _is_webhook_secret(secret: str) -> bool:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    if secret.startswith(("whsk_", "whpk_")):
        return False
    if not secret.startswith("whsec_"):
        return True
    try:
        return bool(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return False


def _route_issues(route: Route) -> Iterator[ValidationIssue]:
    for key, value in (("recall_telephone", route.recall_telephone), ("recall_date", route.recall_date)):
        if route.action == "recall" and value is None:
            yield ValidationIssue((key,), 'a template, because action = "recall" needs one')
        if route.action == "cancel" and value is not None:
            yield ValidationIssue(
                (key,), 'no such key, because action = "cancel" uses only campaign_id and customer_id'
            )
