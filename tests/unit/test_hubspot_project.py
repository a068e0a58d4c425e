"""`ringback hubspot project`: the files of a project app, and the update of existing files."""

from __future__ import annotations

import json

import pytest

from integration.mapping.route_reads import compared_with
from integration.webhooks.hubspot_project import route_for_action, updated_files
from integration.webhooks.hubspot_project.files import (
    ACTION_FILE,
    APP_FILE,
    PROJECT_FILE,
    WEBHOOKS_FILE,
)
from support import ENVIRON, SOURCES_AND_ROUTES, two_accounts, write_config
from support.cli_runner import Ringback

HUBSPOT = """
[sources.{name}]
kind = "hubspot"
secrets = ["env:HUBSPOT_SECRET"]
signatures = ["v3", "v2"]
public_url = "{url}"
"""
URL = "https://hooks.example.com/hooks/{name}"
FIELDS = """campaign_id = "10"
customer_id = "{{ event.objectId }}"
recall_telephone = "3001112233"
recall_date = "{{ event.propertyValue }}"
"""


def source(name="crm", url=None):
    return HUBSPOT.format(name=name, url=url or URL.format(name=name))


def route(when=None, *, name="crm", account="bogota", accounts=None, fields=FIELDS):
    condition = "" if when is None else f"when = {json.dumps(when)}\n"
    title = json.dumps(f"{name}: {when} {account}")
    listed = "" if accounts is None else f"accounts = {json.dumps(accounts)}\n"
    return (
        f'\n[[routes]]\nname = {title}\nsource = "{name}"\naccount = "{account}"\n{listed}{condition}{fields}'
    )


@pytest.fixture
def run(tmp_path):
    def run(text, *args, **options):
        path = write_config(tmp_path, two_accounts() + text)
        return Ringback(path).json("hubspot", "project", str(tmp_path / "app"), *args, **options)

    return run


@pytest.fixture
def read(tmp_path):
    return lambda path: json.loads((tmp_path / "app" / path).read_text("utf-8"))


def edit(tmp_path, path, change):
    file = tmp_path / "app" / path
    content = json.loads(file.read_text("utf-8"))
    change(content)
    file.write_text(json.dumps(content), "utf-8")


def subscriptions(content):
    lists = content["config"]["subscriptions"]
    return [
        (each["subscriptionType"], each.get("objectType"), each.get("propertyName"), each["active"])
        for name in ("crmObjects", "legacyCrmObjects")
        for each in lists[name]
    ]


# --- the files ---------------------------------------------------------------------------------


def test_a_property_in_a_condition_becomes_a_subscription(run, read):
    report = run(source() + route("event.propertyName == 'callback_at' and event.propertyValue"))
    assert set(report["files"].values()) == {"created"}
    assert subscriptions(read(WEBHOOKS_FILE)) == [("object.propertyChange", "contact", "callback_at", True)]
    assert read(WEBHOOKS_FILE)["config"]["settings"]["targetUrl"] == "https://hooks.example.com/hooks/crm"
    assert read(PROJECT_FILE) == {"name": "ringback-crm", "srcDir": "src", "platformVersion": "2026.09"}
    app = read(APP_FILE)["config"]
    assert (app["distribution"], app["auth"]["type"]) == ("private", "static")
    assert app["auth"]["requiredScopes"] == ["crm.objects.contacts.read"]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("'a' == event.propertyName", [("object.propertyChange", "contact", "a", True)]),
        (
            "event['propertyName'] in ['a', 'b']",
            [("object.propertyChange", "contact", name, True) for name in "ab"],
        ),
        (
            "event.subscriptionType == 'contact.propertyChange' and event.propertyName == 'a'",
            [("contact.propertyChange", None, "a", True)],
        ),
        ("event.eventType == 'contact.creation'", [("contact.creation", None, None, True)]),
        ("event.subscriptionType == 'object.creation'", [("object.creation", "contact", None, True)]),
    ],
)
def test_the_conditions_of_a_route_decide_the_subscriptions(run, read, when, expected):
    run(source() + route(when))
    assert subscriptions(read(WEBHOOKS_FILE)) == expected


@pytest.mark.parametrize(
    ("kind", "scope"), [("deal", "crm.objects.deals.read"), ("company", "crm.objects.companies.read")]
)
def test_events_of_other_objects_need_their_scope(run, read, kind, scope):
    run(source() + route(f"event.subscriptionType == '{kind}.creation'"))
    assert read(APP_FILE)["config"]["auth"]["requiredScopes"] == ["crm.objects.contacts.read", scope]


LOOKUP = '[sources.crm.lookup]\ntoken = "env:HUBSPOT_TOKEN"\nproperties = ["phone"]\n'


@pytest.mark.parametrize(
    ("lookup", "when", "objects", "scopes"),
    [
        ("", "event.propertyName == 'a'", ["contact"], ["contacts"]),
        ('object = "deals"', "event.propertyName == 'a'", ["deal"], ["contacts", "deals"]),
        ('object = "0-2"', "event.propertyName == 'a'", ["company"], ["contacts", "companies"]),
        ('object = "2-3453932"', "event.propertyName == 'a'", ["2-3453932"], ["contacts", "custom"]),
        (
            'object = "deals"\nassociated = "companies"',
            "event.propertyName == 'a'",
            ["deal"],
            ["contacts", "deals", "companies"],
        ),
        (
            "",
            "event.propertyName == 'a' and event.objectTypeId in ['0-1', '0-3']",
            ["contact", "deal"],
            ["contacts", "deals"],
        ),
        ("", "event.subscriptionType == 'conversation.creation'", [None], ["contacts"]),
    ],
)
def test_the_lookup_and_the_type_ids_decide_objects_and_scopes(run, read, lookup, when, objects, scopes):
    run(source() + f"{LOOKUP}{lookup}\n" + route(when), HUBSPOT_TOKEN="t" * 20)
    assert [each[1] for each in subscriptions(read(WEBHOOKS_FILE))] == objects
    expected = [f"crm.objects.{name}.read" for name in scopes]
    assert read(APP_FILE)["config"]["auth"]["requiredScopes"] == expected


def test_tickets_have_a_scope_with_another_name(run, read):
    run(
        source() + LOOKUP + 'object = "tickets"\n' + route("event.propertyName == 'a'"),
        HUBSPOT_TOKEN="t" * 20,
    )
    assert "tickets" in read(APP_FILE)["config"]["auth"]["requiredScopes"]


def test_two_routes_for_one_property_need_one_subscription(run, read):
    routes = route("event.propertyName == 'a' and event.propertyValue") + route(
        "event.propertyName == 'a' and not event.propertyValue"
    )
    run(source() + routes)
    assert len(subscriptions(read(WEBHOOKS_FILE))) == 1


@pytest.mark.parametrize("when", ["event.propertyName != 'a'", "event.other == 'a'", "event.propertyName"])
def test_other_conditions_name_no_property(when):
    class Route:
        pass

    Route.when = when
    assert compared_with([Route], "propertyName") == ()


def test_without_a_route_there_are_no_webhooks_and_the_report_says_why(run, tmp_path):
    report = run(source())
    assert WEBHOOKS_FILE not in report["files"]
    assert not (tmp_path / "app" / WEBHOOKS_FILE).exists()
    assert any("No file for webhooks" in note for note in report["notes"])


def test_the_action_has_the_fields_that_the_routes_read(run, read):
    fields = (
        'campaign_id = "10"\ncustomer_id = "{{ event.object.properties.document }}"\n'
        'recall_telephone = "{{ event.inputFields.phone }}"\nrecall_date = "{{ event.inputFields.when }}"\n'
    )
    report = run(
        source()
        + route("event.inputFields.site == 'bogota'", fields=fields)
        + route("event.inputFields.site == 'lima'", account="lima", fields=fields)
    )
    config = read(ACTION_FILE)["config"]
    definitions = {each["typeDefinition"]["name"]: each["typeDefinition"] for each in config["inputFields"]}
    assert set(definitions) == {"phone", "when", "site"}
    assert definitions["when"]["type"] == "datetime"
    assert [option["value"] for option in definitions["site"]["options"]] == ["bogota", "lima"]
    assert config["objectRequestOptions"] == {"properties": ["document"]}
    assert set(config["labels"]["en"]["inputFieldLabels"]) == set(definitions)
    assert not any("No route reads" in note for note in report["notes"])


def test_the_usual_fields_and_the_routes_that_are_offered_belong_together(run, read, tmp_path):
    report = run(source())
    config = read(ACTION_FILE)["config"]
    names = [each["typeDefinition"]["name"] for each in config["inputFields"]]
    assert names == ["account", "campaign", "customer", "telephone", "date"]
    definition = config["inputFields"][0]["typeDefinition"]
    assert definition["optionsUrl"] == "https://hooks.example.com/hooks/crm/options"
    assert "options" not in definition
    offered = route_for_action("crm", ["bogota", "lima"])
    assert any(offered in note for note in report["notes"])
    path = write_config(tmp_path, two_accounts() + source() + "\n" + offered)
    body = {
        "callbackId": "ap-1",
        "object": {"objectId": 9, "objectType": "CONTACT"},
        "inputFields": {
            "account": "bogota",
            "campaign": "12345",
            "customer": "80123456",
            "telephone": "300 111 2233",
            "date": "1812141000000",
        },
    }
    (tmp_path / "body.json").write_text(json.dumps(body), "utf-8")
    args = ("map", "crm", str(tmp_path / "body.json"), "--at", "2027-06-01T15:00:00Z")
    (event,) = Ringback(path).json(*args)["events"]
    assert (event["outcome"], event["account"]) == ("recall", "bogota")


def test_a_field_that_a_template_of_the_account_reads_asks_for_its_options(run, read):
    fields = FIELDS.replace("event.objectId", "event.inputFields.id").replace(
        "{{ event.propertyValue", "{{ event.inputFields.at"
    )
    text = source() + route(
        account="{{ event.inputFields.site }}", accounts=["bogota", "lima"], fields=fields
    )
    run(text)
    definitions = [each["typeDefinition"] for each in read(ACTION_FILE)["config"]["inputFields"]]
    assert [each["name"] for each in definitions] == ["site", "id", "at"]
    assert definitions[0]["optionsUrl"] == "https://hooks.example.com/hooks/crm/options"
    assert not any("optionsUrl" in each for each in definitions[1:])


def test_the_address_of_the_options_keeps_the_key_and_the_query_of_the_webhook(run, read):
    for url, expected in (
        ("https://x.example/hooks/crm/", "https://x.example/hooks/crm/options"),
        ("https://x.example/a/crm/abcdefghijklmnop", "https://x.example/a/crm/abcdefghijklmnop/options"),
        ("https://x.example/hooks/crm?a=1", "https://x.example/hooks/crm/options?a=1"),
    ):
        run(source(url=url))
        (first, *_) = read(ACTION_FILE)["config"]["inputFields"]
        assert first["typeDefinition"]["optionsUrl"] == expected


def test_fixed_options_of_an_earlier_project_become_a_drop_down_that_asks(run, read, tmp_path):
    fields = FIELDS.replace("event.objectId", "event.inputFields.id")
    run(source() + route("event.inputFields.account == 'bogota'", fields=fields))
    edit(tmp_path, ACTION_FILE, lambda action: action["config"]["inputFields"][0].update(isRequired=False))
    run(source() + route(account="{{ event.inputFields.account }}", accounts=["bogota"], fields=fields))
    fields = {each["typeDefinition"]["name"]: each for each in read(ACTION_FILE)["config"]["inputFields"]}
    assert "options" not in fields["account"]["typeDefinition"]
    assert fields["account"]["typeDefinition"]["optionsUrl"].endswith("/hooks/crm/options")


def test_each_source_has_a_project_of_its_own(run, read):
    text = source() + source("sales") + route("event.propertyName == 'a'", name="sales")
    run(text, "--source", "sales")
    assert read(PROJECT_FILE)["name"] == "ringback-sales"
    assert read(WEBHOOKS_FILE)["uid"] == "ringback-sales-webhooks"


@pytest.mark.parametrize("name", ["crm", "a" * 63])
def test_uids_differ_and_are_not_too_long(run, read, name):
    run(source(name) + route("event.propertyName == 'a'", name=name))
    uids = [read(path)["uid"] for path in (APP_FILE, ACTION_FILE, WEBHOOKS_FILE)]
    assert len(set(uids)) == 3
    assert max(map(len, uids)) <= 64


# --- what is refused ---------------------------------------------------------------------------


def refused(tmp_path, text, *args, status=1):
    done = Ringback(write_config(tmp_path, two_accounts() + text))(
        "hubspot", "project", str(tmp_path / "app"), *args
    )
    assert done.exit_code == status, done.output
    return done.output


def test_a_source_without_an_https_address_is_refused(tmp_path):
    for text in (source(url="http://127.0.0.1:8080/hooks/crm"), SOURCES_AND_ROUTES):
        assert "public_url that starts with https://" in refused(tmp_path, text)
    assert not (tmp_path / "app").exists()


def test_with_several_hubspot_sources_one_must_be_named(tmp_path):
    text = refused(tmp_path, source() + source("sales"), status=2)
    assert "crm, sales" in text


def test_another_kind_of_source_is_refused(tmp_path):
    assert "hubspot" in refused(tmp_path, SOURCES_AND_ROUTES, "--source", "forms", status=2)


def test_a_folder_with_the_project_of_another_source_is_refused(run, read, tmp_path):
    run(source())
    assert "Choose another folder" in refused(tmp_path, source("sales"))
    assert read(PROJECT_FILE)["name"] == "ringback-crm"


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_file_that_is_no_json_object_is_named_and_nothing_is_written(run, tmp_path, content):
    run(source())
    (tmp_path / "app" / APP_FILE).write_bytes(content.encode(errors="surrogateescape"))
    before = (tmp_path / "app" / ACTION_FILE).read_text("utf-8")
    text = refused(tmp_path, source(url="https://other.example.com/hooks/crm"))
    assert "nothing was written" in text
    assert (tmp_path / "app" / ACTION_FILE).read_text("utf-8") == before


# --- a second run ------------------------------------------------------------------------------


def test_a_second_run_changes_nothing(run, tmp_path):
    text = source() + route("event.propertyName == 'a'")
    run(text)
    before = {path: path.read_text("utf-8") for path in (tmp_path / "app").rglob("*.json")}
    assert set(run(text)["files"].values()) == {"unchanged"}
    assert {path: path.read_text("utf-8") for path in (tmp_path / "app").rglob("*.json")} == before


def test_a_second_run_keeps_edits_and_takes_up_the_configuration(run, read, tmp_path):
    run(source() + route("event.propertyName == 'a'"))
    edit(tmp_path, APP_FILE, lambda app: app["config"].update(name="Our app", support={"supportUrl": "x"}))
    edit(tmp_path, APP_FILE, lambda app: app["config"]["auth"]["requiredScopes"].append("tickets"))
    own = {"subscriptionType": "object.creation", "objectType": "deal", "active": True}
    edit(
        tmp_path,
        WEBHOOKS_FILE,
        lambda webhooks: webhooks["config"]["subscriptions"]["crmObjects"].append(own),
    )
    moved = "https://other.example.com/hooks/crm"
    run(source(url=moved) + route("event.propertyName in ['a', 'b']"))
    app, webhooks = read(APP_FILE)["config"], read(WEBHOOKS_FILE)
    assert (app["name"], app["support"]) == ("Our app", {"supportUrl": "x"})
    assert app["auth"]["requiredScopes"] == ["crm.objects.contacts.read", "tickets"]
    assert webhooks["config"]["settings"]["targetUrl"] == moved
    assert subscriptions(webhooks) == [
        ("object.propertyChange", "contact", "a", True),
        ("object.creation", "deal", None, True),
        ("object.propertyChange", "contact", "b", True),
    ]


def test_a_subscription_that_no_route_needs_becomes_inactive_and_comes_back(run, read):
    expected = {"a": True, "b": True}
    for needed in (["a", "b"], ["b"], [], ["a"]):
        run(source() + (route(f"event.propertyName in {needed}") if needed else ""))
        found = {name: active for _, _, name, active in subscriptions(read(WEBHOOKS_FILE))}
        assert found == {name: name in needed for name in expected}


def test_a_subscription_that_was_switched_off_stays_off(run, read, tmp_path):
    text = source() + route("event.propertyName == 'a'")
    run(text)

    def switch_off(webhooks):
        webhooks["config"]["subscriptions"]["crmObjects"][0]["active"] = False

    edit(tmp_path, WEBHOOKS_FILE, switch_off)
    run(text)
    assert subscriptions(read(WEBHOOKS_FILE)) == [("object.propertyChange", "contact", "a", False)]


def test_a_file_that_was_deleted_is_not_written_again(run, tmp_path):
    text = source() + route("event.propertyName == 'a'")
    run(text)
    (tmp_path / "app" / ACTION_FILE).unlink()
    report = run(text)
    assert report["files"][ACTION_FILE] == "deleted by you, not written again"
    assert not (tmp_path / "app" / ACTION_FILE).exists()
    assert any("delete .ringback-project.json" in note for note in report["notes"])
    (tmp_path / "app" / ".ringback-project.json").unlink()
    assert run(text)["files"][ACTION_FILE] == "created"


def test_an_input_field_that_was_removed_stays_removed():
    base = {"x": {"inputFields": [{"typeDefinition": {"name": name}} for name in "ab"]}}
    current = {"x": {"inputFields": [{"typeDefinition": {"name": "b", "type": "number"}}]}}
    new = {"x": {"inputFields": [{"typeDefinition": {"name": name}} for name in "abc"]}}
    files, _ = updated_files(base, new, current)
    assert [each["typeDefinition"] for each in files["x"]["inputFields"]] == [
        {"name": "b", "type": "number"},
        {"name": "c"},
    ]


def test_files_that_were_there_before_the_first_run_keep_their_values():
    files, _ = updated_files({}, {"x": {"a": 1, "b": 2}}, {"x": {"a": 9}})
    assert files == {"x": {"a": 9, "b": 2}}


# --- secrets -----------------------------------------------------------------------------------


def test_the_files_contain_no_secret_and_a_key_in_the_address_is_named(run, tmp_path):
    text = source(url="https://hooks.example.com/hooks/crm/abcdefghijklmnop")
    report = run(text.replace("public_url", 'url_key = "abcdefghijklmnop"\npublic_url', 1))
    assert any("url_key, which is a secret" in note for note in report["notes"])
    for path in (tmp_path / "app").rglob("*.json"):
        assert ENVIRON["HUBSPOT_SECRET"] not in path.read_text("utf-8")
