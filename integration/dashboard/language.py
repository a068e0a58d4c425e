"""The dashboard's languages: the browser's wish, or the one chosen by the switch, which a cookie keeps.

English stands in the templates; `translations/LANGUAGE/*.po` has the others, one file per page, so that
pages are translated side by side. The catalogues are compiled when they are first asked for.
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
LANGUAGES: Final = {"en": "English", "es": "Español"}
COOKIE: Final = "ringback_language"
_YEAR_SECONDS: Final = 31_536_000


def install(app: Flask) -> None:
    """Let an application's pages speak the reader's language."""
    Babel(app, default_locale="en", locale_selector=language)
    app.extensions["babel"].instance.domain_instance = _Catalogues()


def language() -> str:
    """Name the language of the present request."""
    chosen = request.cookies.get(COOKIE, "")
    if chosen in LANGUAGES:
        return chosen
    return request.accept_languages.best_match(LANGUAGES, "en") or "en"


def switched() -> Response | None:
    """Answer `?language=…` by remembering it and showing the same page; None where it is not asked for."""
    asked = request.args.get("language")
    if asked not in LANGUAGES or request.method != "GET" or request.endpoint is None:
        return None
    # Not by url_for: it takes some names of parameters (`_external`, `_scheme` …) as orders.
    rest = [(name, value) for name, value in request.args.items(multi=True) if name != "language"]
    same_page = quote(request.path) + (f"?{urlencode(rest)}" if rest else "")
    answer = redirect(local_address(same_page), 303)
    answer.set_cookie(COOKIE, asked, max_age=_YEAR_SECONDS, samesite="Lax", httponly=True)
    return answer


class _Catalogues(Domain):  # type: ignore[misc]
    """Gives the catalogue of the present language."""

    def get_translations(self) -> Translations:
        return translations(str(get_locale() or "en"))


@cache
def translations(name: str) -> Translations:
    """Give a language's texts; none for English, which the templates are written in."""
    whole = Catalog(locale=name)
    for path in sorted((FOLDER / name).glob("*.po")):
        for message in catalogue(path):
            if message.id:
                whole[message.id] = message
    compiled = BytesIO()
    write_mo(compiled, whole)
    compiled.seek(0)
    return Translations(fp=compiled)


def catalogue(path: Path) -> Catalog:
    """Read one file of translations."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parent.name, abort_invalid=True)
