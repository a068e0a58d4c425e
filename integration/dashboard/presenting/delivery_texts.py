"""English messages of webhooks, templates and alert channels that `labels.label_for` translates.

The log and `/v1` have them in English. The dashboard translates them when it shows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence


def _(text: str) -> str:
    """Return the text unchanged. The name `_` marks the text for extraction."""
    return text


# From integration/webhooks: why a delivery is not verified.
_OF_VERIFICATION: Final[Sequence[str]] = (
    _("the header %(header)s is missing or empty"),
    _("the header %(header)s contains characters outside ASCII"),
    _("the header %(header)s is missing"),
    _("the header %(header)s names a version that is not in `signatures`"),
    _("the header %(header)s does not have the scheme %(scheme)s"),
    _("the timestamp is outside the range of dates"),
    _("the timestamp is %(seconds)s s in the past; at most %(allowed)s s are allowed"),
    _("the timestamp is %(seconds)s s in the future; at most %(allowed)s s are allowed"),
    _(
        "the timestamp is neither a whole number of at most %(number)s digits nor a time in ISO "
        "8601 with an offset"
    ),
    _("the path ends with a key, but the source has no `url_key`"),
    _("the path does not end with the `url_key` of the source"),
    _("the key in the path is not the `url_key` of the source"),
    _("hub.verify_token is not the configured `verify_token`"),
    _("the signature does not match any of the configured `secrets`"),
    _("the %(encoding)s signature does not match any of the configured `secrets`"),
    _("the signature does not match any of the configured `public_keys`"),
    _("none of the %(number)s v1 signatures matches any of the configured `secrets`"),
    _("the credential does not match any of the configured `secrets`"),
    _("the credentials in the header Authorization are not valid base64"),
    _("the source has no `%(key)s` configured"),
    _("the token is not signed by HS256 with one of the configured `secrets`"),
    _("the token is not valid: %(code)s"),
    _("the query has more than %(number)s parameters"),
    _("the query has %(number)s parameters %(name)s; exactly one with a value is required"),
    _("the template `token` finds no token in the body; compare it with a body of the sender"),
    _("the message has no OrganizationId"),
    _("the OrganizationId of the message is not the `organization_id` of the source"),
    _("timestamp"),
    _("signature %(version)s"),
    _("signature %(version)s or %(other)s"),
)

# From integration/webhooks/providers: how a delivery was verified.
_OF_PROOFS: Final[Sequence[str]] = (
    _("%(check)s, secret %(number)s of %(total)s"),
    _("url_key and organization_id"),
)

# From integration/webhooks/providers, web and mapping: why the body of a delivery cannot be read.
_OF_BODIES: Final[Sequence[str]] = (
    _("%(place)s is %(found)s. Use %(allowed)s."),
    _("body"),
    _("body, line %(line)s, column %(column)s"),
    _("form"),
    _("form, a part"),
    _("form, field %(place)s"),
    _("%(number)s fields"),
    _("bytes that are not %(charset)s"),
    _("a name with too many pairs of brackets"),
    _("at most %(number)s pairs"),
    _("at most %(number)s in one delivery"),
    _("at most %(number)s characters"),
    _("JSON in UTF-8"),
    _("a compressed body"),
    _("an uncompressed body"),
    _("incomplete: %(found)s of %(announced)s bytes arrived"),
    _("a Content-Length that fits"),
    _("not a text"),
    _("the name of the input field"),
    _("not a cursor"),
    _("the cursor that the previous page returned"),
    _("without a named field"),
    _("name=value&name=value"),
    _("not supported"),
    _("a list of %(number)s events"),
    _("a single value"),
    _("an array of events, or the object of an action"),
    _("without a boundary"),
    _("one with %(number)s bytes of headers"),
    _("one with more than %(number)s parts"),
    _("incomplete, or not valid multipart/form-data"),
    _("not encoded as %(charset)s"),
    _("an element without Notification"),
    _("1 to 100 Notification elements"),
    _("XML without an outbound message"),
    _("a SOAP envelope with outbound notifications"),
    _("XML with more than %(number)s nested elements"),
    _("XML with more than %(number)s elements and attributes"),
    _("XML with a name of %(number)s characters"),
    _("XML with a DTD or an entity"),
    _("XML without them"),
    _("not well-formed XML"),
    _("XML without syntax errors"),
    _("XML with a namespace of %(number)s characters"),
)

# From integration/mapping and domain/dates: why a template is invalid, or cannot be evaluated.
_OF_TEMPLATES: Final[Sequence[str]] = (
    _("null"),
    _("true or false"),
    _("a text"),
    _("a number"),
    _("a moment"),
    _("a date"),
    _("an object"),
    _("a list"),
    _("a value of an unsupported type"),
    _("a text of %(number)s characters"),
    _("a list of %(number)s items"),
    _("a list with too many items"),
    _("lists of at most %(number)s items and %(characters)s characters"),
    _("a number that is too large to be exact"),
    _("a text, number or date of at most %(number)s characters"),
    _("JSON of at most %(number)s characters"),
    _("%(place)s, which is %(found)s"),
    _("a moment with a time of day"),
    _("an expression that failed (%(kind)s)"),
    _("values that its filters and operators accept"),
    _("no content"),
    _("a template that is not empty"),
    _("a syntax error: %(words)s (line %(line)s)"),
    _("more than one expression"),
    _("valid Jinja syntax"),
    _("brackets or operators that are nested too deeply"),
    _("a simpler template"),
    _("%(name)s in line %(line)s"),
    _("placeholders, filters, tests and {% if %} only"),
    _("a function call in line %(line)s"),
    _("filters, such as {{ event.x | digits }}"),
    _("* or ** before an argument in line %(line)s"),
    _("separate arguments"),
    _("map and an unknown filter"),
    _('one of %(names)s. Did you mean "%(name)s"?'),
    _("one of %(names)s"),
    _('one of the accounts %(names)s. Did you mean "%(name)s"?'),
    _("one of the accounts %(names)s"),
    _("the unknown name %(name)s"),
    _("the unknown filter %(name)s"),
    _("the unknown test %(name)s"),
    _("the unknown method %(name)s"),
    _("a format of %(number)s characters"),
    _("a format with %Z, which loses the zone (use %z, or the filter zone)"),
    _("a format with %c, %x or %X, which depend on the locale of the machine"),
    _("a format with an unknown directive"),
    _("a format that names a part of the date twice"),
    _("a format such as %d/%m/%Y %H:%M"),
    _("a time zone that does not exist"),
    _("an IANA name such as America/Bogota"),
    _("a date with calling hours after it"),
    _("the accounts that the template in account may return"),
    _("Remove the list: account is the name of one account"),
    _("an account that is not configured"),
    _('a template, because action = "recall" needs one'),
    _("a format with %I and no %p, so 10 could be morning or evening"),
    _("a format with %p and no %I, so 03:30 PM would be 03:30 (use %I instead of %H)"),
    _("a format with minutes, seconds or a zone and no hour"),
    _("a format that does not name a year, a month and a day"),
)

# From integration/alerts/channels.py: why a message is not sent.
_OF_CHANNELS: Final[Sequence[str]] = (
    _("the receiver responded with status %(status)s. Check the receiver."),
    _("the receiver responded with status %(status)s. Check `url` of the channel."),
    _("the receiver's response is too long. Check `url` of the channel."),
    _("the receiver did not respond: %(words)s. Check `url` of the channel."),
    _("`url` of the channel is not a valid URL. Correct it."),
    _("the mail server did not respond within %(seconds)s s. %(remedy)s"),
    _("the mail server rejected the sign-in with code %(code)s. Check `user` and `password` of the channel."),
    _(
        "the mail server answered with the error code %(code)s. Look up the code in the "
        "documentation of the mail server."
    ),
    _("the mail server rejected all addresses. Check `to` of the channel."),
    _("the connection to the mail server failed (%(kind)s). %(remedy)s"),
    _("the mail server cannot be reached (%(kind)s). %(remedy)s"),
    _("the mail server rejected %(number)s of %(total)s addresses. Check `to` of the channel."),
    _("Check `host`, `port` and `security` of the channel."),
    _("DNS: no answer in time"),
    _("no complete answer in time"),
)

DELIVERY_TEXTS: Final[Sequence[str]] = (
    *_OF_VERIFICATION,
    *_OF_PROOFS,
    *_OF_BODIES,
    *_OF_TEMPLATES,
    *_OF_CHANNELS,
)
