"""A finding in plain words: what is wrong, and what to change in ringback.toml or in the CRM.

English, with `%(fact)s` holes; whoever shows them in another language translates the text before it is
filled in. Every cause has its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.diagnosis.findings import Cause, Finding


@dataclass(frozen=True, slots=True)
class Words:
    """What is wrong, and what to do about it."""

    what: str
    mend: str


def _(text: str) -> str:
    # Marks a text for translation; it is translated where it is shown.
    return text


WORDS: Final[Mapping[Cause, Words]] = {
    "stale": Words(
        _("It was signed %(seconds)s s before it arrived; 300 s are allowed."),
        _(
            "Somebody held it back, or sent an old delivery again. If it happens to all of them, set the "
            "clocks of this machine and of the sender by NTP."
        ),
    ),
    "early": Words(
        _("It is signed for %(seconds)s s after its arrival; 300 s are allowed."),
        _("Set the clocks of this machine and of the sender by NTP."),
    ),
    "time in other unit": Words(
        _("Its time is in %(found)s, where %(expected)s are expected."),
        _("Let the sender write the time in %(expected)s."),
    ),
    "time unreadable": Words(
        _("Its time is not a whole number of %(expected)s since 1970."),
        _("Let the sender write the time as digits alone, in %(expected)s."),
    ),
    "retired secret": Words(
        _("It is made with a secret that this source had before."),
        _(
            "Give the CRM the new secret, or name both in `secrets` of the source until every sender has "
            "changed over."
        ),
    ),
    "other secret": Words(
        _("It is made with another secret: one of the source %(source)s (its `%(what)s`)."),
        _(
            "Point that CRM at the address of %(source)s, or correct the secret here. HubSpot: each app has "
            "its own client secret."
        ),
    ),
    "secret as text": Words(
        _("The sender uses the secret as plain text; Standard Webhooks uses what its base64 stands for."),
        _("Let the sender decode the part after `whsec_` from base64 before it signs."),
    ),
    "credential padded": Words(
        _("The secret is right, but there are quotes, spaces or a word such as Bearer around it."),
        _("Let the CRM send the secret alone."),
    ),
    "address": Words(
        _("The sender signed the address %(signed)s, but %(expected)s was expected."),
        _(
            'Set `public_url = "%(signed)s"` for the source, or correct the address in the CRM. Without '
            "`public_url` let the proxy pass on X-Forwarded-Proto and X-Forwarded-Host."
        ),
    ),
    "missing header": Words(
        _("The header %(header)s is missing."),
        _(
            "If a proxy stands in front, let it pass this header on. Else the request does not come from the "
            "CRM, or the CRM does not sign: look at its webhook settings."
        ),
    ),
    "other header": Words(
        _("The header %(header)s is missing; these came instead: %(found)s."),
        _(
            "Name the sender's header in `header`, choose the `verify` that fits it, or correct the settings "
            "in the CRM."
        ),
    ),
    "version": Words(
        _("It is signed with %(version)s, which this source does not accept."),
        _(
            'HubSpot: add "%(version)s" to `signatures`; v1 and v2 have no guard against being sent again. '
            "Standard Webhooks: let the sender sign with v1 (HMAC-SHA256)."
        ),
    ),
    "scheme": Words(
        _("Its Authorization is of another kind: found %(found)s, expected %(expected)s."),
        _("Set `verify` to what the sender uses, or change the kind of authentication in the CRM."),
    ),
    "encoding": Words(
        _("The signature is right, but written as %(found)s, where %(expected)s is expected."),
        _('Set `encoding = "%(found)s"` for the source, or let the sender write %(expected)s.'),
    ),
    "prefix": Words(
        _('The signature is right, but the text before it is "%(found)s", where "%(expected)s" is expected.'),
        _('Set `prefix = "%(found)s"` for the source.'),
    ),
    "algorithm": Words(
        _("It is signed with %(found)s; only HMAC-SHA256 is accepted."),
        _("Choose SHA-256 in the sender's settings."),
    ),
    "covers time": Words(
        _(
            "The signature also covers the time in the header %(header)s; `hmac-sha256` covers the body "
            "alone."
        ),
        _(
            'This scheme is not supported: use `verify = "url-key"`, "header" or "bearer" where the sender '
            "can, or put a step in between that signs anew."
        ),
    ),
    "body": Words(
        _("The body was altered on its way: %(how)s."),
        _(
            "Let the proxy or the tool in between pass the bytes on as they came, without reading and "
            "writing them."
        ),
    ),
    "organization": Words(
        _("The message comes from the organisation %(found)s, expected is %(expected)s."),
        _(
            "Correct `organization_id` of the source, or take this address out of the other organisation. A "
            "sandbox has an id of its own."
        ),
    ),
    "organization of other source": Words(
        _("The message comes from the organisation %(found)s: that is the source %(source)s."),
        _("Use the address of the source %(source)s in that organisation."),
    ),
    "organization missing": Words(
        _("The message names no organisation."),
        _("Only outbound messages of Salesforce are read here; look at what is sent to this address."),
    ),
    "key missing": Words(
        _("The address does not end in the key."),
        _("Use the whole address in the CRM: /hooks/SOURCE/ and then the `url_key`."),
    ),
    "key cut": Words(
        _("The key in the address is cut short, or something was added to its end."),
        _("Copy the whole address into the CRM anew."),
    ),
    "key case": Words(
        _("The key in the address differs in capital and small letters alone."),
        _("Copy the address into the CRM anew; letters must stay as they are."),
    ),
    "key unknown": Words(
        _("The key in the address is none that Ringback knows."),
        _("Copy the address into the CRM anew. If you know of no sender, somebody may be guessing."),
    ),
    "not configured": Words(
        _("The source has no `%(what)s` configured."),
        _("Set `%(what)s` for the source in ringback.toml."),
    ),
    "unknown": Words(
        _("No known secret, address or usual alteration of the body explains it."),
        _(
            "Compare the secret in the CRM with the one in ringback.toml, character by character. If you "
            "know of no sender, somebody may be trying."
        ),
    ),
    "not looked into": Words(
        _("Too many were refused at that moment to look into each."),
        _("Look at one of the others of that time."),
    ),
}


def told(finding: Finding) -> Words:
    """Give a finding's words in English, filled in."""
    words = WORDS[finding.cause]
    return Words(words.what % finding.facts, words.mend % finding.facts)
