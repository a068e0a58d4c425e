"""The dashboard's language: from the language cookie, else from `Accept-Language`, else English.

Texts in templates and code are in English. `translations/LANGUAGE` has one `.po` file per area. The
catalogue of a language is compiled on first use.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from flask import redirect, request
from flask_babel import Babel, Domain, get_locale

from integration.dashboard.addresses import local_address

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.wrappers import Response

FOLDER: Final = Path(__file__).parent / "translations"
LANGUAGES: Final = {"en": "English", "es": "Español", "pt_BR": "Português"}
_BY_SUBTAG: Final = {code.partition("_")[0]: code for code in LANGUAGES}
COOKIE: Final = "ringback_language"
_YEAR_SECONDS: Final = 31_536_000


def install(app: Flask) -> None:
    """Set up Flask-Babel for an application."""
    Babel(app, default_locale="en", locale_selector=language)
    app.extensions["babel"].instance.domain_instance = _Catalogues()


def language() -> str:
    """Return the language of the current request: a key of LANGUAGES."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    # best_match takes "en" for `es-CO, en;q=0.5` and for `pt-PT, en;q=0.5`: it prefers tags that are equal.
    wanted = (tag.partition("-")[0].lower() for tag, quality in request.accept_languages if quality > 0)
    return next((_BY_SUBTAG[subtag] for subtag in wanted if subtag in _BY_SUBTAG), "en")


def html_lang(code: str) -> str:
    """Return the BCP 47 tag of a key of LANGUAGES for the HTML attribute `lang`, such as "pt-BR"."""
    return code.replace("_", "-")


def switched() -> Response | None:
    """Store the language of `?language=…` in a cookie and redirect to the same page.

    Return None for other methods than GET, unknown addresses, and a missing or unknown language.
    """
    code = request.args.get("language")
    if code not in LANGUAGES or request.method != "GET" or request.endpoint is None:
        return None
    # url_for cannot build this: it interprets parameters like `_external` and `_scheme`.
    rest = [(name, value) for name, value in request.args.items(multi=True) if name != "language"]
    same_page = quote(request.path) + (f"?{urlencode(rest)}" if rest else "")
    answer = redirect(local_address(same_page), 303)
    answer.set_cookie(COOKIE, code, max_age=_YEAR_SECONDS, samesite="Lax", httponly=True)
    return answer


class _Catalogues(Domain):  # type: ignore[misc]
    """The translation domain of the dashboard. It compiles the `.po` files itself."""

    def get_translations(self) -> Translations:
        return translations(str(get_locale() or "en"))


@cache
def translations(name: str) -> Translations:
    """Return the compiled translations of a language. The catalogue of English is empty."""
    merged = Catalog(locale=name)
    for path in sorted((FOLDER / name).glob("*.po")):
        for message in catalogue(path):
            if message.id:
                merged[message.id] = message
    compiled = BytesIO()
    write_mo(compiled, merged)
    compiled.seek(0)
    return Translations(fp=compiled)


def catalogue(path: Path) -> Catalog:
    """Return the messages of a `.po` file. Its folder is named after the language."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name, abort_invalid=True)
