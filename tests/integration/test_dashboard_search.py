"""The search for everything: what it finds, and what it reveals to a user who sees numbers masked."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from werkzeug.test import Client

from integration.app import compose
from integration.domain.recall import Filter
from integration.store.search.stored import SEARCH_LIFETIME
from integration.web.rate_limit import RateLimit
from support import ELEVEN_SPELLINGS, SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages, SignedIn
from support.hook_client import HookClient

SOON = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
NUMBER = "3001112233"
CUSTOMER = "52123456"
OTHER_NUMBER = "3009998877"

ID_SPELLINGS = ("52123456", "52.123.456", "52 123 456", "052123456", "00052.123.456", "52\u00a0123\u00a0456")


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)


def send(services, customer=CUSTOMER, phone=NUMBER, at=SOON, message_id=None):
    """Send a form; return the answer."""
    answer = HookClient(services).form(customer, at, phone, message_id=message_id)
    assert answer.status_code == 202, answer.text
    return answer.json


def results(pages, text):
    """Search as a user does. Return the page of the results."""
    answer = pages.post("/search", {"q": text})
    assert answer.status_code == 200, answer.text
    assert re.fullmatch(r"/search/[\w-]{16}", answer.request.path), answer.request.path
    return answer


def recalls_in(answer):
    return re.findall(r'<tr id="(rc_\w+)"', answer.text)


def links_in(answer, start):
    return set(re.findall(rf'href="({re.escape(start)}[^"]*)"', unescape(answer.text.split("<main")[1])))


# --- finding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_a_recall_is_found_by_whole_values_in_any_spelling(services, name):
    recall = send(services, message_id="lead-4711")["recalls"][0]
    send(services, customer="99", phone=OTHER_NUMBER)
    pages = Pages(services, name)
    for typed in (*ELEVEN_SPELLINGS, *ID_SPELLINGS, "lead-4711"):
        assert recalls_in(results(pages, typed)) == [recall], typed


@pytest.mark.parametrize("dial_format", ["{e164}", "9{national}", "{dial}#1"])
def test_a_viewer_finds_a_number_however_it_is_dialled(tmp_path, store, dial_format):
    services = make_services(
        tmp_path, store, two_accounts(more=f'dial_format = "{dial_format}"') + SOURCES_AND_ROUTES
    )
    recall = send(services)["recalls"][0]
    viewer = Pages(services, "viewer")
    for typed in ELEVEN_SPELLINGS:
        assert recalls_in(results(viewer, typed)) == [recall], typed


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_ids_find_what_they_name(services, name):
    pages = Pages(services, name)
    sent = send(services, message_id="event-1")
    recall, delivery = sent["recalls"][0], sent["delivery"]
    for typed in (recall, recall.upper(), delivery, "event-1"):
        page = results(pages, typed)
        assert links_in(page, "/deliveries/dl_") == {f"/deliveries/{delivery}"}, typed
        assert recalls_in(page) == ([recall] if typed != delivery else [])
    assert recall in recalls_in(results(pages, recall[:11]))


@pytest.mark.parametrize("name", ["viewer", "operator"])
def test_a_parked_event_and_its_delivery_are_found(services, name):
    delivery = send(services, at="next week", message_id="event-2")["delivery"]
    send(services, customer="99", phone=OTHER_NUMBER, at="next week")
    records, _ = services.parked.records.page(limit=9)
    (parked,) = [record["id"] for record in records if record["delivery"] == delivery]
    pages = Pages(services, name)
    for typed in (*ID_SPELLINGS, *ELEVEN_SPELLINGS, "event-2", delivery):
        page = results(pages, typed)
        assert re.findall(r"<code>(pk_\w+)</code>", page.text) == [parked], typed
        assert links_in(page, "/deliveries/dl_") == {f"/deliveries/{delivery}"}, typed
    assert re.findall(r"<code>(pk_\w+)</code>", results(pages, parked).text) == [parked]


def test_a_campaign_leads_to_its_recalls(services):
    send(services)
    assert links_in(results(Pages(services), "10"), "/recalls?campaign") == {"/recalls?campaign=10"}


def test_an_operator_finds_a_number_by_its_last_digits(services):
    recall = send(services)["recalls"][0]
    send(services, at="next week")
    page = results(Pages(services, "operator"), "2233")
    assert recalls_in(page) == [recall]
    assert len(re.findall(r"<code>pk_", page.text)) == 1


def test_nothing_found_names_the_places_and_the_next_step(services):
    send(services)
    text = results(Pages(services, "viewer"), "nobody").text
    assert "Nothing found" in text
    assert "/deliveries?result=refused" in text
    assert "your role cannot search by a part" in text


@pytest.mark.parametrize("typed", ["", "   "])
def test_an_empty_search_stores_nothing(services, typed):
    answer = Pages(services).post("/search", {"q": typed})
    assert answer.request.path == "/search"
    assert services.audit.page()[0] == []


def test_a_search_leads_to_the_list_where_filters_pages_and_reload_keep_it(services):
    for number in range(60):
        send(services, at=(datetime.now(UTC) + timedelta(hours=number + 1)).isoformat())
    other = send(services, customer="99", phone=OTHER_NUMBER)["recalls"][0]
    pages = Pages(services)
    (address,) = links_in(results(pages, CUSTOMER), "/recalls?search")
    first = pages.get(address)
    assert recalls_in(pages.get(address)) == recalls_in(first)
    (older,) = links_in(first, "/recalls?search") - {address}
    found = [*recalls_in(first), *recalls_in(pages.get(older))]
    assert len(set(found)) == 60
    assert other not in found
    assert len(recalls_in(pages.get(f"{address}&state=queued"))) == 1
    assert links_in(first, "/recalls/bulk") == {
        f"/recalls/bulk?kind={kind}&{address.partition('?')[2]}" for kind in ("retry", "cancel")
    }


# --- what it reveals ---------------------------------------------------------------------------


def test_a_viewer_cannot_find_a_masked_number_digit_by_digit(services):
    """Extend a known end by one digit at a time; each page would confirm the digit."""
    recall = send(services)["recalls"][0]
    send(services, at="next week")
    viewer = Pages(services, "viewer")
    for length in range(4, len(NUMBER)):
        known = NUMBER[-length:]
        for digit in "0123456789":
            page = results(viewer, f"{digit}{known}"[-9:])
            assert "Nothing found" in page.text, (digit, known)
    assert recalls_in(results(viewer, NUMBER)) == [recall]


def test_a_viewer_finds_nothing_by_a_part(services):
    send(services, message_id="lead-4711")
    send(services, at="next week")
    viewer = Pages(services, "viewer")
    parts = (
        "2233",
        "1112233",
        "+57 3001112",
        "300111",
        "52123",
        "123456",
        "2123456",
        "*2233",
        "lead",
        "…2233",
    )
    for typed in parts:
        assert "Nothing found" in results(viewer, typed).text, typed


@pytest.mark.parametrize("path", ["/recalls?", "/recalls/bulk?kind=retry&"])
def test_an_address_with_a_person_finds_nothing(services, path):
    """Neither a filter's result nor a bulk action's count depends on a person in an address."""
    send(services)
    pages = Pages(services, "operator")
    values = (NUMBER, "2233", CUSTOMER, "0000")
    for name, value in itertools.product(("q", "customer", "phone", "telephone"), values):
        page = pages.get(f"{path}{name}={value}")
        assert recalls_in(page) == [], (name, value)
        assert ("<b>0</b>" if "bulk" in path else f"nothing is found: {name}") in page.text
        assert value not in page.text.split("<main")[1]


@pytest.mark.parametrize(
    "address", ["/deliveries?q={}", "/parked?q={}", "/calendar?customer={}", "/jobs?q={}"]
)
def test_no_page_of_a_viewer_depends_on_a_person_in_its_address(services, address):
    send(services)
    send(services, at="next week")
    viewer = Pages(services, "viewer")

    def content(value):
        text = viewer.get(address.format(value)).text.split("<main")[1]
        return re.sub(r"<time[^>]*>.*?</time>", "", text).replace(value, "")

    assert content(NUMBER) == content("3119998877")


def test_every_link_of_a_viewers_pages_is_free_of_persons(services):
    send(services, message_id="lead-4711")
    send(services, at="next week")
    viewer = Pages(services, "viewer")
    pages, todo, seen = {}, ["/"], set()
    results(viewer, NUMBER)
    todo.append(results(viewer, CUSTOMER).request.path)
    while todo:
        address = todo.pop()
        if address in seen or len(seen) > 80:
            continue
        seen.add(address)
        pages[address] = viewer.get(address)
        found = re.findall(r'(?:href|action|hx-get|hx-post)="(/[^"]*)"', unescape(pages[address].text))
        todo += [each for each in found if not each.startswith(("/static", "/sign-out"))]
    for address, page in pages.items():
        for secret in (NUMBER, CUSTOMER, NUMBER[3:]):
            assert secret not in address
            addresses = re.findall(r'="(/[^"]*)"', unescape(page.text))
            assert not [each for each in addresses if secret in each], address
            for name, value in page.headers:
                assert secret not in value, (address, name)


def test_a_redirect_of_a_search_holds_an_opaque_id(services):
    send(services)
    pages = Pages(services)
    one, two = (pages.post("/search", {"q": NUMBER}, follow=False) for _ in range(2))
    for answer in (one, two):
        assert answer.status_code == 303
        assert NUMBER not in str(answer.headers)
    assert one.headers["Location"] != two.headers["Location"]


def test_a_search_belongs_to_its_user_and_ends(services, store):
    send(services)
    address = results(Pages(services, name="ana"), CUSTOMER).request.path
    assert Pages(services, name="eva").get(address).status_code == 404
    search_id = address.rpartition("/")[2]
    assert recalls_in(Pages(services, name="eva").get(f"/recalls?search={search_id}")) == []
    assert "no longer kept" in Pages(services, name="eva").get(f"/recalls?search={search_id}").text
    (key,) = store.keys("{ringback}:search:*")
    assert 0 < store.ttl(key) <= SEARCH_LIFETIME.total_seconds()
    assert CUSTOMER not in str(key)


def test_a_search_without_the_token_against_forged_requests_is_rejected(services):
    client = Pages(services).client
    assert client.post("/search", data={"q": NUMBER}).status_code == 400


def test_a_search_for_a_person_is_in_the_audit_log_without_the_person(services):
    recall = send(services)["recalls"][0]
    pages = Pages(services, "viewer")
    address = results(pages, NUMBER).request.path
    results(pages, recall)
    pages.get(address)
    (entry,) = services.audit.page()[0]
    assert (entry.who, entry.what, entry.about) == ("ana", "search", (address.rpartition("/")[2],))


def test_the_pages_of_results_count_as_searches(services, store):
    pages = Pages(services, "viewer")
    pages.client = Client(compose(services, RateLimit(store), SignedIn("viewer")))
    address = pages.post("/search", {"q": NUMBER}).request.path
    statuses = {pages.get(address).status_code for _again in range(90)}
    assert statuses == {200, 429}


def test_the_searches_of_a_user_are_limited(services, store):
    recall = send(services)["recalls"][0]
    pages = Pages(services, "viewer")
    pages.client = Client(compose(services, RateLimit(store), SignedIn("viewer")))
    answers = (pages.post("/search", {"q": f"30011122{number:02}"}) for number in itertools.count())
    rejected = next(answer for answer in itertools.islice(answers, 25) if answer.status_code != 200)
    assert rejected.status_code == 429
    assert int(rejected.headers["Retry-After"]) >= 1
    assert "Too many searches" in rejected.text
    assert len(services.audit.page()[0]) == 20
    # The limit is the user's, and is for persons only.
    assert recalls_in(results(pages, recall)) == [recall]
    pages.client = Client(compose(services, RateLimit(store), SignedIn("viewer", "eva")))
    assert recalls_in(results(pages, NUMBER)) == [recall]


def test_an_erasure_deletes_stored_searches(services, store):
    from integration.services.personal_data.matcher import PersonMatcher

    send(services)
    pages = Pages(services)
    for typed in (CUSTOMER, NUMBER, "2233"):
        results(pages, typed)
    person = PersonMatcher(customer=CUSTOMER)
    assert services.personal_data.forget(person, keep_days=1).complete
    assert store.keys("{ringback}:search:*") == []
    assert list(services.recalls.records.every(Filter())) == []
