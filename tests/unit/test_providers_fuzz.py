"""Random requests to each kind of source raise only the documented errors."""

from __future__ import annotations

from contextlib import suppress

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from integration.domain.delivery import ErrorAnswer
from integration.domain.errors import NotVerifiedError, UnreadableError
from support.provider_deliveries import ANSWER, SALESFORCE, cases
from support.source_cases import (
    FORM,
    NOW,
    URL_KEY,
)

ANY_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "content-type", "authorization", "webhook-id", "webhook-timestamp", "webhook-signature", "x-api-key",
            "x-hubspot-signature", "x-hubspot-signature-v3", "x-hubspot-signature-version", "idempotency-key",
            "x-hubspot-request-timestamp", "typeform-signature", "x-hub-signature-256",
        ]
    ),
    st.one_of(
        st.text(max_size=80),
        st.sampled_from(
            [
                "application/json", FORM, "text/xml", "v1", "v2", "Basic é", "Basic =", "Bearer", "sha256=zz",
                "v1,A v1, ,v1 v1a,x v1,é", "1772374530", "1772374530250", "application/json; charset=latin-1",
            ]
        ),
    ),
)  # fmt: skip


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["eventId", "objectId", "occurredAt", "callbackId", "items", "subscriptionType"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


ANY_FORM = st.lists(st.text(alphabet="ab[]0=&%+5Dé\x00", max_size=12), max_size=8).map(
    lambda parts: "&".join(parts).encode()
)


ANY_XML = st.lists(
    st.sampled_from(
        ["<a>", "</a>", "<SessionId>", "</SessionId>", "<![CDATA[", "]]>", "<!--", "-->", "&amp;", "&x;", "é", "\x00", "<!DOCTYPE a>", "<?p?>", "<Notification/>"]
    ),
    max_size=12,
).map(lambda parts: SALESFORCE.body.replace(b"<Notification>", "".join(parts).encode() + b"<Notification>", 1))  # fmt: skip


ANY_BODY = st.binary(max_size=200) | ANY_JSON.map(orjson.dumps) | ANY_FORM | ANY_XML


@cases
@settings(max_examples=40)
@given(
    headers=ANY_HEADERS,
    body=ANY_BODY,
    url=st.text(max_size=30),
    url_key=st.none() | st.text(max_size=10) | st.just(URL_KEY),
    keep_proof=st.booleans(),
)
def test_any_request_raises_only_the_documented_errors(case, headers, body, url, url_key, keep_proof):
    if keep_proof:
        headers = {**case.signed(body=body), **headers}
    delivery = case.delivery(headers=headers, body=body, url=url, url_key=url_key)
    with suppress(NotVerifiedError, UnreadableError):
        case.kind.verify(delivery, case.settings, NOW)
    with suppress(UnreadableError):
        orjson.dumps([event.data for event in case.kind.read(delivery, case.settings)])
    case.kind.stored_body(delivery, case.settings)
    for outcome in (ANSWER, ErrorAnswer(status=401, title="Not verified")):
        assert case.kind.acknowledge(delivery, case.settings, outcome).status in {200, 202, 401}
