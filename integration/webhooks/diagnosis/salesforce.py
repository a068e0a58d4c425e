"""Diagnose the organisation of Salesforce outbound messages. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from integration.config.source_models import SalesforceSource
from integration.domain.errors import UnreadableError
from integration.webhooks.diagnosis.findings import Diagnosis, Finding
from integration.webhooks.providers.salesforce import ID_LENGTH, organization_of

if TYPE_CHECKING:
    from integration.webhooks.diagnosis.findings import VerificationCase

_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")


def diagnose(case: VerificationCase) -> Diagnosis:
    """Return the diagnosis of a message with the right `url_key`."""
    try:
        organization = organization_of(case.delivery)
    except UnreadableError:
        organization = ""
    if not organization:
        return Diagnosis((Finding("organization missing"),), proved=False)
    if not _ID.fullmatch(organization):
        return Diagnosis(
            (Finding("organization", {"found": "?", "expected": _expected(case)}),), proved=False
        )
    facts = {"found": organization, "expected": _expected(case)}
    source = case.organizations.get(organization[:ID_LENGTH])
    if source is not None:
        return Diagnosis((Finding("organization of other source", {**facts, "source": source}),), proved=True)
    return Diagnosis((Finding("organization", facts),), proved=True)


def _expected(case: VerificationCase) -> str:
    return case.settings.organization_id if isinstance(case.settings, SalesforceSource) else ""
