"""The READMEs and the pages under docs/: the first steps work, and what is named or linked to exists."""

from __future__ import annotations

import json
import posixpath
import re
import shlex
import tomllib

import pytest
from click.testing import CliRunner

from integration.cli.main import COMMANDS, main
from integration.config.warnings import config_warnings
from integration.mapping import routes
from support.doc_pages import (
    CHANGES,
    ENGLISH,
    GUIDES,
    HUBSPOT,
    OPERATING,
    PAGES,
    READMES,
    ROOT,
    SENDERS,
    SPANISH,
    SPANISH_HUBSPOT,
    TEXTS,
    TROUBLESHOOTING,
    blocks,
    environ_for,
    first_column,
    load,
    section,
    spans,
    whole,
)

LONGEST_README = 220
TOML_BLOCKS = [(name, block) for name in TEXTS for block in blocks(name, "toml")]
FIRST_STEPS = (ENGLISH, SPANISH, HUBSPOT, SPANISH_HUBSPOT)
COMPLETE = {
    name: next(block for block in blocks(name, "toml") if "[accounts.bogota]" in block)
    for name in FIRST_STEPS
}


# --- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "block"), TOML_BLOCKS)
def test_every_toml_block_is_a_good_configuration(tmp_path, name, block):
    loaded = load(tmp_path, whole(block))
    # Compiles every template, and raises for one that does not.
    routes.CompiledRoutes.of(loaded)


@pytest.mark.parametrize("name", FIRST_STEPS)
def test_the_first_configuration_is_complete_and_gives_no_warning(tmp_path, name):
    assert config_warnings(load(tmp_path, COMPLETE[name])) == ()


@pytest.mark.parametrize("name", sorted({name for name, _ in TOML_BLOCKS}))
def test_all_blocks_of_a_page_are_one_good_configuration_together(tmp_path, name):
    load(tmp_path, whole("\n".join(blocks(name, "toml"))))


def test_nothing_is_called_legal_compliance():
    for text in TEXTS.values():
        assert not re.search(r"complian|compli[er] |cumplimiento|cumple la ley|legally", text, re.IGNORECASE)


# --- commands ----------------------------------------------------------------------------------


def command_lines():
    """Each `ringback …` that a text shows, with the text's name."""
    for name in TEXTS:
        shown = [*spans(name), *(line for block in blocks(name, "sh") for line in block.splitlines())]
        for line in shown:
            for part in re.findall(r"(?:^|\s)(ringback [a-z-].*)", line.partition("#")[0]):
                yield name, part.strip()


LINES = sorted(set(command_lines()))


@pytest.mark.parametrize(("name", "line"), LINES)
def test_every_command_shown_is_there_with_its_options(name, line):
    _, command, *words = shlex.split(re.sub(r"[\[\]|,…]", " ", line))
    if command == "--help":
        return
    assert command in COMMANDS, line
    shown = CliRunner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output, line


def test_every_command_there_is_is_shown():
    shown = first_column(section(OPERATING, "## Command line"))
    named = {
        shlex.split(re.sub(r"[\[\]|,…]", " ", line))[1] for line in shown if line.startswith("ringback ")
    }
    assert named == set(COMMANDS)


AT = ("--at", "2026-12-01T12:00:00Z")  # the dates of the pages lie within a year after it


def run(args, folder, text, standard_input=None):
    (folder / "ringback.toml").write_text(text, "utf-8")
    environ = {**environ_for(text), "RINGBACK_CONFIG": str(folder / "ringback.toml"), "REDIS_URL": None}
    return CliRunner().invoke(main, args, env=environ, input=standard_input)


def shown_lines(name, beginning):
    """The lines of a block of output that begins so, without those that are shortened."""
    block = next(block for block in blocks(name, "") if block.startswith(beginning))
    return [line for line in block.splitlines() if line.strip() and "…" not in line]


@pytest.mark.parametrize("name", [ENGLISH, SPANISH])
def test_the_first_steps_give_what_the_readme_shows(tmp_path, name):
    (tmp_path / "event.json").write_text(blocks(name, "json")[0], "utf-8")
    done = run(["map", "crm", str(tmp_path / "event.json"), *AT], tmp_path, COMPLETE[name])
    assert done.exit_code == 0, done.output
    assert "would be queued" in done.output
    if name == ENGLISH:
        assert [
            line for line in shown_lines(name, "event 1 of 1") if line not in done.output.splitlines()
        ] == []


@pytest.mark.parametrize("name", [HUBSPOT, SPANISH_HUBSPOT])
def test_the_first_steps_with_hubspot_give_what_the_page_shows(tmp_path, name):
    event, contact = blocks(name, "json")[:2]
    (tmp_path / "event.json").write_text(event, "utf-8")
    (tmp_path / "contact.json").write_text(contact, "utf-8")
    args = ["map", "hubspot", str(tmp_path / "event.json"), "--contact", str(tmp_path / "contact.json"), *AT]
    done = run(args, tmp_path, COMPLETE[name])
    assert done.exit_code == 0, done.output
    expected = shown_lines(HUBSPOT, "event 1 of 1")
    if name == SPANISH_HUBSPOT:
        expected = [line for line in expected if "route '" not in line]
    assert [line for line in expected if line not in done.output.splitlines()] == []


def test_the_project_app_is_written_as_the_page_shows(tmp_path):
    done = run(["hubspot", "project", str(tmp_path / "hubspot-app")], tmp_path, COMPLETE[HUBSPOT])
    assert done.exit_code == 0, done.output
    shown = next(block for block in blocks(HUBSPOT, "") if block.startswith("hsproject.json"))
    offered = next(block for block in blocks(HUBSPOT, "toml") if "event.inputFields.account" in block)
    assert shown in done.output
    assert offered in done.output


def test_the_check_of_the_first_configuration_says_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RINGBACK_DATA_DIR", raising=False)
    done = run(["check"], tmp_path, COMPLETE[HUBSPOT])
    shown = next(block for block in blocks(HUBSPOT, "") if block.startswith("ringback.toml: good"))
    assert done.exit_code == 0
    assert done.output.replace(str(tmp_path / "ringback.toml"), "ringback.toml") == shown


@pytest.mark.parametrize("name", [HUBSPOT, TROUBLESHOOTING])
def test_the_fault_that_is_shown_is_told_in_these_words(tmp_path, name):
    fault = re.search(r"ringback\.toml: (accounts\.bogota\.timezone is [^\n`]*)", TEXTS[name])[1]
    done = run(["check"], tmp_path, COMPLETE[ENGLISH].replace("America/Bogota", "America/Bogotá"))
    assert done.exit_code == 1
    assert fault in done.output


def test_the_samples_that_are_shown_are_those_of_the_demo():
    demo = "\n".join(file.read_text("utf-8") for file in ROOT.glob("integration/local/demo/*.py"))
    shown = next(block for block in blocks(ENGLISH, "") if "must be" in block)
    samples = [re.split(r"\s{2,}", line.strip())[0] for line in shown.splitlines() if line.endswith(" ok")]
    assert samples
    assert [sample for sample in samples if sample not in demo] == []


def test_the_json_sender_that_is_shown_becomes_a_recall(tmp_path):
    block = next(block for block in blocks(SENDERS, "toml") if "[sources.crm]" in block)
    body = re.search(r"/hooks/crm.*?-d '(.*?)'", TEXTS[SENDERS], re.DOTALL)[1]
    (tmp_path / "body.json").write_text(body, "utf-8")
    done = run(["map", "crm", str(tmp_path / "body.json"), "--json", *AT], tmp_path, whole(block))
    assert done.exit_code == 0, done.output
    event = json.loads(done.stdout)["events"][0]
    assert event["schedule"]["requested_date"] == "2027-06-04T15:30:00-05:00"


@pytest.mark.parametrize("name", TEXTS)
def test_every_json_block_and_body_is_json(name):
    for block in blocks(name, "json"):
        json.loads(block)
    for body in re.findall(r"-d '(\{.*?\})'", TEXTS[name], re.DOTALL):
        json.loads(body)


# --- links and the changelog -------------------------------------------------------------------


def anchors(name):
    """The anchors that a host makes of a text's headings."""
    headings = re.findall(r"^#+ (.*)$", TEXTS[name], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(name):
    """The files of the project that a text links to, from its root, each with an anchor or an empty text."""
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", TEXTS[name]):
        file, _, anchor = target.partition("#")
        yield posixpath.normpath(posixpath.join(posixpath.dirname(name), file)) if file else name, anchor


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_inside_the_project_leads_somewhere(name):
    for file, anchor in links(name):
        assert (ROOT / file).is_file(), file
        assert not anchor or anchor in anchors(file), f"{file}#{anchor}"


@pytest.mark.parametrize("name", TEXTS)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(name):
    for table in re.findall(r"(?:^\|.*\|$\n)+", TEXTS[name], re.MULTILINE):
        assert len({line.replace("\\|", "").count("|") for line in table.splitlines()}) == 1, table


def test_every_page_is_linked_from_the_readme():
    assert set(PAGES) - {file for file, _ in links(ENGLISH)} == set()
    assert SPANISH_HUBSPOT in {file for file, _ in links(SPANISH)}


@pytest.mark.parametrize("name", [*GUIDES, SPANISH_HUBSPOT])
def test_every_page_links_back_to_the_readme_and_to_other_pages(name):
    linked = {file for file, _ in links(name)}
    assert ENGLISH in linked
    assert linked & {*PAGES, SPANISH} - {name}


@pytest.mark.parametrize("name", READMES)
def test_a_readme_is_short(name):
    assert len(TEXTS[name].splitlines()) <= LONGEST_README


def test_every_make_target_that_is_shown_is_there():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for name in READMES:
        shown = "\n".join((*spans(name), *blocks(name, "sh")))
        for target in re.findall(r"^make ([a-z]+)", shown, re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_newest_version_of_the_changelog_is_this_one_and_only_what_is_unreleased_stands_above():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    entries = re.findall(r"^## (\S+)", TEXTS[CHANGES], re.MULTILINE)
    assert entries[entries[0] == "Unreleased"] == project["version"]
