"""The languages of the dashboard: catalogues are complete, a page has one language, the one that a user chose."""

from __future__ import annotations

import importlib.util
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from integration.alerts import messages
from integration.config.source_models import presets
from integration.dashboard.language import FOLDER, LANGUAGES, catalogue
from integration.store.token_queue import PushResult
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages
from support.hook_client import HookClient
from support.installation import Installation

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def translations():
    """The check of `make check`."""
    spec = importlib.util.spec_from_file_location("translations", ROOT / ".ci" / "translations.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_texts_are_found_in_templates_and_in_code(translations):
    texts = {text for _context, text in translations.used_texts()}
    assert {"Accounts", "The store is away"} <= texts


@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])
def test_the_catalogues_are_complete(translations, language):
    faults = list(translations.faults_of(language, translations.used_texts()))
    assert not faults, "\n".join(faults)


PO = 'msgid ""\nmsgstr "Content-Type: text/plain; charset=utf-8\\n"\n\n'


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ('msgid "Accounts"\nmsgstr ""', "not translated"),
        ('msgid "gone"\nmsgstr "x"', "no page uses"),
        ('msgid "Paused by %(name)s"\nmsgstr "por %(who)s"', "placeholders differ"),
        ('#, fuzzy\nmsgid "Accounts"\nmsgstr "x"', "fuzzy"),
        ('msgctxt "other"\nmsgid "Accounts"\nmsgstr "x"', "no page uses"),
        ("", "missing"),
    ],
)
def test_a_fault_of_a_catalogue_is_found(translations, tmp_path, monkeypatch, entries, fault):
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    (tmp_path / "es").mkdir()
    (tmp_path / "es" / "a.po").write_text(PO + entries + "\n", "utf-8")
    used = {(None, "Accounts"): {"a.html"}, (None, "Paused by %(name)s"): {"a.html"}}
    assert any(fault in found for found in translations.faults_of("es", used))


def test_a_text_in_two_catalogues_is_a_fault(translations, tmp_path, monkeypatch):
    monkeypatch.setattr(translations, "FOLDER", tmp_path)
    (tmp_path / "es").mkdir()
    for name in ("a.po", "b.po"):
        (tmp_path / "es" / name).write_text(f'{PO}msgid "Accounts"\nmsgstr "{name}"\n', "utf-8")
    (found,) = translations.faults_of("es", {(None, "Accounts"): {"a.html"}})
    assert "also stands in a.po" in found


# Words that one Spanish of all pages, alerts and the README has another word for.
RETIRED_IN_SPANISH = (
    r"callbacks?\b",
    r"\brecalls?\b",
    r"almac[eé]n",
    r"estacionad",
    r"timbre",
    r"\btaller\b",
    r"\bfuentes?\b",
    r"mapea|mapeo",
    r"muert[oa]s\b",
    r"\bworkers?\b",
    r"\bwake-ups?\b",
    r"\bseñal(?:es)?\b",
    r"\blive\b",
)
# The same for Portuguese, with the words of Spanish and of Portugal that are close to its own.
RETIRED_IN_PORTUGUESE = (
    r"\bretornos? de chamada",
    r"\bestacionad",
    r"\bfontes?\b",
    r"\bmapea",
    r"\bmort[oa]s?\b",
    r"\brecha[zç]|\brellamada|\bcolas?\b|\bcuentas?\b|\busted(?:es)?\b",
    r"\b(?:ficheiros?|ecrãs?|utilizador(?:es)?|palavra-passe|telemóve(?:l|is))\b",
    r"[ñ¿¡]|\w(?:ción|ciones)\b",
    r"\b(?:el|los|las|y|una|unas|con|sin|hasta|pero|hay|muy|del|su|sus)\b",
)
# Keys of the configuration (account, source) and names of routes (callback) may stand in a page.
ENGLISH_WORDS = (
    r"\b(?:callbacks|recalls|workers?|wake-ups?|queues?|deliveries|parked)\b",
    r"\b(?:the|of|and|is|are|was|with|without|not|this|that|by|from|it|its|has|have)\b",
)


def words_of(language):
    """Return the texts of a language in catalogues and alerts, without the names of other things.

    Date formats, code, paths, placeholders, quoted labels of other programs and "Menu > Entry" keep their own language.
    """
    texts = [
        text
        for path in (FOLDER / language).glob("*.po")
        for message in catalogue(path)
        if message.id and message.context != "date"
        for text in ([message.string] if isinstance(message.string, str) else message.string)
    ]
    texts += [text for pair in messages._WORDS[language].values() for text in pair]
    names = re.compile(
        r"`[^`]*`|«[^»]*»|“[^”]*”|\"[^\"]*\"|\S*[/_]\S*|%\(\w+\)s|\{\w+\}|[A-Z][\w ]+(?: > [A-Z][\w ]+)+"
    )
    return [names.sub("", text) for text in texts]


@pytest.mark.parametrize(
    ("language", "word"),
    [("es", word) for word in RETIRED_IN_SPANISH]
    + [("pt_BR", word) for word in (*RETIRED_IN_PORTUGUESE, *ENGLISH_WORDS)],
)
def test_a_language_has_one_word_for_one_thing_and_no_foreign_word(language, word):
    assert not [text for text in words_of(language) if re.search(word, text, re.IGNORECASE)]


@pytest.mark.parametrize("name", sorted(presets()))
def test_the_steps_of_a_sender_are_in_portuguese(name):
    steps = "\n".join(presets()[name].steps("pt_BR"))
    for word in RETIRED_IN_PORTUGUESE:
        assert not re.search(word, steps, re.IGNORECASE), word


PORTUGUESE_PAGES = [
    "/",
    "/accounts",
    "/accounts/bogota",
    "/alerts",
    "/attention",
    "/audit",
    "/calendar",
    "/deliveries",
    "/jobs",
    "/accounts/nowhere",
    "/parked",
    "/person",
    "/recalls",
    "/search",
    "/sources",
    "/studio",
]


@pytest.mark.parametrize("path", PORTUGUESE_PAGES)
def test_a_portuguese_page_has_no_spanish_and_no_english_word(tmp_path, store, path):
    page = Pages(make_services(tmp_path, store), "admin", language="pt-BR").get(path).text
    assert '<html lang="pt-BR"' in page
    page = re.sub(r"<(pre|code|textarea|script)\b.*?</\1>", " ", page, flags=re.DOTALL)
    # A switch names its language in that language.
    page = re.sub(r"<a [^>]*hreflang.*?</a>", " ", page, flags=re.DOTALL)
    labels = re.findall(r'\b(?:aria-label|title|placeholder|data-[a-z-]*words)="([^"]*)"', page)
    text = " ".join([re.sub(r"<[^>]+>", " ", page), *labels])
    for word in (*RETIRED_IN_PORTUGUESE, *ENGLISH_WORDS):
        assert [text[m.start() - 60 : m.end() + 40] for m in re.finditer(word, text, re.IGNORECASE)] == []


@pytest.mark.parametrize(
    ("wish", "title"),
    [
        ("es-CO,es;q=0.9,en;q=0.5", "Cuentas"),
        ("es-CO,en;q=0.5", "Cuentas"),
        ("pt-BR,pt;q=0.9,en;q=0.5", "Contas"),
        ("pt", "Contas"),
        ("pt-PT,en;q=0.5", "Contas"),
        ("es;q=0.3,PT-br;q=0.8", "Contas"),
        ("fr,pt;q=0.2", "Contas"),
        ("pt;q=0,es;q=0.1", "Cuentas"),
        ("en", "Accounts"),
        ("en-US,pt;q=0.9", "Accounts"),
        ("fr", "Accounts"),
        ("*", "Accounts"),
        ("", "Accounts"),
    ],
)
def test_the_browser_says_which_language_is_read(tmp_path, store, wish, title):
    answer = Pages(make_services(tmp_path, store), language=wish).get("/accounts")
    assert f"<h1>{title}</h1>" in answer.text


@pytest.mark.parametrize(
    ("code", "tag", "title"),
    [("es", "es", "Cuentas"), ("pt_BR", "pt-BR", "Contas"), ("en", "en", "Accounts")],
)
def test_the_switch_is_remembered_and_shows_the_same_page(tmp_path, store, code, tag, title):
    pages = Pages(make_services(tmp_path, store), language="es" if code == "en" else "en")
    answer = pages.get(f"/accounts?state=paused&language={code}")
    assert answer.headers["Location"] == "/accounts?state=paused"
    assert f'<html lang="{tag}"' in pages.get("/accounts").text
    assert f"<h1>{title}</h1>" in pages.get("/accounts").text


@pytest.mark.parametrize("path", ["/accounts", "/accounts/nowhere"])
def test_a_page_offers_the_other_languages_by_their_own_names(tmp_path, store, path):
    page = Pages(make_services(tmp_path, store), language="pt").get(path).text
    offered = re.findall(r'language=(\w+)" lang="([\w-]+)" hreflang="\2".*?<span>(\w+)</span></a>', page)
    assert set(offered) == {("en", "en", "English"), ("es", "es", "Español")}


def test_a_language_that_there_is_not_changes_nothing(tmp_path, store):
    answer = Pages(make_services(tmp_path, store)).get("/accounts?language=xx")
    assert (answer.status_code, "Set-Cookie" in answer.headers) == (200, True)
    assert "ringback_language" not in answer.headers["Set-Cookie"]


@pytest.mark.parametrize(
    "order",
    ["_external=1", "_scheme=javascript", "_anchor=x", "_method=POST", "endpoint=x", "_external=1&_scheme=x"],
)
def test_the_switch_takes_no_parameter_as_an_order_and_leads_nowhere_else(tmp_path, store, order):
    answer = Pages(make_services(tmp_path, store)).get(
        f"/accounts?{order}&language=es", headers={"Host": "evil.example"}
    )
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/accounts?{order}")


# --- no English in a Spanish page ------------------------------------------------------------------

ENGLISH = re.compile(
    r"\b(the|is|are|was|of|and|to|not|with|from|this|that|must|seconds|minutes|hours|bytes|calls|characters|"
    r"queued|pushing|accepted|dead|superseded|cancelled|expired|paused|stopped|waiting|idle|busy|admitted|"
    r"missing|rejected|None)\b",
    re.IGNORECASE,
)
# Code, commands, bytes of a sender, words of a user or of wolkvox.
QUOTED = re.compile(r"<(script|style|code|pre|textarea|bdi|q)\b[^>]*>.*?</\1>|--[a-z]+", re.DOTALL)


def texts_on(html):
    """Yield the texts of a page, also those of tooltips and dialogs."""
    plain = QUOTED.sub(" ", html)
    for text in [
        *re.split(r"<[^>]+>", plain),
        *re.findall(r'(?:title|aria-label|data-ask)="([^"]*)"', plain),
    ]:
        yield unescape(" ".join(text.split()))


def pages_from(pages, address, most=120):
    """Yield the pages that links lead to, with their addresses."""
    known, waiting = {address}, [address]
    while waiting and most:
        most, current = most - 1, waiting.pop(0)
        answer = pages.get(current)
        if not answer.content_type.startswith("text/html"):
            continue
        yield current, answer.text
        for link in map(unescape, re.findall(r'href="(/[^"#]*)"', answer.text)):
            if link not in known and "language=" not in link and not link.startswith("/static"):
                known.add(link)
                waiting.append(link)


def fill_with_every_fault(installation):
    """Store recalls in each state, and deliveries that are rejected, not read or not mapped."""
    hooks = HookClient(installation.services)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for form in (
        {"customer": "c1", "phone": "3001112233", "at": tomorrow},
        {"customer": "c2", "phone": "30011122", "at": tomorrow},
        {"customer": "c3", "phone": "3001112233", "at": "soon"},
        {"customer": ["c4"], "phone": "3001112233", "at": tomorrow},
        {"customer": "c" * 300, "phone": "3001112233", "at": tomorrow},
    ):
        hooks.post("forms", form)
    hooks.post("forms", b"{")
    hooks.post("forms", b"{}", headers={"svix-signature": "v1,AAAA"})
    hooks.forged()
    assert len(hooks.rejections()) == 3
    states = ("dead", "accepted", "expired")
    for state in states:
        installation.ask(state)
        installation.push(PushResult(kind="ended", state=state, reason=REASONS[state], passed=True))
    installation.ask("waiting")
    fault = "no complete answer within 5 s"
    installation.push(PushResult(kind="again", reason=fault, wait_ms=60_000, wait_reason=fault))
    installation.services.recalls.cancel(installation.ask("cancelled"), "cancelled by ana")
    installation.services.accounts.pause("lima", "paused by ana", None, by="ana")


REASONS = {
    "dead": "wolkvox rejected the callback; its answer gives the reason",
    "accepted": "wolkvox answered 202: recorded, not yet called",
    "expired": "the date was in the past, and the account has late = drop",
}


def test_no_english_word_stands_in_a_spanish_page(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)
    fill_with_every_fault(Installation(services))
    pages = Pages(services, "admin", language="es")
    found, seen = {}, set()
    for address, html in pages_from(pages, "/"):
        seen.add(address.partition("?")[0].split("/")[1])
        for text in texts_on(html):
            if words := ENGLISH.findall(text):
                found.setdefault((text, tuple(words)), address)
    assert {"recalls", "parked", "deliveries", "accounts", "sources", "calendar", "audit", "studio"} <= seen
    assert not found, found
