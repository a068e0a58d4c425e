"""Every text of the dashboard in every language, and none that no page uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from babel.messages.extract import extract_from_dir

import integration.dashboard
from integration.dashboard.language import FOLDER, LANGUAGES, catalogue
from support import make_services
from support.dashboard_client import Pages

PACKAGE = Path(integration.dashboard.__file__).parent
METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
OPTIONS = {"**.html": {"trimmed": "false", "silent": "false"}}
KEYWORDS = {"_": None, "_l": None, "gettext": None, "ngettext": (1, 2)}


def used():
    """Give every text of templates and code with the files that use it."""
    found = {}
    for file, _, text, _, _ in extract_from_dir(PACKAGE, METHODS, OPTIONS, KEYWORDS):
        found.setdefault(text, set()).add(file)
    return found


def entry(text, files):
    """Give the lines that are to be put into a file of translations."""
    quoted = [f'"{each}"' for each in ([text] if isinstance(text, str) else text)]
    ids = f"msgid {quoted[0]}" if len(quoted) == 1 else f"msgid {quoted[0]}\nmsgid_plural {quoted[1]}"
    answer = 'msgstr ""' if len(quoted) == 1 else 'msgstr[0] ""\nmsgstr[1] ""'
    return f"# {', '.join(sorted(files))}\n{ids}\n{answer}\n"


def translated(language):
    return {
        message.id: message
        for path in (FOLDER / language).glob("*.po")
        for message in catalogue(path)
        if message.id
    }


others = pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "en"])


def test_texts_are_found_in_templates_and_in_code():
    texts = used()
    assert "Accounts" in texts
    assert "The store is away" in texts


@others
def test_every_text_is_translated(language):
    known = translated(language)
    missing = [
        entry(text, files)
        for text, files in sorted(used().items(), key=str)
        if text not in known or not all([known[text].string] if isinstance(text, str) else known[text].string)
    ]
    assert not missing, f"{len(missing)} texts are not translated:\n\n" + "\n".join(missing)


@others
def test_no_translation_is_left_of_a_text_that_is_gone(language):
    assert not set(translated(language)) - set(used())


@others
def test_a_translation_has_the_same_holes_as_its_text(language):
    for message in translated(language).values():
        assert not list(message.check()), message.id
        assert not message.fuzzy, message.id


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
