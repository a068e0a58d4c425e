"""Fails when a catalogue of the dashboard is not complete.

Faults are texts without a translation, entries that no page uses, a text in two files, and a translation with
other placeholders than its text.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from babel.messages.extract import extract_from_dir

from integration.dashboard.language import FOLDER, LANGUAGES, catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = FOLDER.parent
METHODS = [("**.py", "python"), ("**.html", "jinja2.ext:babel_extract")]
OPTIONS = {"**.html": {"trimmed": "false", "silent": "false"}}
KEYWORDS = {
    "_": None,
    "_l": None,
    "gettext": None,
    "ngettext": (1, 2),
    "pgettext": ((1, "c"), 2),
}
SOURCE_LANGUAGE = "en"

Key = tuple[str | None, str | tuple[str, str]]
"""The context of a text, if any, and the text; with its plural, if it has one."""


def used_texts() -> dict[Key, set[str]]:
    """Return every text of templates and code, with the files that use it."""
    found: dict[Key, set[str]] = {}
    for file, _, text, _, context in extract_from_dir(PACKAGE, METHODS, OPTIONS, KEYWORDS):
        found.setdefault((context, text), set()).add(file)
    return found


def faults_of(language: str, used: dict[Key, set[str]]) -> Iterator[str]:
    """Yield the faults of a language's catalogues, ready to be corrected."""
    places: dict[Key, str] = {}
    for path in sorted((FOLDER / language).glob("*.po")):
        for message in catalogue(path):
            if not message.id:
                continue
            key = (message.context, message.id)
            if key in places:
                yield f"{path.name}: {message.id!r} also stands in {places[key]}; remove one."
            places[key] = path.name
            if key not in used:
                yield f"{path.name}: no page uses {message.id!r}; remove it."
            strings = [message.string] if isinstance(message.string, str) else message.string
            if not all(strings):
                yield f"{path.name}: {message.id!r} is not translated."
            if message.fuzzy or list(message.check()):
                yield f"{path.name}: {message.id!r} is fuzzy, or its placeholders differ."
    for key in sorted(used.keys() - places.keys(), key=str):
        yield f"missing, used in {', '.join(sorted(used[key]))}:\n{_entry(key)}"


def _entry(key: Key) -> str:
    """Return the lines to put into a file of translations."""
    context, text = key
    head = f'msgctxt "{context}"\n' if context else ""
    if isinstance(text, str):
        return f'{head}msgid "{text}"\nmsgstr ""\n'
    return f'{head}msgid "{text[0]}"\nmsgid_plural "{text[1]}"\nmsgstr[0] ""\nmsgstr[1] ""\n'


def main() -> int:
    """Print the faults of all languages. Return 1 if there is one, else 0."""
    used = used_texts()
    faults = [
        f"{language}: {fault}"
        for language in LANGUAGES
        if language != SOURCE_LANGUAGE
        for fault in faults_of(language, used)
    ]
    for fault in faults:
        sys.stdout.write(f"translations: {fault}\n")
    sys.stdout.write(f"Translations: {len(used)} texts, {len(faults)} faults\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
