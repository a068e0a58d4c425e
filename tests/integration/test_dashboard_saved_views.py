"""The order, columns and saved views of the list of recalls."""

from __future__ import annotations

import re

import pytest

from integration.domain.recall import State
from integration.store.search.saved_views import MOST_VIEWS
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages
from support.installation import Installation
from support.seeded import fill

NUMBER = "3001112233"


@pytest.fixture
def installation(tmp_path, store):
    return Installation(make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES))


def listed(answer):
    return re.findall(r'<tr id="(rc_\w+)">', answer.text)


def heads(answer):
    return re.findall(r'<th scope="col" class="col-(\w+)"', answer.text)


def views_of(answer):
    return dict(re.findall(r'href="(/recalls/views/[^"]+)"[^>]*>([^<]+)</a>', answer.text))


def test_the_oldest_are_listed_first_over_all_pages(installation):
    fill(installation.services.store, 120, states=(State.DEAD, State.ACCEPTED))
    pages = Pages(installation.services)
    address, found = "/recalls?sort=oldest", []
    while address:
        answer = pages.get(address)
        found += listed(answer)
        further = re.search(r'rel="next" href="([^"]+)"', answer.text)
        address = further and further[1].replace("&amp;", "&")
    assert len(found) == 120
    assert found == sorted(found)
    assert listed(pages.get("/recalls")) == found[::-1][:50]


def test_an_order_without_an_index_is_not_offered(installation):
    recalls = [installation.ask(f"c{number}") for number in range(3)]
    answer = Pages(installation.services).get("/recalls?sort=customer")
    assert listed(answer) == recalls[::-1]
    order = re.search(r'<select id="filter-sort".*?</select>', answer.text, re.DOTALL)[0]
    assert re.findall(r'value="([^"]*)"', order) == ["", "oldest"]


def test_the_chosen_columns_are_remembered_for_the_user_alone(installation):
    installation.ask()
    pages = Pages(installation.services)
    assert len(heads(pages.get("/recalls"))) == 9
    answer = pages.post("/recalls/columns", {"column": ["asked", "state", "nonsense"], "account": "bogota"})
    assert answer.request.full_path == "/recalls?account=bogota"
    assert heads(answer) == ["state", "asked"]
    assert heads(Pages(installation.services).get("/recalls")) == ["state", "asked"]
    assert len(heads(Pages(installation.services, name="ben").get("/recalls"))) == 9


def test_a_view_is_saved_opened_and_deleted(installation):
    ours = installation.ask()
    installation.ask(account="lima")
    pages = Pages(installation.services, "viewer")
    pages.post("/recalls/columns", {"column": ["account"]})
    pages.post("/recalls/views", {"name": " Bogota  now ", "account": "bogota", "sort": "oldest"})
    pages.post("/recalls/columns", {"column": ["state"]})
    ((address, name),) = views_of(pages.get("/recalls")).items()
    assert name == "Bogota now"
    opened = pages.get(address, follow_redirects=True)
    assert opened.request.args["account"] == "bogota"
    assert opened.request.args["sort"] == "oldest"
    assert (listed(opened), heads(opened)) == ([ours], ["account"])
    deleted = pages.post(f"{address}/delete")
    assert views_of(deleted) == {}
    assert pages.get(address).status_code == 404


def test_a_view_belongs_to_its_user(installation):
    installation.ask()
    pages, other = Pages(installation.services), Pages(installation.services, name="ben")
    pages.post("/recalls/views", {"name": "mine", "state": "dead"})
    (address,) = views_of(pages.get("/recalls"))
    assert views_of(other.get("/recalls")) == {}
    assert other.get(address).status_code == 404
    other.post(f"{address}/delete")
    assert views_of(pages.get("/recalls")) == {address: "mine"}


def test_a_user_has_a_bounded_number_of_views(installation):
    installation.ask()
    pages = Pages(installation.services)
    pages.post("/recalls/columns", {"column": ["state"]})
    for number in range(MOST_VIEWS):
        pages.post("/recalls/views", {"name": f"view {number}"}, follow=False)
    refused = pages.post("/recalls/views", {"name": "one more"})
    assert "Nothing was saved" in refused.text
    assert len(views_of(refused)) == MOST_VIEWS
    assert heads(pages.post("/recalls/columns", {"column": ["asked"]})) == ["asked"]


def test_a_view_stores_no_search_for_a_person(installation, store):
    installation.ask()
    search = Pages(installation.services).post("/search", {"q": NUMBER}).request.path.rpartition("/")[2]
    pages = Pages(installation.services)
    saved = pages.post("/recalls/views", {"name": "about one", "search": search, "state": "queued"})
    assert "search=" not in saved.request.full_path
    (key,) = store.keys("{ringback}:list_views:*")
    stored = str(store.hgetall(key))
    assert search not in stored
    assert NUMBER not in stored


def test_a_view_without_a_name_is_not_saved(installation):
    installation.ask()
    answer = Pages(installation.services).post("/recalls/views", {"name": " \u200b"})
    assert "the name is missing" in answer.text
    assert views_of(answer) == {}
