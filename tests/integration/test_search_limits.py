"""A search runs in a process that is killed when it overruns, in turns with other users, for a present client."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.dashboard.views import search
from integration.domain.errors import ClientLeftError
from integration.domain.recall_filters import search_term
from integration.web.isolation.fork_server import Limits
from integration.web.isolation.user_queue import MOST_OF_A_USER, Caller
from integration.web.wsgi import CLIENT_LEFT
from integration.webhooks.isolated_work.client import MOST_OVERRUNS, IsolatedWork
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages
from support.hook_client import HookClient
from support.waiting import AT_ONCE_SECONDS, wait_until

NUMBER = "3001112233"
# Each looks like the number until it is read, which takes half a millisecond.
HEAVY = [f"9{number:05}{NUMBER[-4:]}" for number in range(60_000)]
MEMORY = 256 * 1024 * 1024
PATIENT = Limits(seconds=120, memory_bytes=MEMORY)


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)


@pytest.fixture
def isolated():
    """Return a function that makes isolated work with limits for each piece of a search."""
    with ExitStack() as stack:

        def make(limits):
            work = IsolatedWork(search_limits=limits)
            stack.callback(work.stop)
            return work

        yield make


@pytest.fixture
def one_by_one(monkeypatch):
    """Each piece of a search has one record, and no search ends because of its time."""
    monkeypatch.setattr(search, "EVENTS_STEP", 1)
    monkeypatch.setattr(search, "EVENT_SECONDS", 600.0)


def park(services, phone, **more):
    """Send an event that is parked, because its date is not certain. Return it as it is stored."""
    body = {"customer": "99", "phone": phone, "at": "next week", **more}
    delivery = HookClient(services).post("forms", body).json["delivery"]
    (record,) = [each for each in services.parked.records.page(limit=99)[0] if each["delivery"] == delivery]
    return record


def found_by(services, work, typed=NUMBER, language="en"):
    pages = Pages(services, "viewer", language=language, isolated=work)
    answer = pages.post("/search", {"q": typed})
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("en", ("This search is incomplete.", "2 parked events or deliveries were left out")),
        ("es", ("Esta búsqueda está incompleta.", "Se omitieron 2 eventos por corregir o entregas")),
    ],
)
@pytest.mark.usefixtures("one_by_one")
def test_a_piece_that_overruns_is_killed_and_the_search_goes_past_it_and_says_so(
    services, isolated, language, words
):
    older = park(services, NUMBER)
    heavy = park(services, "3009998877", list=HEAVY)
    text = found_by(services, isolated(Limits(seconds=3.0, memory_bytes=MEMORY)), language=language)
    assert [each for each in words if each not in text] == []
    assert older["id"] in text
    assert older["delivery"] in text
    assert heavy["id"] not in text


@pytest.mark.usefixtures("one_by_one")
def test_a_search_ends_after_a_few_pieces_that_overrun(services, isolated):
    for _ in range(MOST_OVERRUNS + 1):
        park(services, "3009998877", list=HEAVY)
    text = found_by(services, isolated(Limits(seconds=0.3, memory_bytes=MEMORY)))
    assert f"{MOST_OVERRUNS} parked events or deliveries were left out" in text
    assert "Not all parked events were searched" in text
    assert "Not all deliveries were searched" in text


def test_a_search_whose_time_is_over_says_what_it_did_not_examine(services, isolated, monkeypatch):
    monkeypatch.setattr(search, "EVENT_SECONDS", -600.0)
    parked = park(services, NUMBER)
    text = found_by(services, isolated(PATIENT))
    assert parked["id"] not in text
    assert "Not all parked events were searched" in text
    assert "Not all deliveries were searched" in text


def test_a_search_that_examined_everything_does_not_claim_otherwise(services, isolated):
    park(services, NUMBER)
    text = found_by(services, isolated(PATIENT), typed="nobody")
    assert "Nothing found" in text
    assert not [words for words in ("incomplete", "Not all", "searched back to") if words in text]


def test_another_users_search_goes_on_meanwhile(services, isolated):
    """Ana's search does not end before Eva's has."""
    work, config = isolated(Limits(seconds=1.0, memory_bytes=MEMORY)), services.config
    term = search_term(NUMBER, config.accounts.values(), whole=True)
    light, heavy = park(services, NUMBER), park(services, "3009998877", list=HEAVY)
    eva_has_found = threading.Event()

    def search_of_ana():
        with work.event_search(config, Caller("ana"), term) as events:
            while not eva_has_found.is_set():
                events.parked([heavy])

    def search_of_eva():
        with work.event_search(config, Caller("eva"), term) as events:
            return events.parked([light])

    with ThreadPoolExecutor(2) as threads:
        of_ana = threads.submit(search_of_ana)
        try:
            wait_until(lambda: present(work) == "ana", what="ana's search has begun")
            assert threads.submit(search_of_eva).result(AT_ONCE_SECONDS) == [light]
            assert not of_ana.done()
        finally:
            eva_has_found.set()
        of_ana.result(AT_ONCE_SECONDS)


def test_when_the_client_leaves_its_search_is_killed(services, isolated):
    park(services, "3009998877", list=HEAVY)
    work, left = isolated(PATIENT), threading.Event()
    pages = Pages(services, "viewer", isolated=work)
    address = pages.post("/search", {"q": NUMBER}, follow=False).headers["Location"]
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(pages.get, address, environ_overrides={CLIENT_LEFT: left})
        wait_until(lambda: forked_by(work), what="the search has begun")
        left.set()
        assert answer.result(AT_ONCE_SECONDS).status_code == 503
    assert not forked_by(work)
    assert work._server._queue._places == set()


def test_the_search_of_a_client_that_has_left_takes_no_piece(services, isolated):
    work, caller = isolated(PATIENT), Caller("ana")
    caller.left.set()
    term = search_term(NUMBER, services.config.accounts.values(), whole=True)
    with work.event_search(services.config, caller, term) as events, pytest.raises(ClientLeftError):
        events.parked([park(services, NUMBER)])


@pytest.mark.parametrize("language", ["en", "es", "pt"])
def test_a_user_with_too_many_searches_gets_429_and_another_user_does_not(services, isolated, language):
    parked, work = park(services, NUMBER), isolated(PATIENT)
    pages = Pages(services, "viewer", language=language, isolated=work)
    address = pages.post("/search", {"q": NUMBER}, follow=False).headers["Location"]
    with ExitStack() as stack:
        for _ in range(MOST_OF_A_USER):
            stack.enter_context(work._server.place(Caller("ana")))
        answer = pages.get(address)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "5")
        title = {
            "en": "previews and searches at once",
            "es": "vistas previas y búsquedas a la vez",
            "pt": "visualizações e buscas demais ao mesmo tempo",
        }
        assert title[language] in answer.text
        other = Pages(services, "operator", "eva", isolated=work).post("/search", {"q": NUMBER})
        assert parked["id"] in other.text
    assert pages.get(address).status_code == 200


def present(work):
    place = work._server._queue._present
    return place and place.caller.name


def forked_by(work):
    """Return the processes of the work that is going on."""
    running = work._server._running
    if running is None:
        return ""
    pid = running.process.pid
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()
