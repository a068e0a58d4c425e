"""Models of the `[sources.NAME]` tables, one for each `kind`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from integration.config.source_models.lookups import HubspotLookup, JsonLookup, Lookup
from integration.config.source_models.public_keys import PUBLIC_KEY_WORDS, read_public_key
from integration.config.source_models.signed_content import SIGNED_WORDS, is_signed_template
from integration.domain.field_types import (
    PUBLIC_URL_WORDS,
    URL_KEY_WORDS,
    Name,
    Number,
    PublicUrl,
    Secret,
    Table,
    Template,
    UrlKey,
    Whole,
    invalid,
    one_or_more,
)

HEADER_NAME_WORDS: Final = 'the name of a header without "_", such as "X-Signature"'
# The web drops headers with `_` in their name.
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^`|~0-9A-Za-z-]+$")]


def _signed_template(text: str) -> str:
    if not is_signed_template(text):
        raise invalid(SIGNED_WORDS)
    return text


def _public_key(text: str) -> str:
    try:
        read_public_key(text)
    except ValueError:
        raise invalid(PUBLIC_KEY_WORDS) from None
    return text


PublicKey = Annotated[str, AfterValidator(_public_key)]


class _Source(Table):
    name: Name
    rate_per_minute: Whole | None = Field(
        default=None, ge=1, description="a whole number of requests a minute, 1 or more (default: no limit)"
    )
    event_time: Template | None = Field(
        default=None, description="a template for the CRM's time of the event (default: the time of arrival)"
    )
    url_key: UrlKey | None = Field(default=None, description=URL_KEY_WORDS)
    dedup_hours: Number = Field(
        default=168, gt=0, le=8784, description="a number of hours, more than 0 and at most 8784"
    )
    resends: bool = Field(default=True, description="true or false")


class HubspotSource(_Source):
    """A source of HubSpot: app subscriptions, the action "Send a webhook", custom workflow actions."""

    kind: Literal["hubspot"] = Field(description='"hubspot"')
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(one_or_more)] = Field(
        min_length=1,
        description="the app's client secret, or a list of secrets during a rotation; none may be empty",
    )
    signatures: Annotated[tuple[Literal["v1", "v2", "v3"], ...], BeforeValidator(one_or_more)] = Field(
        default=("v3",), min_length=1, description='a list of "v3", "v2" and "v1", not empty'
    )
    public_url: PublicUrl | None = Field(default=None, description=PUBLIC_URL_WORDS)
    lookup: HubspotLookup | None = Field(default=None, description="a table with token and properties")


class SalesforceSource(_Source):
    """A source of Salesforce outbound messages (SOAP)."""

    kind: Literal["salesforce"] = Field(description='"salesforce"')
    url_key: UrlKey = Field(description=URL_KEY_WORDS)
    organization_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{15}([A-Za-z0-9]{3})?$")] = Field(
        description="the organization's id, 15 or 18 letters and digits"
    )


class JsonSource(_Source):
    """A source that sends JSON or a form. `preset` is the preset that completed the table, or None."""

    kind: Literal["json"] = Field(description='"json"')
    preset: str | None = Field(default=None, description="the name of a preset, see `ringback presets`")
    verify: Literal[
        "standard-webhooks",
        "hmac",
        "hmac-sha256",
        "ed25519",
        "jwt",
        "bearer",
        "basic",
        "header",
        "body-token",
        "query-key",
        "url-key",
    ] = Field(
        description='"standard-webhooks", "hmac", "hmac-sha256", "ed25519", "jwt", "bearer", "basic", '
        '"header", "body-token", "query-key" or "url-key"'
    )
    secrets: Annotated[tuple[Secret, ...], BeforeValidator(one_or_more)] = Field(
        default=(), description="a secret, or a list of secrets during a rotation; none may be empty"
    )
    public_keys: Annotated[tuple[PublicKey, ...], BeforeValidator(one_or_more)] = Field(
        default=(), description=f"{PUBLIC_KEY_WORDS}, or a list of such keys during a rotation"
    )
    header: HeaderName | None = Field(default=None, description=HEADER_NAME_WORDS)
    encoding: Literal["hex", "base64"] = Field(default="hex", description='"hex" or "base64"')
    prefix: Annotated[str, Field(pattern=r"^[ -~]*$")] = Field(
        default="", description='the text before the signature, in printable ASCII, such as "sha256="'
    )
    algorithm: Literal["sha1", "sha256", "sha512"] = Field(
        default="sha256", description='"sha1", "sha256" or "sha512"'
    )
    signed: Annotated[str, AfterValidator(_signed_template)] = Field(
        default="{body}", description=SIGNED_WORDS
    )
    timestamp: HeaderName | None = Field(
        default=None,
        description='"t" or "ts" for a part of the signature header, or the name of a header without "_"',
    )
    message_id: HeaderName | None = Field(default=None, description=HEADER_NAME_WORDS)
    tolerance_seconds: Whole = Field(
        default=300, ge=1, le=86_400, description="a whole number of seconds from 1 to 86400"
    )
    public_url: PublicUrl | None = Field(default=None, description=PUBLIC_URL_WORDS)
    token: Template | None = Field(
        default=None, description='a template for the token, such as "{{ body.auth.application_token }}"'
    )
    param: Annotated[str, Field(pattern=r"^[A-Za-z0-9._~-]+$")] | None = Field(
        default=None, description='the name of a query parameter, such as "code"'
    )
    handshake: (
        Literal["challenge", "hub-challenge", "validation-token", "ping", "probe", "cloudevents"] | None
    ) = Field(
        default=None,
        description='"challenge", "hub-challenge", "validation-token", "ping", "probe" or "cloudevents" '
        "(default: none)",
    )
    verify_token: Secret | None = Field(default=None, description="a text that is not empty")
    answer_status: Literal[200, 202] = Field(default=202, description="200 or 202")
    answer_body: Literal["json", "empty"] = Field(
        default="json",
        description='"json", or "empty" if the sender shows the body of a success to its users',
    )
    retry_status: Literal[429, 503] | None = Field(
        default=None,
        description="429 or 503 (default: 429 over rate_per_minute, 503 if the store is unavailable)",
    )
    body: Literal["auto", "query"] = Field(
        default="auto", description='"auto", or "query" if the data is in the query string'
    )
    events: Template | None = Field(
        default=None, description='an expression such as "body.items" (default: the whole body is one event)'
    )
    dedup_key: Template | None = Field(
        default=None,
        description="a template for the event's unique id (default: the sender's message id)",
    )
    lookup: JsonLookup | None = Field(
        default=None,
        discriminator="kind",
        description='a table with kind = "bitrix24", id and url, or kind = "meta-lead-ads", id and token',
    )


Source = HubspotSource | SalesforceSource | JsonSource
SOURCE_KINDS: Final[dict[str, type[HubspotSource | SalesforceSource | JsonSource]]] = {
    "hubspot": HubspotSource,
    "salesforce": SalesforceSource,
    "json": JsonSource,
}


def lookup_of(source: Source) -> Lookup | None:
    """Return the lookup of a source, or None if it has none."""
    return None if isinstance(source, SalesforceSource) else source.lookup
