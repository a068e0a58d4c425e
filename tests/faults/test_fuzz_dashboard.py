"""The dashboard against strangers, low roles and hostile text: at every address that it has, now and later."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import Client

from integration.app import compose
from integration.domain.roles import Role, SignedInUser
from support import SOURCES_AND_ROUTES, NoRates, as_bytes, hubspot_event, make_services, signed, two_accounts
from support.fuzzing import examples

DATABASE = 11
MARKUP = '\'"><canary-tag canary-attribute="1" onload=x></script><script>canary()</script>{{ 7*7 }}\u202e💣'
PLAIN = "c-1"
OPEN_TO_ALL = {"sign_in", "try_to_sign_in", "sign_out", "sign_in_elsewhere", "back_from_provider", "static"}
# What a viewer sends changes nothing but the viewer's own columns and views.
FOR_VIEWERS = {
    *("try_route", "run_route", "begin_search", "export_recalls"),
    *("choose_columns", "save_view", "delete_view"),
}


class Somebody:
    """Who is signed in is set by the test."""

    role = None

    def present(self):
        return None if self.role is None else SignedInUser("ana", Role(self.role))

    def redirect_to_sign_in(self):
        return "led to the door", 401


class Dashboard:
    """The dashboard on a real store that hostile webhooks were sent to."""

    def __init__(self, services):
        self.somebody = Somebody()
        self.app = compose(services, NoRates(), self.somebody)
        self.client = Client(self.app)
        self.recalls, self.deliveries = [], []
        for number, customer in enumerate([PLAIN, MARKUP[:250]]):
            self._send(
                services,
                {
                    "customer": customer,
                    "campaign": customer,
                    "phone": f"300111223{number}",
                    "at": "2060-03-04T15:30:00Z",
                },
            )
        self._send(
            services, {MARKUP: MARKUP, "customer": MARKUP, "phone": MARKUP, "at": MARKUP, "campaign": MARKUP}
        )
        refused = as_bytes([hubspot_event(1, MARKUP)])
        self.client.post(
            "/hooks/hubspot",
            data=refused,
            headers={
                "X-HubSpot-Signature-v3": "AAAA",
                "User-Agent": MARKUP.encode("ascii", "ignore").decode(),
                "X-HubSpot-Request-Timestamp": "1",
            },
        )
        self.search_id = services.searches.add("ana", MARKUP)
        services.accounts.pause("bogota", MARKUP)
        services.recalls.cancel(self.recalls[0], MARKUP)

    def _send(self, services, event):
        body = as_bytes(event)
        headers = signed(services, "forms", body, url="http://localhost/hooks/forms")
        answer = self.client.post("/hooks/forms", data=body, headers=headers)
        assert answer.status_code == 202, answer.text
        self.recalls += answer.json["recalls"]
        self.deliveries.append(answer.json["delivery"])

    def rules(self, method):
        return [
            rule
            for rule in self.app.dashboard.url_map.iter_rules()
            if rule.endpoint.startswith("dashboard.") and method in rule.methods
        ]

    def address(self, rule, **given):
        known = {
            "recall_id": self.recalls[0], "delivery_id": self.deliveries[-1], "parked_id": "1", "place": "1",
            "name": "bogota", "what": "body", "job_id": "1", "filename": "style.css",
            "search_id": self.search_id, **given,
        }  # fmt: skip
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: known.get(found[1], "1"), rule.rule)

    def proof(self):
        page = self.client.get("/sign-in" if self.somebody.role is None else "/").text
        found = re.search(r'"X-CSRFToken": "([^"]+)"|name="csrf_token"[^>]*value="([^"]+)"', page)
        return found[1] or found[2]


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory, valkey):
    with valkey.client(db=DATABASE) as store:
        store.flushdb()
        services = make_services(
            tmp_path_factory.mktemp("dashboard"), store, two_accounts() + SOURCES_AND_ROUTES
        )
        services.binding.bind()
        yield Dashboard(services)


# --- who may do what -------------------------------------------------------------------------


def name_of(rule):
    return rule.endpoint.removeprefix("dashboard.")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_who_is_not_signed_in_gets_past_the_door(dashboard, method):
    dashboard.somebody.role = None
    for rule in dashboard.rules(method):
        headers = {"X-CSRFToken": dashboard.proof()} if method == "POST" else {}
        answer = dashboard.client.open(dashboard.address(rule), method=method, headers=headers)
        assert answer.text == "led to the door" or name_of(rule) in OPEN_TO_ALL, rule


@pytest.mark.parametrize("proof", [None, "", "x", "IjEi.x.y"])
def test_nothing_is_done_without_the_proof_against_forged_requests(dashboard, proof):
    dashboard.somebody.role = "admin"
    for rule in dashboard.rules("POST"):
        headers = {} if proof is None else {"X-CSRFToken": proof}
        for more in ({}, {"HX-Request": "true"}, {"Origin": "https://evil.example"}):
            answer = dashboard.client.post(dashboard.address(rule), data={}, headers={**headers, **more})
            assert answer.status_code == 400, rule


def test_a_viewer_changes_nothing(dashboard):
    dashboard.somebody.role = "viewer"
    for rule in dashboard.rules("POST"):
        if name_of(rule) in OPEN_TO_ALL:
            continue
        answer = dashboard.client.post(dashboard.address(rule), headers={"X-CSRFToken": dashboard.proof()})
        assert answer.status_code == 403 or name_of(rule) in FOR_VIEWERS, rule


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_no_other_method_does_what_a_form_does(dashboard, method):
    dashboard.somebody.role = None
    for rule in dashboard.rules("POST"):
        if not any(other.rule == rule.rule for other in dashboard.rules("GET")):
            answer = dashboard.client.open(dashboard.address(rule), method=method)
            assert answer.status_code in {401, 404, 405} or method == "OPTIONS", rule


# --- what a page may hold --------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.links = set(), set(), [], []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self._in_script = tag == "script"
        for name, value in attrs:
            self.attributes.add(name)
            if name in {"href", "src", "action", "formaction", "hx-get", "hx-post", "hx-delete", "hx-put"}:
                self.links.append(value or "")

    def handle_endtag(self, tag):
        self._in_script = False

    def handle_data(self, data):
        if self._in_script and data.strip():
            self.scripts.append(data)


def require_harmless(answer):
    assert answer.status_code < 500, answer.text[:300]
    location = answer.headers.get("Location", "/")
    assert re.match(r"/(?![/\\])", location), location
    if answer.mimetype != "text/html" or 300 <= answer.status_code < 400:
        return
    page = Page(answer.text)
    assert page.scripts == []
    assert "canary-tag" not in page.tags
    assert not {
        name for name in page.attributes if name.startswith("on") or "canary" in name or name == "style"
    }
    assert not {
        name for name in page.attributes if name in {"srcdoc", "hx-on", "hx-vars"} or name.startswith("hx-on")
    }
    assert [
        link for link in page.links if not re.match(r"(/(?![/\\])|#|\?|$)", link) and "://" not in link
    ] == []
    assert [
        link for link in page.links if re.match(r"\s*(javascript|data|vbscript):", link, re.IGNORECASE)
    ] == []
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
@pytest.mark.parametrize("htmx", [False, True])
def test_no_page_makes_anything_of_hostile_text(dashboard, role, htmx):
    dashboard.somebody.role = role
    headers = {"HX-Request": "true"} if htmx else {}
    seen = 0
    ids = [{"recall_id": recall} for recall in dashboard.recalls]
    ids += [{"delivery_id": delivery} for delivery in dashboard.deliveries]
    addresses = {dashboard.address(rule, **given) for rule in dashboard.rules("GET") for given in ids}
    for address in sorted(addresses):
        answer = dashboard.client.get(address, headers=headers)
        require_harmless(answer)
        seen += "canary-tag" in answer.text
    assert seen


NAMES = st.sampled_from(
    [
        *(
            "account",
            "route",
            "source",
            "name",
            "state",
            "customer",
            "telephone",
            "q",
            "campaign",
            "result",
            "day",
        ),
        *(
            "from",
            "until",
            "cursor",
            "limit",
            "kind",
            "next",
            "language",
            "delivery",
            "event",
            "sample",
            "record",
        ),
        *(
            "_external",
            "_scheme",
            "_anchor",
            "_method",
            "endpoint",
            "view",
            "self",
            "values",
            "page",
            "error",
        ),
    ]
)
VALUES = st.sampled_from(
    [
        *(
            "",
            "0",
            "-1",
            "9" * 30,
            "es",
            "en",
            "bogota",
            "queued",
            MARKUP,
            "//evil.example",
            "/\\evil.example",
            "\0",
        ),
        *(
            "2026-03-02",
            "2026-99-99",
            "0000-00-00",
            "9999-12-31",
            "nan",
            "1e999",
            "%00",
            "\ud83d",
            "a" * 5000,
            "٣",
        ),
        *(
            "javascript:alert(1)",
            "https://evil.example/",
            "../../etc/passwd",
            "{{ 7*7 }}",
            "' or 1=1",
            "*",
            "[a-",
        ),
    ]
) | st.text(max_size=10)


@examples(80)
@given(data=st.data())
def test_whatever_an_address_holds_its_page_is_harmless(dashboard, data):
    dashboard.somebody.role = data.draw(st.sampled_from(["viewer", "operator", "admin"]))
    rule = data.draw(st.sampled_from(dashboard.rules("GET")))
    parts = {
        name: data.draw(st.sampled_from([dashboard.recalls[1], "1", "x", "a b", "%2e", "é💣"]))
        for name in rule.arguments
    }
    given_ = data.draw(st.dictionaries(NAMES, VALUES, max_size=4))
    query = {name: value.encode("utf-8", "surrogatepass") for name, value in given_.items()}
    for host in ("localhost", "evil.example"):
        require_harmless(
            dashboard.client.get(dashboard.address(rule, **parts), query_string=query, headers={"Host": host})
        )


@examples(60)
@given(data=st.data())
def test_whatever_a_form_holds_its_answer_is_harmless(dashboard, data):
    dashboard.somebody.role = "admin"
    rule = data.draw(
        st.sampled_from([rule for rule in dashboard.rules("POST") if name_of(rule) not in OPEN_TO_ALL])
    )
    parts = {
        name: data.draw(st.sampled_from([dashboard.recalls[1], dashboard.deliveries[-1], "1", "x"]))
        for name in rule.arguments
    }
    form = data.draw(
        st.dictionaries(
            NAMES | st.sampled_from(["when", "campaign_id", "customer_id", "recall_date", "action"]),
            VALUES,
            max_size=5,
        )
    )
    form = {name: value.encode("utf-8", "replace") for name, value in form.items()}
    headers = {"X-CSRFToken": dashboard.proof(), **data.draw(st.sampled_from([{}, {"HX-Request": "true"}]))}
    require_harmless(dashboard.client.post(dashboard.address(rule, **parts), data=form, headers=headers))
