"""The options of drop-downs in HubSpot's workflow editor: what HubSpot asks, and what it gets."""

from __future__ import annotations

import hashlib
import json

import pytest

from integration.webhooks import hubspot_options
from integration.webhooks.hubspot_options import Option
from support import ENVIRON, account, make_services
from support.hook_client import HookClient
from support.openapi_check import check_answer

SECRET = ENVIRON["HUBSPOT_SECRET"]
KEY = "urlkey-case-0123456789abcdef"
SOURCE = '\n[sources.crm]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\nsignatures = ["v3", "v2"]\n'
FIELDS = """
campaign_id = "{{ event.inputFields.campaign }}"
customer_id = "{{ event.inputFields.customer }}"
recall_telephone = "{{ event.inputFields.telephone }}"
recall_date = "{{ event.inputFields.date }}"
"""


def route(chosen, accounts=None, source="crm"):
    listed = "" if accounts is None else f"accounts = {json.dumps(accounts)}"
    return f'\n[[routes]]\nname = "{chosen}"\nsource = "{source}"\naccount = "{chosen}"\n{listed}{FIELDS}'


def by_field(field, accounts):
    return route(f"{{{{ event.inputFields.{field} }}}}", accounts)


def named(count):
    return [f"account-{number:03}" for number in range(count)]


def asked(name="account", **fetch):
    """Return a request as HubSpot's reference has it, with the values that the user has filled in so far."""
    return {
        "origin": {"portalId": 1, "actionDefinitionId": 2, "actionDefinitionVersion": 3},
        "objectTypeId": "0-1",
        "inputFieldName": name,
        "inputFields": {
            "customer": {"type": "OBJECT_PROPERTY", "propertyName": "document"},
            "campaign": {"type": "STATIC_VALUE", "value": "12345"},
        },
        "fetchOptions": fetch,
    }


@pytest.fixture
def web_of(tmp_path, store):
    def make(text, accounts=("bogota", "lima"), rates=None):
        tables = "".join(account(name, token=f"token-of-{name}") for name in accounts)
        return HookClient(make_services(tmp_path, store, tables + text), rates)

    return make


def post(
    web, body, *, path="/hooks/crm/options", signed_path=None, secret=SECRET, version="v2", headers=None
):
    """Post as HubSpot does, signed with v2: SHA-256 of secret, method, URL and body."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = signed_path or f"http://localhost{path}"
    signature = hashlib.sha256(f"{secret}POST{url}".encode() + sent).hexdigest()
    signed = {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": version}
    all_headers = {"Content-Type": "application/json", **(signed if headers is None else headers)}
    answer = web.client.post(path, data=sent, headers=all_headers)
    rule = "/hooks/<source>/options" if path.count("/") == 3 else "/hooks/<source>/<url_key>/options"
    check_answer(rule, "post", answer)
    return answer


def values(answer):
    assert answer.status_code == 200, answer.text
    assert all(set(option) == {"label", "description", "value"} for option in answer.json["options"])
    assert all(option["label"] == option["value"] for option in answer.json["options"])
    return [option["value"] for option in answer.json["options"]]


# --- which options ---------------------------------------------------------------------------------


def test_the_options_are_the_accounts_that_the_source_may_use(web_of):
    text = (
        SOURCE
        + by_field("account", ["lima", "bogota"])
        + SOURCE.replace("crm", "other")
        + route("cali", source="other")
    )
    web = web_of(text, ("bogota", "lima", "cali", "quito"))
    assert values(post(web, asked())) == ["lima", "bogota"]


def test_the_field_is_the_one_that_the_template_reads(web_of):
    web = web_of(SOURCE + by_field("site", ["bogota"]) + by_field("shop", ["lima", "bogota"]))
    assert values(post(web, asked("site"))) == ["bogota"]
    assert values(post(web, asked("shop"))) == ["lima", "bogota"]
    for other in ("campaign", "account.x", "", "site "):
        assert values(post(web, asked(other))) == []


def test_routes_for_one_account_each_give_the_options_of_the_usual_field(web_of):
    web = web_of(SOURCE + route("lima") + route("bogota") + route("lima"))
    assert values(post(web, asked())) == ["lima", "bogota"]


def test_a_source_without_a_route_has_no_account(web_of):
    web = web_of(SOURCE + SOURCE.replace("crm", "other") + route("bogota", source="other"))
    assert values(post(web, asked())) == []


def test_a_field_for_the_campaign_has_the_texts_that_the_routes_name(web_of):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    assert values(post(web, asked("campaign"))) == [], "no route names a campaign"
    chosen = (
        "when = \"event.inputFields.campaign in ['12345', '678'] or event.inputFields.campaign == '9'\"\n"
    )
    web = web_of(SOURCE + by_field("account", ["bogota"]) + chosen)
    assert values(post(web, asked("campaign"))) == ["12345", "678", "9"]
    assert values(post(web, asked("campaign", q="67"))) == ["678"]
    assert values(post(web, asked("account"))) == ["bogota"]
    assert values(post(web, asked("customer"))) == []


def test_texts_that_stand_for_accounts_are_the_options_of_their_field(web_of):
    sites = [("lima", "Lima Centro"), ("bogota", "Bogotá Norte")]
    text = "".join(
        route(name) + f"when = \"event.inputFields.account == '{site}'\"\n" for name, site in sites
    )
    web = web_of(SOURCE + text)
    assert values(post(web, asked())) == ["Lima Centro", "Bogotá Norte"]


def test_the_options_of_another_field_take_one_function(web_of, monkeypatch):
    """The function may give an option a label, and the user searches the label too."""

    def campaigns(name, routes):
        assert (name, [each.account_names for each in routes]) == ("campaign", [("bogota",)])
        return [Option("12345", "Cobranza"), Option("678", "Ventas"), Option("678", "Ventas")]

    web = web_of(SOURCE + by_field("account", ["bogota"]) + SOURCE.replace("crm", "other"))
    monkeypatch.setattr(
        hubspot_options,
        "_OPTIONS_BY_ROUTE_KEY",
        {**hubspot_options._OPTIONS_BY_ROUTE_KEY, "campaign_id": campaigns},
    )
    answer = post(web, asked("campaign"))
    assert answer.json["options"] == [
        {"label": "Cobranza", "description": "Cobranza", "value": "12345"},
        {"label": "Ventas", "description": "Ventas", "value": "678"},
    ]
    assert [each["value"] for each in post(web, asked("campaign", q="VENT")).json["options"]] == ["678"]
    assert values(post(web, asked("account"))) == ["bogota"]


def test_what_is_offered_is_accepted_by_the_route(web_of):
    web = web_of(SOURCE + by_field("account", ["bogota", "lima"]))
    telephones = {"bogota": "300 111 2233", "lima": "300 111 2233"}
    for number, name in enumerate(values(post(web, asked()))):
        inputs = {
            "account": name,
            "campaign": "1",
            "customer": "c",
            "telephone": telephones[name],
            "date": "2027-01-04T15:00:00",
        }
        action = {"callbackId": f"ap-{number}", "object": {"objectId": 9}, "inputFields": inputs}
        done = web.post("crm", action)
        assert done.json["outputFields"]["outcome"] == "recall", done.json
        assert web.recall(done.json["outputFields"]["recall_id"]).account == name


# --- pages and search ------------------------------------------------------------------------------


def test_many_accounts_come_in_pages(web_of):
    names = named(230)
    web = web_of(SOURCE + by_field("account", names), names)
    found, fetch = [], {}
    for expected in (100, 100, 30):
        answer = post(web, asked(**fetch))
        assert len(values(answer)) == expected
        found += values(answer)
        fetch = {"after": answer.json.get("after")}
    assert found == names
    assert fetch == {"after": None}, "the last page has no cursor"


def test_five_thousand_accounts_are_paged_and_searched(web_of):
    names = [f"account-{number:04}" for number in range(5000)]
    web = web_of(SOURCE + by_field("account", names), names)
    found, after = [], None
    while after is not None or not found:
        answer = post(web, asked(**({} if after is None else {"after": after})))
        found, after = found + values(answer), answer.json.get("after")
    assert found == names
    assert values(post(web, asked(q="account-4321"))) == ["account-4321"]
    second = post(web, asked(q="account-1", after="100"))
    assert values(second) == names[1100:1200]


def test_a_search_filters_and_pages(web_of):
    names = [*named(150), "Bogota-Norte"]
    web = web_of(SOURCE + by_field("account", names), names)
    assert values(post(web, asked(q="norte"))) == ["Bogota-Norte"]
    assert values(post(web, asked(q=" ACCOUNT-14 "))) == named(150)[140:]
    first = post(web, asked(q="account"))
    assert len(values(first)) == 100
    assert values(post(web, asked(q="account", after=first.json["after"]))) == named(150)[100:]
    assert values(post(web, asked(q="nothing like this"))) == []
    assert first.json["searchable"] is True


@pytest.mark.parametrize("after", ["-1", "x", "1e9", "9" * 10, "٣", 5, [], True])
def test_a_cursor_of_another_form_is_unreadable(web_of, after):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    assert post(web, asked(after=after)).status_code == 400


def test_a_cursor_past_the_end_gives_an_empty_page(web_of):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    assert values(post(web, asked(after="999999999"))) == []


@pytest.mark.parametrize("fetch", [None, [], "x", {"q": None, "after": None}, {"q": 5}])
def test_a_request_without_a_search_gets_all(web_of, fetch):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    assert values(post(web, asked() | {"fetchOptions": fetch})) == ["bogota"]


# --- who may ask -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"headers": {}},
        {"secret": "another"},
        {"signed_path": "http://localhost/hooks/crm"},
        {"version": "v1"},
        {"headers": {"X-HubSpot-Signature-v3": "AAAA"}},
    ],
)
def test_a_request_that_is_not_signed_by_hubspot_gets_401_and_no_name(web_of, change):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    answer = post(web, asked(), **change)
    assert answer.status_code == 401
    assert "bogota" not in answer.text
    (rejection,) = web.rejections()
    assert (rejection.source, rejection.status) == ("crm", 401)


def test_v2_must_be_named(web_of):
    web = web_of(SOURCE.replace(', "v2"', "") + by_field("account", ["bogota"]))
    assert post(web, asked()).status_code == 401


def test_the_configured_address_is_the_signed_one(web_of):
    public = 'public_url = "https://hooks.example.com/hooks/crm"\n'
    web = web_of(SOURCE + public + by_field("account", ["bogota"]))
    assert values(post(web, asked(), signed_path="https://hooks.example.com/hooks/crm/options")) == ["bogota"]
    assert post(web, asked()).status_code == 401
    assert post(web, asked(), signed_path="https://hooks.example.com/hooks/crm").status_code == 401


def test_a_key_of_the_address_is_required(web_of):
    web = web_of(SOURCE + f'url_key = "{KEY}"\n' + by_field("account", ["bogota"]))
    assert values(post(web, asked(), path=f"/hooks/crm/{KEY}/options")) == ["bogota"]
    assert post(web, asked()).status_code == 401
    assert post(web, asked(), path=f"/hooks/crm/{KEY[:-1]}x/options").status_code == 401


def test_other_sources_have_no_options(web_of):
    forms = '\n[sources.forms]\nkind = "json"\nverify = "bearer"\nsecrets = ["a-secret-of-the-forms"]\n'
    keyed = f'\n[sources.keyed]\nkind = "json"\nverify = "url-key"\nurl_key = "{KEY}"\n'
    web = web_of(SOURCE + forms + keyed + by_field("account", ["bogota"]))
    paths = (
        "forms/options",
        "keyed/options",
        f"keyed/{KEY}/options",
        "nowhere/options",
        f"crm/{KEY}/options",
    )
    for path in paths:
        assert post(web, asked(), path=f"/hooks/{path}").status_code == 404, path


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b'{"inputFieldName": 5}', 400),
        (b"{" * 5000, 400),
        (b'{"inputFieldName": "account", "x": "' + b"y" * 1024 * 1024 + b'"}', 413),
    ],
)
def test_another_body_is_rejected(web_of, body, status):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    assert post(web, body).status_code == status


def test_nothing_is_stored_and_the_address_counts_as_verified(web_of, store):
    web = web_of(SOURCE + by_field("account", ["bogota"]))
    post(web, asked())
    web.services.counter_flusher.flush()
    assert store.hgetall("{ringback}:counts")["deliveries:crm:address verified"] == "1"
    assert not [key for key in store.keys("*") if "delivery" in key or "parked" in key]
    assert web.services.delivery_log.page(web.services.config.sources).items == ()


def test_the_rate_of_the_source_limits_it(web_of):
    class Over:
        def over(self, name, per_minute):
            return 7

    web = web_of(SOURCE + "rate_per_minute = 1\n" + by_field("account", ["bogota"]), rates=Over())
    answer = post(web, asked())
    # Workflows read the header in milliseconds.
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7000")
