"""The language of the dashboard: the catalogues are complete, and a user gets the chosen language."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from integration.alerts import messages
from integration.dashboard.language import FOLDER, LANGUAGES, catalogue
from support import make_services
from support.dashboard_client import Pages

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


@pytest.mark.parametrize("word", RETIRED_IN_SPANISH)
def test_one_spanish_word_stands_for_one_thing(word):
    texts = [
        text
        for path in (FOLDER / "es").glob("*.po")
        for message in catalogue(path)
        if message.id
        for text in ([message.string] if isinstance(message.string, str) else message.string)
    ]
    texts += [text for pair in messages._WORDS["es"].values() for text in pair]
    # Code, paths and placeholders are names, not Spanish.
    names = re.compile(r"`[^`]*`|«[^»]*»|\S*[/_]\S*|%\(\w+\)s|\{\w+\}")
    assert not [text for text in texts if re.search(word, names.sub("", text), re.IGNORECASE)]


@pytest.mark.parametrize(
    ("wish", "title"), [("es-CO,es;q=0.9,en;q=0.5", "Cuentas"), ("en", "Accounts"), ("fr", "Accounts")]
)
def test_the_browser_says_which_language_is_read(tmp_path, store, wish, title):
    answer = Pages(make_services(tmp_path, store), language=wish).get("/accounts")
    assert f"<h1>{title}</h1>" in answer.text


def test_the_switch_is_remembered_and_shows_the_same_page(tmp_path, store):
    pages = Pages(make_services(tmp_path, store))
    answer = pages.get("/accounts?state=paused&language=es")
    assert answer.headers["Location"] == "/accounts?state=paused"
    assert '<html lang="es"' in pages.get("/accounts").text
    assert "<h1>Cuentas</h1>" in pages.get("/accounts").text


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
