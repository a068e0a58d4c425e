"""Explanations of rejected deliveries: the cause, and what to change in ringback.toml or the CRM.

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
        _l("It was signed %(seconds)s s before it arrived; 300 s are allowed."),
        _l(
            "Somebody held it back, or sent an old delivery again. If it happens to all of them, set the "
            "clocks of this machine and of the sender by NTP."
        ),
    ),
    "early": ReasonText(
        _l("It is signed for %(seconds)s s after its arrival; 300 s are allowed."),
        _l("Set the clocks of this machine and of the sender by NTP."),
    ),
    "time in other unit": ReasonText(
        _l("Its time is in %(found)s, where %(expected)s are expected."),
        _l("Let the sender write the time in %(expected)s."),
    ),
    "time unreadable": ReasonText(
        _l("Its time is not a whole number of %(expected)s since 1970."),
        _l("Let the sender write the time as digits alone, in %(expected)s."),
    ),
    "retired secret": ReasonText(
        _l("It is made with a secret that this source had before."),
        _l(
            "Give the CRM the new secret, or name both in `secrets` of the source until every sender has "
            "changed over."
        ),
    ),
    "other secret": ReasonText(
        _l("It is made with another secret: one of the source %(source)s (its `%(what)s`)."),
        _l(
            "Point that CRM at the address of %(source)s, or correct the secret here. HubSpot: each app has "
            "its own client secret."
        ),
    ),
    "secret as text": ReasonText(
        _l("The sender uses the secret as plain text; Standard Webhooks uses what its base64 stands for."),
        _l("Let the sender decode the part after `whsec_` from base64 before it signs."),
    ),
    "credential padded": ReasonText(
        _l("The secret is right, but there are quotes, spaces or a word such as Bearer around it."),
        _l("Let the CRM send the secret alone."),
    ),
    "address": ReasonText(
        _l("The sender signed the address %(signed)s, but %(expected)s was expected."),
        _l(
            'Set `public_url = "%(signed)s"` for the source, or correct the address in the CRM. Without '
            "`public_url` let the proxy pass on X-Forwarded-Proto and X-Forwarded-Host."
        ),
    ),
    "missing header": ReasonText(
        _l("The header %(header)s is missing."),
        _l(
            "If a proxy stands in front, let it pass this header on. Else the request does not come from the "
            "CRM, or the CRM does not sign: look at its webhook settings."
        ),
    ),
    "other header": ReasonText(
        _l("The header %(header)s is missing; these came instead: %(found)s."),
        _l(
            "Name the sender's header in `header`, choose the `verify` that fits it, or correct the settings "
            "in the CRM."
        ),
    ),
    "version": ReasonText(
        _l("It is signed with %(version)s, which this source does not accept."),
        _l(
            'HubSpot: add "%(version)s" to `signatures`; v1 and v2 have no guard against being sent again. '
            "Standard Webhooks: let the sender sign with v1 (HMAC-SHA256)."
        ),
    ),
    "scheme": ReasonText(
        _l("Its Authorization is of another kind: found %(found)s, expected %(expected)s."),
        _l("Set `verify` to what the sender uses, or change the kind of authentication in the CRM."),
    ),
    "encoding": ReasonText(
        _l("The signature is right, but written as %(found)s, where %(expected)s is expected."),
        _l('Set `encoding = "%(found)s"` for the source, or let the sender write %(expected)s.'),
    ),
    "prefix": ReasonText(
        _l(
            'The signature is right, but the text before it is "%(found)s", where "%(expected)s" is expected.'
        ),
        _l('Set `prefix = "%(found)s"` for the source.'),
    ),
    "algorithm": ReasonText(
        _l("The signature is right, but made with %(found)s, where %(expected)s is expected."),
        _l(
            'Set `verify = "hmac"` and `algorithm = "%(found)s"` for the source, or choose %(expected)s in '
            "the sender's settings."
        ),
    ),
    "covers time": ReasonText(
        _l("The signature covers a time and the body, where one of the body alone is expected."),
        _l(
            'Set `verify = "hmac"`, `timestamp = "%(timestamp)s"` and `signed = "%(signed)s"` for the source.'
        ),
    ),
    "body": ReasonText(
        _l("The body was altered on its way: %(how)s."),
        _l(
            "Let the proxy or the tool in between pass the bytes on as they came, without reading and "
            "writing them."
        ),
    ),
    "organization": ReasonText(
        _l("The message comes from the organisation %(found)s, expected is %(expected)s."),
        _l(
            "Correct `organization_id` of the source, or take this address out of the other organisation. A "
            "sandbox has an id of its own."
        ),
    ),
    "organization of other source": ReasonText(
        _l("The message comes from the organisation %(found)s: that is the source %(source)s."),
        _l("Use the address of the source %(source)s in that organisation."),
    ),
    "organization missing": ReasonText(
        _l("The message names no organisation."),
        _l("Only outbound messages of Salesforce are read here; look at what is sent to this address."),
    ),
    "key missing": ReasonText(
        _l("The address does not end in the key."),
        _l("Use the whole address in the CRM: /hooks/SOURCE/ and then the `url_key`."),
    ),
    "key cut": ReasonText(
        _l("The key in the address is cut short, or something was added to its end."),
        _l("Copy the whole address into the CRM anew."),
    ),
    "key case": ReasonText(
        _l("The key in the address differs in capital and small letters alone."),
        _l("Copy the address into the CRM anew; letters must stay as they are."),
    ),
    "key unknown": ReasonText(
        _l("The key in the address is none that Ringback knows."),
        _l("Copy the address into the CRM anew. If you know of no sender, somebody may be guessing."),
    ),
    "not configured": ReasonText(
        _l("The source has no `%(what)s` configured."),
        _l("Set `%(what)s` for the source in ringback.toml."),
    ),
    "unknown": ReasonText(
        _l("No known secret, address or usual alteration of the body explains it."),
        _l(
            "Compare the secret in the CRM with the one in ringback.toml, character by character. If you "
            "know of no sender, somebody may be trying."
        ),
    ),
    "not looked into": ReasonText(
        _l("Too many were refused at that moment to look into each."),
        _l("Look at one of the others of that time."),
    ),
}


# How a body was changed, keyed by the names of `integration.webhooks.diagnosis.bodies`.
ALTERED: Final[Mapping[str, LazyString]] = {
    "white space at its ends": _l("white space at its ends"),
    "line ends": _l("line ends"),
    "a byte order mark": _l("a byte order mark"),
    "the character set": _l("the character set"),
    "JSON written anew": _l("the JSON was written anew"),
    "all of it: the signature is one of an empty body": _l("the signature is one of an empty body"),
}

STATUS: Final[Mapping[int, ReasonText]] = {
    400: ReasonText(
        _l("The body cannot be read."),
        _l("Look at what the CRM sends: the place is named above. Send it again once it is mended."),
    ),
    401: ReasonText(_l("It is not proved to come from its source."), ""),
    413: ReasonText(
        _l("The body is larger than 1 MiB."), _l("Let the CRM send fewer events or fields at once.")
    ),
    415: ReasonText(
        _l("The content type is not one that this source reads."),
        _l("Let the CRM send JSON (Salesforce: XML) in UTF-8, not packed."),
    ),
    429: ReasonText(
        _l("More deliveries came than `rate_per_minute` of the source allows."),
        _l("Most CRMs send them again. If this is their usual pace, raise `rate_per_minute`."),
    ),
}


def reason_text(cause: str, facts: Mapping[str, str]) -> ReasonText:
    """Return the explanation of a cause with its values filled in. An unknown cause is returned as it is."""
    words = WORDS.get(cause)
    if words is None:
        return ReasonText(cause, "")
    known = {**facts, "how": str(ALTERED[facts["how"]])} if facts.get("how") in ALTERED else facts
    return ReasonText(str(words.what) % known, str(words.mend) % known)


def with_code_marks(text: str) -> Markup:
    """Return text as HTML, with `<code>` around parts between backticks."""
    parts = text.split("`")
    marked = (
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )
    return Markup("").join(marked)
