"""/openapi.json: sound in itself, and the same as what the web does. The tests in api hold answers against it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta

import pytest
from flask import Flask

from integration.api import api_blueprint
from integration.api.accounts import is_pause_end
from integration.api.models import RecallRequestBody
from integration.api.openapi import document
from integration.api.requests import body_faults
from integration.config.models import ApiKey
from integration.domain.account import Account
from integration.webhooks.isolated_work import client
from integration.webhooks.service import WebhookService
from integration.webhooks.views import receiver_blueprint
from support import ENVIRON, NoRates, make_services
from support.isolated_work_client import ISOLATED_WORK
from support.openapi_check import DOCUMENT, check, fits, path_of

OPERATIONS = [
    (path, method, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
NAMES = [f"{method} {path}" for path, method, _ in OPERATIONS]
each_operation = pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS, ids=NAMES)


@pytest.fixture
def app(tmp_path, store):
    services = make_services(tmp_path, store)
    app = Flask("ringback", static_folder=None)
    app.register_blueprint(receiver_blueprint(WebhookService(services, NoRates())))
    app.register_blueprint(api_blueprint(services, NoRates()))
    client.install(app, ISOLATED_WORK)
    return app


def places(value):
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from places(inner)


def test_it_is_served_to_everybody_as_json(app):
    answer = app.test_client().get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert answer.json == document(datetime.now(UTC).date())


def test_it_is_openapi_3_1():
    assert re.fullmatch(r"3\.1\.\d+", DOCUMENT["openapi"])
    assert {"title", "version"} <= set(DOCUMENT["info"])


def test_it_describes_every_address_of_the_web_and_no_other(app):
    real = {
        (path_of(rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(("/v1", "/hooks"))
    }
    assert {(path, method) for path, method, _ in OPERATIONS} == real


def test_every_reference_leads_somewhere_and_every_schema_is_used():
    found = {place["$ref"] for place in places(DOCUMENT) if isinstance(place, dict) and "$ref" in place}
    assert found == {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}


def test_operations_have_names_of_their_own():
    names = [operation["operationId"] for _, _, operation in OPERATIONS]
    assert len(set(names)) == len(names)


@each_operation
def test_every_part_of_a_path_is_a_parameter(path, method, operation):
    described = {given["name"]: given for given in operation.get("parameters", []) if given["in"] == "path"}
    assert set(described) == set(re.findall(r"{(\w+)}", path))
    assert all(given["required"] and given["schema"] for given in described.values())


@each_operation
def test_every_answer_has_words_and_every_error_is_a_problem(path, method, operation):
    for status, answer in operation["responses"].items():
        assert answer["description"]
        if not status.startswith("2"):
            problem = answer["content"]["application/problem+json"]["schema"]
            assert problem == {"$ref": "#/components/schemas/Problem"}


@each_operation
def test_v1_needs_a_key_and_hooks_do_not(path, method, operation):
    needs = operation.get("security", DOCUMENT["security"])
    assert needs == ([{"key": []}] if path.startswith("/v1") else [])
    assert DOCUMENT["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


@each_operation
def test_what_may_always_happen_is_described_everywhere(path, method, operation):
    assert {"401", "429", "503"} <= set(operation["responses"])
    for status in ("429", "503"):
        assert "Retry-After" in operation["responses"][status]["headers"]


@each_operation
def test_no_parameter_may_be_null(path, method, operation):
    for given in operation.get("parameters", []):
        assert {"type": "null"} not in given["schema"].get("anyOf", [])


@pytest.mark.parametrize(
    "name", [name for name in DOCUMENT["components"]["schemas"] if name.endswith("RequestBody")]
)
def test_what_is_asked_has_no_unknown_fields(name):
    schema = DOCUMENT["components"]["schemas"][name]
    assert schema["additionalProperties"] is False
    assert all(field["description"] for field in schema["properties"].values())


def test_examples_fit_their_schemas():
    for schema in DOCUMENT["components"]["schemas"].values():
        for example in schema.get("examples", []):
            check(example, schema)
        for field in schema.get("properties", {}).values():
            for example in field.get("examples", []):
                check(example, field)


def examples_of(operation):
    """Every example of an operation, as what a request is made of; a field's stands in a body that is good."""
    content = operation.get("requestBody", {"content": {}})["content"].get("application/json", {})
    whole = None
    if "$ref" in content.get("schema", {}):
        schema = DOCUMENT["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        whole, *others = schema.get("examples", [{}])
        fields = [
            {**whole, name: example}
            for name, field in schema["properties"].items()
            for example in field.get("examples", [])
        ]
        yield from ({"json": body} for body in [whole, *others, *fields])
    for given in operation.get("parameters", []):
        for example in [*given["schema"].get("examples", []), *filter(None, [given.get("example")])]:
            where = {"header": "headers", "query": "query_string"}[given["in"]]
            yield {"json": whole, where: {given["name"]: example}}


EXAMPLES = [
    (path, method, example)
    for path, method, operation in OPERATIONS
    if path.startswith("/v1")
    for example in examples_of(operation)
]


@pytest.mark.parametrize(("path", "method", "example"), EXAMPLES)
def test_every_example_is_accepted(app, path, method, example):
    key = {"Authorization": f"Bearer {ENVIRON['ZAPIER_KEY']}"}
    request = {**example, "headers": {**key, **example.get("headers", {})}}
    answer = app.test_client().open(path.format(name="bogota"), method=method, **request)
    assert answer.status_code < 300, answer.text


def test_there_are_examples_of_bodies_and_headers():
    assert {place for *_, example in EXAMPLES for place in example} >= {"json", "headers"}
    assert any((example["json"] or {}).get("until") for *_, example in EXAMPLES)


def test_an_example_in_the_near_future_is_so_every_day():
    for today in (date(2026, 12, 31), date(2031, 1, 1)):
        pause = document(today)["components"]["schemas"]["PauseRequestBody"]
        until = datetime.fromisoformat(pause["properties"]["until"]["examples"][0])
        begins = datetime.combine(today, time(tzinfo=UTC))
        assert all(is_pause_end(until, now) for now in (begins, begins + timedelta(days=1)))


GOOD = {
    "account": "bogota",
    "campaign_id": "1",
    "customer_id": "1",
    "recall_telephone": "1",
    "recall_date": "1",
}


@pytest.mark.parametrize(
    "field",
    [
        "x",
        "x" * 256,
        "x" * 257,
        "",
        " ",
        "a\nb",
        "a\0b",
        "a\u2028b",
        "\u0085",
        "ñ",
        1,
        1.5,
        True,
        None,
        [],
        {},
    ],
    ids=ascii,
)
def test_the_schema_and_the_check_agree_on_a_field(field):
    value = {**GOOD, "customer_id": field}
    schema = {"$ref": "#/components/schemas/RecallRequestBody"}
    assert fits(value, schema) == (not body_faults(RecallRequestBody, value))


def test_names_are_described_as_the_configuration_takes_them():
    described = {
        given["name"]: given["schema"]
        for _, _, operation in OPERATIONS
        for given in operation.get("parameters", [])
    }
    name = Account.model_json_schema()["properties"]["name"]["pattern"]
    assert ApiKey.model_json_schema()["properties"]["name"]["pattern"] == name
    assert {described[given]["pattern"] for given in ("name", "source", "account")} == {name}
    assert DOCUMENT["components"]["schemas"]["RecallRequestBody"]["properties"]["account"]["pattern"] == name


def test_nothing_of_the_configuration_is_in_it(app):
    assert "bogota" not in str({**DOCUMENT, "components": None})
