"""Models of the `[sources.NAME.lookup]` tables, one for each CRM whose events contain only an id."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from integration.domain.field_types import (
    BASE_URL_WORDS,
    HEADER_TEXT_WORDS,
    HOOK_URL_WORDS,
    BaseUrl,
    HeaderSecret,
    HookUrl,
    Table,
    Template,
    one_or_more,
)

HUBSPOT_CONTACTS: Final = "contacts"
# developers.hubspot.com, "Understanding the CRM", object type ids. A subscription has the singular name, a
# path the plural one, and an event of the newer form the id.
_HUBSPOT_OBJECTS: Final = {
    "0-1": HUBSPOT_CONTACTS,
    "contact": HUBSPOT_CONTACTS,
    "0-2": "companies",
    "company": "companies",
    "0-3": "deals",
    "deal": "deals",
    "0-5": "tickets",
    "ticket": "tickets",
    "0-7": "products",
    "product": "products",
    "0-8": "line_items",
    "line_item": "line_items",
}
_OBJECT_WORDS: Final = (
    '"contacts", "companies", "deals", "tickets", or a custom object\'s type id such as "2-3453932"'
)

_OBJECT: Final = "[A-Za-z0-9_-]{1,100}"


def hubspot_object(name: str) -> str:
    """Return the name of an object in paths of HubSpot's API: "deals" for "deal" and "0-3".

    Unknown names are returned unchanged.
    """
    return _HUBSPOT_OBJECTS.get(name.lower(), name)


def is_hubspot_object(name: object) -> bool:
    """Return True if `name` is a text in the form of a HubSpot object's name."""
    return isinstance(name, str) and re.fullmatch(_OBJECT, name) is not None


def hubspot_record(object_name: str, record: str) -> str:
    """Return the `lookup_id` of a record: the id of a contact, or "deals/123" for other objects."""
    return record if object_name == HUBSPOT_CONTACTS else f"{object_name}/{record}"


HubspotObject = Annotated[str, Field(pattern=f"^{_OBJECT}$"), AfterValidator(hubspot_object)]
Properties = Annotated[tuple[Template, ...], BeforeValidator(one_or_more)]


class Lookup(Table):
    """Base class of the lookups: how to read a CRM's record. `provider` is the CRM's name in messages."""

    provider: ClassVar[str]

    @property
    def sample_id(self) -> str:
        """An id of the right form, for a call that tests the settings."""
        return "1"

    @property
    def names(self) -> frozenset[str]:
        """The names that the lookup adds to templates."""
        return frozenset({"record"})

    @property
    def digest(self) -> str:
        """A digest of the settings, including secrets. It changes with the settings, and reveals none."""
        values = {
            key: value.get_secret_value() if isinstance(value, SecretStr) else value for key, value in self
        }
        return hashlib.sha256(repr(sorted(values.items())).encode()).hexdigest()[:16]


class HubspotLookup(Lookup):
    """The lookup of a HubSpot record, and of the record associated with it if `associated` is set."""

    provider: ClassVar[str] = "HubSpot"

    token: HeaderSecret = Field(description=HEADER_TEXT_WORDS)
    properties: Properties = Field(
        min_length=1, description="a list of the record's properties to read, not empty"
    )
    object: HubspotObject | None = Field(
        default=None, description=f"{_OBJECT_WORDS} (default: the object of the event)"
    )
    associated: HubspotObject | None = Field(
        default=None, description='the associated object to read as `contact`, such as "contacts"'
    )
    associated_properties: Properties | None = Field(
        default=None, description="a list of properties (default: those of `properties`)"
    )
    base_url: BaseUrl = Field(default="https://api.hubapi.com", description=BASE_URL_WORDS)
    api_version: Annotated[str, Field(pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$")] = Field(
        default="2026-03", description='a version of HubSpot\'s date-based API such as "2026-03"'
    )

    @property
    def sample_id(self) -> str:
        """An id of the right form, for a call that tests the settings."""
        return hubspot_record(self.object or HUBSPOT_CONTACTS, "1")

    @property
    def names(self) -> frozenset[str]:
        """The names that the lookup adds to templates: `record`, and `contact` if it reads one."""
        has_contact = self.associated is not None or self.object in {None, HUBSPOT_CONTACTS}
        return frozenset({"record", "contact"} if has_contact else {"record"})


_ID_WORDS: Final = "a template for the record's id, such as"


class Bitrix24Lookup(Lookup):
    """The lookup of a Bitrix24 lead, deal, contact or company and its contact, by inbound webhook."""

    # `secret_key` is the key that holds the secret.
    provider: ClassVar[str] = "Bitrix24"
    secret_key: ClassVar[str] = "url"  # noqa: S105  (the key of the table)

    kind: Literal["bitrix24"] = Field(description='"bitrix24"')
    url: HookUrl = Field(description=f"the address of an inbound webhook, {HOOK_URL_WORDS}")
    id: Template = Field(
        description=f'{_ID_WORDS} "{{{{ event.event }}}}/{{{{ event.data.FIELDS.ID }}}}": event, "/" and id'
    )

    @property
    def sample_id(self) -> str:
        """An id of the right form, for a call that tests the settings."""
        return "ONCRMCONTACTADD/1"

    @property
    def names(self) -> frozenset[str]:
        """The names that the lookup adds to templates: `record` and its `contact`."""
        return frozenset({"record", "contact"})


class MetaLeadLookup(Lookup):
    """The lookup of a lead of Meta's lead ads, through the Graph API."""

    provider: ClassVar[str] = "Meta"
    secret_key: ClassVar[str] = "token"  # noqa: S105  (the key of the table)

    kind: Literal["meta-lead-ads"] = Field(description='"meta-lead-ads"')
    token: HeaderSecret = Field(description=f"an access token of the page, {HEADER_TEXT_WORDS}")
    id: Template = Field(description=f'{_ID_WORDS} "{{{{ event.leadgen_id }}}}"')
    base_url: BaseUrl = Field(default="https://graph.facebook.com", description=BASE_URL_WORDS)
    api_version: Annotated[str, Field(pattern=r"^v[1-9][0-9]?\.[0-9]$")] = Field(
        default="v25.0", description='a version of the Graph API such as "v25.0"'
    )


JsonLookup = Bitrix24Lookup | MetaLeadLookup
JSON_LOOKUPS: Final[dict[str, type[Bitrix24Lookup | MetaLeadLookup]]] = {
    "bitrix24": Bitrix24Lookup,
    "meta-lead-ads": MetaLeadLookup,
}
