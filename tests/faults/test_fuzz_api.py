"""`/v1` and `/hooks` as the OpenAPI document describes them: schemathesis asks, well and badly, of a real store.

Each answer is held against the document (status, content type, headers, body); none may be a fault of ours;
what is bad must be refused, what is good must not be for its form; and without a key nothing is told.
"""

from __future__ import annotations

import pytest
import schemathesis
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from integration.web.problems import PROBLEM_TYPE
from integration.web.security_headers import ANSWER_HEADERS
from support import ENVIRON, SOURCES_AND_ROUTES, NoRates, make_services, two_accounts
from support.api_client import ApiClient
from support.fuzzing import examples
from support.openapi_check import DOCUMENT

PROOF = {"Authorization": f"Bearer {ENVIRON['ZAPIER_KEY']}"}
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}
V1 = [label for label in OPERATIONS if "/v1/" in label]
HOOKS = [label for label in OPERATIONS if "/hooks/" in label]
# What a document cannot say: which accounts there are, which numbers are possible, what is in the future,
# what a sender sends.
SAYS_NO_MORE = {"POST /v1/recalls", "GET /v1/recalls", "POST /v1/accounts/{name}/pause", *HOOKS}
CANARY = "canary-5d1f"


@pytest.fixture(scope="module")
def web(tmp_path_factory, valkey):
    folder = tmp_path_factory.mktemp("api")
    with valkey.client(db=13) as store:
        store.flushdb()
        services = make_services(folder, store, two_accounts() + SOURCES_AND_ROUTES)
        services.binding.bind()
        yield ApiClient(services, NoRates())


@pytest.fixture(scope="module")
def there(web):
    """What a path may name: a recall, an account and a source that there are."""
    return {"recall_id": web.asked_id("c-1"), "name": "bogota", "source": "forms"}


def drawn(data, label, mode, **fixed):
    return data.draw(OPERATIONS[label].as_strategy(generation_mode=mode, **fixed))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("label", V1)
@examples(30)
@given(data=st.data())
def test_v1_answers_as_its_document_says(web, there, label, mode, data):
    known = data.draw(st.booleans())
    named = {name: value for name, value in there.items() if f"{{{name}}}" in label}
    bad_only_in_the_path = mode == GenerationMode.NEGATIVE and named and "{" in label
    fixed = {"path_parameters": named} if known and named and not bad_only_in_the_path else {}
    case = drawn(data, label, mode, **fixed)
    answer = case.call(app=web.app, headers=PROOF)
    # Whether a key is asked for is tried below, with all kinds of wrong ones.
    unsaid = [positive_data_acceptance] if label in SAYS_NO_MORE else []
    case.validate_response(answer, headers=PROOF, excluded_checks=[ignored_auth, *unsaid])
    assert answer.headers["cache-control"] == [ANSWER_HEADERS["Cache-Control"]]


@pytest.mark.parametrize("label", V1)
@examples(15)
@given(data=st.data())
def test_v1_tells_nothing_to_who_has_no_key(web, label, data):
    key = data.draw(
        st.sampled_from(
            [None, "", "Bearer", "Bearer ", "Basic eDp4", "Bearer " + "x" * 5000, f"Bearer {CANARY}"]
        )
        | st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40).map("Bearer {}".format)
    )
    case = drawn(data, label, GenerationMode.POSITIVE, headers={} if key is None else {"Authorization": key})
    answer = case.call(app=web.app)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == [PROBLEM_TYPE]
    assert answer.headers["www-authenticate"]
    assert CANARY.encode() not in answer.content
    assert "bogota" not in answer.text


@pytest.mark.parametrize("label", HOOKS)
@examples(40)
@given(data=st.data())
def test_hooks_answer_as_their_document_says(web, label, data):
    source = data.draw(st.sampled_from(["forms", "hubspot", "salesforce", "nobody"]))
    fixed = {"source": source} | ({"url_key": ENVIRON["URL_KEY"]} if "url_key" in label else {})
    case = drawn(data, label, GenerationMode.POSITIVE, path_parameters=fixed)
    answer = case.call(app=web.app)
    case.validate_response(answer, excluded_checks=[ignored_auth, positive_data_acceptance])
    assert answer.status_code in ({401, 405} if label.startswith("GET") else {400, 401, 404, 415})
