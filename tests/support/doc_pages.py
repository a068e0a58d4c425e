"""The READMEs and the pages under docs/, taken apart for the tests: code blocks, sections, tables."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from integration.services.configuration import load_config

ROOT = Path(__file__).parent.parent.parent
ENGLISH, SPANISH = "README.md", "README.es.md"
CHANGES, CONTRIBUTING, REPORTING = "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"
HUBSPOT, SPANISH_HUBSPOT, SENDERS = "docs/hubspot.md", "docs/es/hubspot.md", "docs/other-senders.md"
API, MAPPING, CONFIGURATION = "docs/api.md", "docs/mapping.md", "docs/configuration.md"
OPERATING, DEPLOYING, PROMISES = "docs/operating.md", "docs/deploying.md", "docs/promises.md"
TROUBLESHOOTING = "docs/troubleshooting.md"
READMES = (ENGLISH, SPANISH)
# Pages of results, written by `make bench`, `make mutants` and by hand after `make faults`.
RECORDS = ("docs/benchmarks.md", "docs/faults.md", "docs/mutants.md")
PAGES = tuple(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/*.md")))
GUIDES = tuple(name for name in PAGES if name not in RECORDS)
TEXTS = {
    name: (ROOT / name).read_text("utf-8")
    for name in (*READMES, CHANGES, CONTRIBUTING, REPORTING, SPANISH_HUBSPOT, *PAGES)
}
EXAMPLE = (ROOT / "ringback.example.toml").read_text("utf-8")

# What a block needs around it to be a whole configuration, by the line that shows it is there already.
FRAME = {
    "[accounts.bogota]": 'token = "env:WOLKVOX_TOKEN"\nserver = "0003"\ntimezone = "America/Bogota"',
    "[sources.hubspot]": 'kind = "hubspot"\nsecrets = "env:HUBSPOT_CLIENT_SECRET"',
    "[sources.hubspot.lookup]": 'token = "env:HUBSPOT_TOKEN"\nproperties = "phone"',
}


def keys_table(heading):
    """What docs/configuration.md says below a heading, without the headings below that."""
    return section(CONFIGURATION, heading).partition("\n### ")[0]


def blocks(name, language):
    """The code blocks of a text in a language ("" for those without), free of their indentation."""
    found = re.findall(r"^( *)```(\w*)\n(.*?)^ *```$", TEXTS[name], re.DOTALL | re.MULTILINE)
    return [
        re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, of, code in found if of == language
    ]


def spans(name):
    """What stands in `backticks` outside the code blocks."""
    return re.findall(
        r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```$", "", TEXTS[name], flags=re.DOTALL | re.MULTILINE)
    )


def section(name, heading):
    """The text below a heading, down to the next of its level or above."""
    level, text = heading.partition(" ")[0], TEXTS[name]
    assert f"\n{heading}\n" in text, heading
    rest = text.partition(f"\n{heading}\n")[2]
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def first_column(text):
    """The names in `backticks` in the first column of a text's tables, their heads left out."""
    cells = re.findall(r"^\| ([^|\n]*?) \|.*$(?!\n\|---)", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def whole(block):
    """A block with what it lacks to be a configuration."""
    missing = [f"{line}\n{keys}" for line, keys in FRAME.items() if line not in block]
    return "\n\n".join((block, *missing))


def environ_for(text):
    """A value for each variable that a configuration names, each another, and fit for every key."""
    values = {name: hashlib.sha256(name.encode()).hexdigest() for name in re.findall(r'"env:(\w+)"', text)}
    return {
        name: f"https://x.example.com/{value}" if name.endswith("_URL") else value
        for name, value in values.items()
    }


def load(tmp_path, text):
    path = tmp_path / "ringback.toml"
    path.write_text(text, "utf-8")
    return load_config(path, environ_for(text))
