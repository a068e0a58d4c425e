"""The READMEs: what they show works, what they name is there, and what there is to set is named."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from integration.api.models import DEFAULT_ITEMS, MOST_ITEMS
from integration.api.operations import OPERATIONS
from integration.cli.main import COMMANDS, main
from integration.config import alert_models, source_models
from integration.config import models as config
from integration.config.warnings import config_warnings
from integration.domain import account as domain_account
from integration.domain import calling_hours
from integration.domain.recall import State
from integration.mapping import expressions, routes
from integration.services.configuration import load_config
from integration.web import metrics
from integration.web.metrics.counts import COUNTED
from integration.webhooks import providers
from integration.webhooks.providers import bodies
from integration.webhooks.providers.schemes import SCHEMES

ROOT = Path(__file__).parent.parent.parent
ENGLISH, SPANISH, CHANGES = "README.md", "README.es.md", "CHANGELOG.md"
READMES = (ENGLISH, SPANISH)
TEXTS = {name: (ROOT / name).read_text("utf-8") for name in (*READMES, CHANGES)}
EXAMPLE = (ROOT / "ringback.example.toml").read_text("utf-8")

# What a block needs around it to be a whole configuration, by the line that shows it is there already.
FRAME = {
    "[accounts.bogota]": 'token = "env:WOLKVOX_TOKEN"\nserver = "0003"\ntimezone = "America/Bogota"',
    "[sources.hubspot]": 'kind = "hubspot"\nsecrets = "env:HUBSPOT_CLIENT_SECRET"',
    "[sources.hubspot.lookup]": 'token = "env:HUBSPOT_PRIVATE_APP_TOKEN"\nproperties = "phone"',
}


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


TOML_BLOCKS = [(name, block) for name in READMES for block in blocks(name, "toml")]
COMPLETE = [next(block for block in blocks(name, "toml") if "[accounts.bogota]" in block) for name in READMES]


# --- configurations ----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "block"), TOML_BLOCKS)
def test_every_toml_block_is_a_good_configuration(tmp_path, name, block):
    loaded = load(tmp_path, whole(block))
    # Compiles every template, and raises for one that does not.
    routes.CompiledRoutes.of(loaded)


@pytest.mark.parametrize("block", COMPLETE, ids=READMES)
def test_the_first_configuration_is_complete_and_gives_no_warning(tmp_path, block):
    assert config_warnings(load(tmp_path, block)) == ()


def test_all_blocks_of_a_readme_are_one_good_configuration_together(tmp_path):
    for name in READMES:
        together = "\n".join(blocks(name, "toml")).replace("[api_keys]\n", "")
        keys = "\n".join(re.findall(r"^(?:zapier|partner) = .*$", together, re.MULTILINE))
        rest = re.sub(r"^(?:zapier|partner) = .*$", "", together, flags=re.MULTILINE)
        load(tmp_path, f"{rest}\n[api_keys]\n{keys}\n")


def test_the_example_has_every_key_of_the_configuration():
    told = set(re.findall(r"(?:^|[{,])\s*#?\s*(\w+) = ", EXAMPLE, re.MULTILINE))
    told |= set(re.findall(r"^\[(?:\w+\.)*(\w+)\]", EXAMPLE, re.MULTILINE))
    models = (
        domain_account.Account, config.StoreSettings, config.ApiKey, source_models.HubspotSource, source_models.SalesforceSource,
        source_models.JsonSource, source_models.Lookup, config.Route, config.User, config.DashboardSettings, config.Oidc,
    )  # fmt: skip
    keys = {key for model in models for key in model.model_fields} - {"name"}
    assert keys - told - {"digest"} == set()


def test_the_account_table_has_every_key_of_an_account_and_no_other():
    told = set(first_column(section(ENGLISH, "### Accounts")))
    assert told == set(domain_account.Account.model_fields) - {"name"}


def test_the_sources_table_has_every_key_of_a_source_and_no_other():
    fields = {key for kind in source_models.SOURCE_KINDS.values() for key in kind.model_fields}
    told = set(first_column(section(ENGLISH, "### Sources and keys of the API")))
    assert told == fields - {"name", "lookup"}


@pytest.mark.parametrize("model", [source_models.Lookup, config.StoreSettings])
def test_the_keys_of_the_small_tables_are_named(model):
    text = section(ENGLISH, "### Sources and keys of the API")
    assert {key for key in model.model_fields if f"`{key}`" not in text} == set()


@pytest.mark.parametrize("model", [config.User, config.DashboardSettings, config.Oidc])
def test_the_keys_of_the_dashboard_are_named(model):
    text = section(ENGLISH, "## The dashboard") + EXAMPLE
    assert {key for key in model.model_fields if key not in text} == set()


def test_the_defaults_of_the_account_table_are_those_of_the_code():
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", section(ENGLISH, "### Accounts"), re.MULTILINE)
    told = {key: value.strip("`") for key, value in rows}
    fields = domain_account.Account.model_fields
    for key in ("timeout_seconds", "server_limit_seconds", "min_lead_minutes"):
        assert told[key] == str(fields[key].default)
    for key in ("country", "dial_format", "type_campaign", "late", "mode"):
        assert told[key] == f'"{fields[key].default}"'
    assert told["quota_resets_at"] == f'"{fields["quota_resets_at"].default:%H:%M}"'


def test_the_presets_are_those_there_are_with_their_hours():
    text = section(ENGLISH, "### Calling hours")
    assert set(first_column(text)) == set(calling_hours.PRESETS)
    for name, preset in calling_hours.PRESETS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        windows = {f"{a:%H:%M}–{b:%H:%M}" for day in preset.windows for a, b in day}
        assert set(re.findall(r"\d\d:\d\d–\d\d:\d\d", row)) == windows


def test_nothing_is_called_legal_compliance():
    for text in TEXTS.values():
        assert not re.search(r"complian|compli[er] |cumplimiento|cumple la ley|legally", text, re.IGNORECASE)


def test_every_filter_and_name_for_templates_is_there():
    text = section(ENGLISH, "### Routes and templates")
    names, filters = text.split("| filter | does |")
    assert set(first_column(names)) == set(expressions.NAMES)
    described = {name.partition("(")[0] for name in first_column(filters)}
    assert described <= set(expressions.FILTERS)
    listed = re.search(r"Jinja's own (.*?) and others", filters, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", listed)) <= set(expressions.FILTERS)


def test_every_filter_that_ringback_adds_is_described():
    described = {
        name.partition("(")[0] for name in first_column(section(ENGLISH, "### Routes and templates"))
    }
    assert {"date", "day", "zone", "plus", "strftime", "digits", "default", "flatten"} <= described


def test_the_ways_of_verify_are_those_there_are():
    assert set(first_column(section(ENGLISH, "## Any other sender"))) == set(SCHEMES)
    spanish = section(SPANISH, "## Otros sistemas y Zapier")
    assert {word for word in SCHEMES if f"`{word}`" not in spanish} == set()


def test_the_kinds_are_those_there_are():
    row = re.search(r"^\| `kind` .*$", TEXTS[ENGLISH], re.MULTILINE)[0]
    assert set(re.findall(r"`(\w+)`", row)) - {"kind"} == set(providers.SOURCES)


def test_the_rules_of_alerts_are_those_there_are_with_their_defaults():
    text = section(ENGLISH, "### Alerts")
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:`(\w+)` (\d+))? ?\|", text, re.MULTILINE)
    assert [kind for kind, _, _ in rows] == list(alert_models.RULE_KINDS)
    for kind, key, default in rows:
        if key:
            assert alert_models.RULE_KINDS[kind].model_fields[key].default == int(default)


def test_the_limits_are_those_of_the_code():
    text = section(ENGLISH, "## Limits")
    for limit in (bodies.MAX_EVENTS, bodies.MAX_DEPTH, bodies.MAX_FORM_FIELDS):
        assert f"| {limit} |" in text
    assert f"({DEFAULT_ITEMS}, at most {MOST_ITEMS})" in TEXTS[ENGLISH]


# --- commands ----------------------------------------------------------------------------------


def command_lines():
    """Each `ringback …` that a text shows, with the text's name."""
    for name, text in TEXTS.items():
        shown = [*spans(name), *(line for block in blocks(name, "sh") for line in block.splitlines())]
        for line in shown:
            for part in re.findall(r"(?:^|\s)(ringback [a-z-].*)", line.partition("#")[0]):
                yield name, part.strip()
        assert "ringback" in text


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
    named = {shlex.split(re.sub(r"[\[\]|,…]", " ", line))[1] for name, line in LINES if name == ENGLISH}
    assert set(COMMANDS) - named == set()


def test_the_states_of_a_recall_are_those_there_are_in_their_order():
    for name, heading in ((ENGLISH, "## What becomes of an event"), (SPANISH, "## Estados de un recall")):
        assert first_column(section(name, heading))[: len(State)] == [str(state) for state in State]


def test_the_queue_states_are_those_there_are():
    told = first_column(section(ENGLISH, "## What becomes of an event"))[len(State) :]
    assert tuple(told) == metrics.QUEUE_STATES


def run(args, folder, text, standard_input=None):
    (folder / "ringback.toml").write_text(text, "utf-8")
    environ = {**environ_for(text), "RINGBACK_CONFIG": str(folder / "ringback.toml"), "REDIS_URL": None}
    return CliRunner().invoke(main, args, env=environ, input=standard_input)


@pytest.mark.parametrize("name", READMES)
def test_the_first_steps_give_what_the_readme_shows(tmp_path, name):
    event, contact = blocks(name, "json")[:2]
    (tmp_path / "event.json").write_text(event, "utf-8")
    (tmp_path / "contact.json").write_text(contact, "utf-8")
    args = ["map", "hubspot", str(tmp_path / "event.json"), "--contact", str(tmp_path / "contact.json")]
    done = run(args, tmp_path, next(b for b in blocks(name, "toml") if "[accounts.bogota]" in b))
    assert done.exit_code == 0, done.output
    shown = next(block for block in blocks(ENGLISH, "") if block.startswith("event 1 of 1"))
    expected = [line for line in shown.splitlines() if line.strip() and "…" not in line]
    if name == SPANISH:
        expected = [line for line in expected if "route '" not in line]
    assert [line for line in expected if line not in done.output.splitlines()] == []


def test_the_check_of_the_first_configuration_says_what_the_readme_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RINGBACK_DATA_DIR", raising=False)
    done = run(["check"], tmp_path, COMPLETE[0])
    shown = next(block for block in blocks(ENGLISH, "") if block.startswith("ringback.toml: good"))
    assert done.exit_code == 0
    assert done.output.replace(str(tmp_path / "ringback.toml"), "ringback.toml") == shown


def test_the_fault_that_is_shown_is_told_in_these_words(tmp_path):
    fault = re.search(r"``ringback\.toml: (accounts\.bogota\.timezone: .*?)``", TEXTS[ENGLISH])[1]
    done = run(["check"], tmp_path, COMPLETE[0].replace("America/Bogota", "America/Bogotá"))
    assert done.exit_code == 1
    assert fault in done.output


def test_the_samples_that_are_shown_are_those_of_the_demo():
    demo = "\n".join(file.read_text("utf-8") for file in ROOT.glob("integration/local/demo/*.py"))
    shown = next(block for block in blocks(ENGLISH, "") if "must be" in block)
    samples = [re.split(r"\s{2,}", line.strip())[0] for line in shown.splitlines() if line.endswith(" ok")]
    assert samples
    assert [sample for sample in samples if sample not in demo] == []


def test_the_json_sender_of_the_readme_becomes_a_recall(tmp_path):
    block = next(block for block in blocks(ENGLISH, "toml") if "[sources.crm]" in block)
    body = re.search(r"/hooks/crm.*?-d '(.*?)'", TEXTS[ENGLISH], re.DOTALL)[1]
    (tmp_path / "body.json").write_text(body, "utf-8")
    done = run(["map", "crm", str(tmp_path / "body.json"), "--json"], tmp_path, whole(block))
    assert done.exit_code == 0, done.output
    event = json.loads(done.stdout)["events"][0]
    assert event["schedule"]["requested_date"] == "2030-06-04T15:30:00-05:00"


@pytest.mark.parametrize("name", READMES)
def test_every_json_block_and_body_is_json(name):
    for block in blocks(name, "json"):
        json.loads(block)
    for body in re.findall(r"-d '(\{.*?\})'", TEXTS[name], re.DOTALL):
        json.loads(body)


# --- the API -----------------------------------------------------------------------------------


def test_the_table_of_the_api_has_every_operation_and_no_other():
    text = section(ENGLISH, "## The API")
    told = {tuple(name.split(" ", 1)) for name in first_column(text) if " " in name}
    told |= {("POST", path) for path in re.findall(r"`POST (/hooks/[^`]+)`", text)}
    assert told == {(operation.method.upper(), operation.path) for operation in OPERATIONS}


def test_the_answers_of_the_table_are_those_that_are_given():
    rows = re.findall(r"^\| `(\w+) (/v1/[^`]+)` \|.*\| (.*) \|$", TEXTS[ENGLISH], re.MULTILINE)
    given = {(o.method.upper(), o.path): {*o.answers, *o.errors} for o in OPERATIONS}
    assert len(rows) == sum(operation.tag == "v1" for operation in OPERATIONS)
    for method, path, answers in rows:
        assert {int(status) for status in re.findall(r"\b\d{3}\b", answers)} <= given[method, path], path


def test_the_recall_that_is_shown_has_the_fields_of_a_recall():
    from integration.api.models import RecallModel

    shown = next(json.loads(block) for block in blocks(ENGLISH, "json") if '"rc_0000000wcd4d"' in block)
    assert set(shown) == set(RecallModel.model_fields)


# --- the environment, metrics ------------------------------------------------------------------


def code():
    files = [*ROOT.glob("integration/**/*.py"), *ROOT.glob("workers/**/*.py"), ROOT / "Procfile"]
    return "\n".join(file.read_text("utf-8") for file in files)


def test_the_table_of_the_environment_has_what_the_code_reads_and_no_other():
    text = section(ENGLISH, "## Running it on servers")
    told = set(re.findall(r"^\| `([A-Z][A-Z_]+)` \|", text, re.MULTILINE))
    read = set(re.findall(r"environ(?:\.get\(|\[)\s*\"([A-Z][A-Z_]+)\"", code()))
    read |= set(re.findall(r"\$\{([A-Z_]+)", code()))
    # What the server hands on with a request, and the demo's own.
    handed_on = {"PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REQUEST_METHOD"}
    assert told == {name for name in read - handed_on if not name.startswith(("HTTP_", "DEMO_"))}


def test_the_table_of_metrics_has_every_metric_and_no_other():
    text = section(ENGLISH, "## Running it on servers")
    told = {name for name in first_column(text) if name.startswith("ringback_")}
    source = "".join(file.read_text("utf-8") for file in (ROOT / "integration/web/metrics").glob("*.py"))
    counters = {shape.metric for shape in COUNTED.values()}
    named = set(re.findall(r'"(ringback_\w+)"', source))
    assert told == {f"{name}_total" if name in counters else name for name in named}


def test_the_store_settings_are_those_that_are_asked_for():
    from integration.store.durability import OLDEST

    settings = next(block for block in blocks(ENGLISH, "") if block.startswith("appendonly"))
    assert settings.split() == [
        "appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no",
        "maxmemory-policy", "noeviction",
    ]  # fmt: skip
    assert f"Redis {'.'.join(map(str, OLDEST))} or later" in TEXTS[ENGLISH]


def test_the_hold_on_a_queue_is_as_long_as_is_said():
    account = domain_account.Account(name="a", server="0003", token="t", timezone="America/Bogota")
    assert f"{account.lease_seconds:g} s" in section(ENGLISH, "## What is guaranteed, and what is not")


# --- links and the changelog -------------------------------------------------------------------


def anchors(name):
    """The anchors that a host makes of a text's headings."""
    headings = re.findall(r"^#+ (.*)$", TEXTS[name], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_every_link_inside_the_project_leads_somewhere(name):
    for target in re.findall(r"\]\((?!https?:)([^)]*)\)", TEXTS[name]):
        file, _, anchor = target.partition("#")
        assert not file or (ROOT / file).is_file(), target
        assert not anchor or anchor in anchors(file or name), target


def test_every_file_that_is_named_is_there():
    for name in ("Procfile", "docker-compose.yml"):
        assert f"`{name}`" in TEXTS[ENGLISH]
        assert (ROOT / name).is_file()


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
