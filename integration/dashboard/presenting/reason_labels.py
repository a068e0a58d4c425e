"""Explanations of rejected deliveries: the cause, and the correction in ringback.toml or the CRM.

Every cause of `integration.webhooks.diagnosis` has an entry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask_babel import lazy_gettext as _l
from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_babel.speaklater import LazyString


@dataclass(frozen=True, slots=True)
class ReasonText:
    """The cause of a rejection, and how to fix it."""

    what: LazyString | str
    mend: LazyString | str


WORDS: Final[Mapping[str, ReasonText]] = {
    "stale": ReasonText(
        _l("The signed time is %(seconds)s s before the arrival; at most 300 s are allowed."),
        _l(
            "The delivery was delayed, or an old one was sent again. If this happens to all "
            "deliveries, synchronize the clocks of this machine and of the sender by NTP."
        ),
    ),
    "early": ReasonText(
        _l("The signed time is %(seconds)s s after the arrival; at most 300 s are allowed."),
        _l("Synchronize the clocks of this machine and of the sender by NTP."),
    ),
    "time in other unit": ReasonText(
        _l("The signed time is in %(found)s; %(expected)s are expected."),
        _l("Configure the sender to send the time in %(expected)s."),
    ),
    "time unreadable": ReasonText(
        _l("The signed time is not a whole number of %(expected)s since 1970."),
        _l("Configure the sender to send the time in %(expected)s, in digits only."),
    ),
    "retired secret": ReasonText(
        _l("The signature was made with an earlier secret of this source."),
        _l(
            "Give the CRM the new secret, or put both into `secrets` of the source until all senders "
            "use the new one."
        ),
    ),
    "other secret": ReasonText(
        _l("The signature was made with a secret of another source: %(source)s (its `%(what)s`)."),
        _l(
            "Enter the address of %(source)s in that CRM, or correct the secret of this source. "
            "HubSpot: each app has its own client secret."
        ),
    ),
    "secret as text": ReasonText(
        _l(
            "The sender signs with the text of the secret; Standard Webhooks signs with its "
            "base64-decoded bytes."
        ),
        _l("Configure the sender to decode the part after `whsec_` from base64 before it signs."),
    ),
    "credential padded": ReasonText(
        _l("The secret is correct, but it is sent with quotes, spaces or a word such as Bearer."),
        _l("Configure the CRM to send only the secret."),
    ),
    "address": ReasonText(
        _l("The sender signed the address %(signed)s, but %(expected)s was expected."),
        _l(
            'Set `public_url = "%(signed)s"` for the source, or correct the address in the CRM. '
            "Without `public_url`, the proxy must forward X-Forwarded-Proto and X-Forwarded-Host."
        ),
    ),
    "missing header": ReasonText(
        _l("The header %(header)s is missing."),
        _l(
            "If there is a proxy, configure it to forward this header. Otherwise the request is not "
            "from the CRM, or the CRM does not sign: check its webhook settings."
        ),
    ),
    "other header": ReasonText(
        _l("The header %(header)s is missing. The delivery has other signature headers: %(found)s."),
        _l(
            "Set `header` or `verify` of the source to what the sender uses, or correct the settings "
            "in the CRM."
        ),
    ),
    "version": ReasonText(
        _l("The delivery is signed with %(version)s, which this source does not accept."),
        _l(
            'HubSpot: add "%(version)s" to `signatures`. v1 and v2 do not protect against replays. '
            "Standard Webhooks: configure the sender to sign with v1 (HMAC-SHA256)."
        ),
    ),
    "scheme": ReasonText(
        _l("The Authorization header uses %(found)s; %(expected)s is expected."),
        _l("Set `verify` to the method of the sender, or change the authentication in the CRM."),
    ),
    "encoding": ReasonText(
        _l("The signature is correct, but its encoding is %(found)s; %(expected)s is expected."),
        _l('Set `encoding = "%(found)s"` for the source, or configure the sender to use %(expected)s.'),
    ),
    "prefix": ReasonText(
        _l('The signature is correct, but its prefix is "%(found)s"; "%(expected)s" is expected.'),
        _l('Set `prefix = "%(found)s"` for the source.'),
    ),
    "algorithm": ReasonText(
        _l("The signature is correct, but its algorithm is %(found)s; %(expected)s is expected."),
        _l(
            'Set `verify = "hmac"` and `algorithm = "%(found)s"` for the source, or choose %(expected)s in '
            "the sender's settings."
        ),
    ),
    "covers time": ReasonText(
        _l("The signature covers a time and the body; a signature of only the body is expected."),
        _l(
            'Set `verify = "hmac"`, `timestamp = "%(timestamp)s"` and `signed = "%(signed)s"` for the source.'
        ),
    ),
    "body": ReasonText(
        _l("The body was changed after it was signed: %(how)s."),
        _l("Configure the proxy or tool between the CRM and Ringback to forward the body unchanged."),
    ),
    "organization": ReasonText(
        _l("The message is from the organisation %(found)s; %(expected)s is expected."),
        _l(
            "Correct `organization_id` of the source, or remove this address from the other "
            "organisation. A sandbox has its own id."
        ),
    ),
    "organization of other source": ReasonText(
        _l("The message is from the organisation %(found)s, which belongs to the source %(source)s."),
        _l("Use the address of the source %(source)s in that organisation."),
    ),
    "organization missing": ReasonText(
        _l("The message has no organisation id."),
        _l("This source accepts only outbound messages of Salesforce. Check what is sent to this address."),
    ),
    "key missing": ReasonText(
        _l("The address does not end with the `url_key` of the source."),
        _l("Enter the whole address in the CRM: /hooks/SOURCE/ followed by the `url_key`."),
    ),
    "key cut": ReasonText(
        _l("The key in the address is cut off, or has extra characters at the end."),
        _l("Copy the whole address into the CRM again."),
    ),
    "key case": ReasonText(
        _l("The key in the address has the wrong upper or lower case."),
        _l("Copy the address into the CRM again. Do not change upper and lower case."),
    ),
    "key unknown": ReasonText(
        _l("The key in the address is not a key of any source."),
        _l(
            "Copy the address into the CRM again. If you know no such sender, somebody may be "
            "guessing addresses."
        ),
    ),
    "not configured": ReasonText(
        _l("The source has no `%(what)s` configured."),
        _l("Set `%(what)s` for the source in ringback.toml."),
    ),
    "unknown": ReasonText(
        _l("No cause was found: no known secret or address fits, and no usual change of the body."),
        _l(
            "Compare the secret in the CRM with the one in ringback.toml, character by character. If "
            "you know no such sender, somebody may be testing secrets."
        ),
    ),
    "not looked into": ReasonText(
        _l("Too many deliveries were rejected at that time to find the cause of each."),
        _l("Look at the reasons of other deliveries of that time."),
    ),
}


# Labels of changes of a body, by the names in `integration.webhooks.diagnosis.bodies`.
ALTERED: Final[Mapping[str, LazyString]] = {
    "white space at its ends": _l("white space at its beginning or end"),
    "line ends": _l("line endings"),
    "a byte order mark": _l("a byte order mark"),
    "the character set": _l("the character set"),
    "JSON written anew": _l("the JSON was serialized again"),
    "all of it: the signature is one of an empty body": _l("the signature is one of an empty body"),
}

# Labels of units, by the names in `integration.webhooks.diagnosis.times`.
UNITS: Final[Mapping[str, LazyString]] = {
    "seconds": _l("seconds"),
    "milliseconds": _l("milliseconds"),
    "microseconds": _l("microseconds"),
}

STATUS: Final[Mapping[int, ReasonText]] = {
    400: ReasonText(
        _l("The body cannot be parsed."),
        _l(
            "Check what the CRM sends at the place named above. Send the delivery again after the correction."
        ),
    ),
    401: ReasonText(_l("The delivery could not be verified."), ""),
    413: ReasonText(
        _l("The body is larger than 1 MiB."), _l("Configure the CRM to send fewer events or fields at once.")
    ),
    415: ReasonText(
        _l("This source does not accept the content type."),
        _l("Configure the CRM to send JSON (Salesforce: XML) in UTF-8, without compression."),
    ),
    429: ReasonText(
        _l("The source received more deliveries than its `rate_per_minute` allows."),
        _l("Most CRMs send them again. If this rate is normal, raise `rate_per_minute`."),
    ),
}


def reason_text(cause: str, facts: Mapping[str, str]) -> ReasonText:
    """Return the explanation of a cause, with the values of `facts`. An unknown cause explains itself."""
    words = WORDS.get(cause)
    if words is None:
        return ReasonText(cause, "")
    labels = {**ALTERED, **UNITS}
    known = {name: str(labels.get(value, value)) for name, value in facts.items()}
    return ReasonText(str(words.what) % known, str(words.mend) % known)


def with_code_marks(text: str) -> Markup:
    """Return text as HTML, with `<code>` around parts between backticks."""
    parts = text.split("`")
    marked = (
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )
    return Markup("").join(marked)
