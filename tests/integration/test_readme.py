"""The READMEs and the pages under docs/: what they show works, what they name exists, and no setting is missing."""

from __future__ import annotations

import ast
import hashlib
import json
import posixpath
import re
import shlex
import tomllib
from datetime import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from integration.api.models import DEFAULT_ITEMS, MOST_ITEMS
from integration.api.operations import OPERATIONS
from integration.cli.main import COMMANDS, main
from integration.config import alert_models, source_models
from integration.config import models as config
from integration.config.warnings import config_warnings
from integration.dashboard.presenting import reason_labels
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
LONGEST_README = 220
# It only says where else to look.
NOT_EXPLAINED = "Too many were refused at that moment to look into each."
EXAMPLE = (ROOT / "ringback.example.toml").read_text("utf-8")

# What a block needs around it to be a whole configuration, by the line that shows it is there already.
FRAME = {
    "[accounts.bogota]": 'token = "env:WOLKVOX_TOKEN"\nserver = "0003"\ntimezone = "America/Bogota"',
    "[sources.hubspot]": 'kind = "hubspot"\nsecrets = "env:HUBSPOT_CLIENT_SECRET"',
    "[sources.hubspot.lookup]": 'token = "env:HUBSPOT_PRIVATE_APP_TOKEN"\nproperties = "phone"',
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


def test_the_example_has_every_key_of_the_configuration():
    told = set(re.findall(r"(?:^|[{,])\s*#?\s*(\w+) = ", EXAMPLE, re.MULTILINE))
    told |= set(re.findall(r"^\[(?:\w+\.)*(\w+)\]", EXAMPLE, re.MULTILINE))
    models = (
        domain_account.Account, config.StoreSettings, config.ApiKey, source_models.HubspotSource, source_models.SalesforceSource,
        source_models.JsonSource, source_models.Lookup, config.Route, config.User, config.DashboardSettings, config.Oidc,
    )  # fmt: skip
    keys = {key for model in models for key in model.model_fields} - {"name"}
    assert keys - told - {"digest"} == set()


SOURCES = {key for kind in source_models.SOURCE_KINDS.values() for key in kind.model_fields}
CHANNELS = {key for kind in alert_models.CHANNEL_KINDS.values() for key in kind.model_fields}
TABLES = {
    "## Accounts": set(domain_account.Account.model_fields),
    "## Store": set(config.StoreSettings.model_fields),
    "## Sources": SOURCES,
    "### Lookup": set(source_models.Lookup.model_fields),
    "## Routes": set(config.Route.model_fields) | {"name"},
    "## API keys": set(config.ApiKey.model_fields),
    "## Dashboard and users": {
        *config.User.model_fields,
        *config.DashboardSettings.model_fields,
        *config.Oidc.model_fields,
    },
    "### Channels": CHANNELS,
}


@pytest.mark.parametrize("heading", TABLES)
def test_a_table_of_keys_has_every_key_and_no_other(heading):
    # A table's `name` stands in its heading, but for the few that have a key of this name.
    assert set(first_column(keys_table(heading))) - {"name"} == TABLES[heading] - {"name"}


@pytest.mark.parametrize(
    ("heading", "model"),
    [("## Routes", config.Route), ("## Dashboard and users", config.Oidc)],
)
def test_a_table_has_the_key_name_where_it_is_one(heading, model):
    assert "name" in model.model_fields
    assert "name" in first_column(section(CONFIGURATION, heading))


def test_the_table_of_alerts_has_every_key_and_no_other():
    told = first_column(keys_table("## Alerts"))
    assert set(told) == set(alert_models.AlertSettings.model_fields)


def test_the_states_with_days_of_their_own_are_named():
    row = next(line for line in section(CONFIGURATION, "## Store").splitlines() if "`retention`" in line)
    assert {key for key in config.Retention.model_fields if f"`{key}`" not in row} == set()


def test_the_keys_that_are_only_some_kinds_are_told_so():
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \|", keys_table("## Sources"), re.MULTILINE)
    assert rows
    kinds = source_models.SOURCE_KINDS
    for key, told in rows:
        having = {kind for kind, model in kinds.items() if key in model.model_fields}
        assert set(kinds if told == "all" else told.split(", ")) == having, key


def test_the_channels_that_a_key_is_for_are_told():
    rows = re.findall(r"^\| `(\w+)` \| ([a-z, ]+) \|", section(CONFIGURATION, "### Channels"), re.MULTILINE)
    assert rows
    kinds = alert_models.CHANNEL_KINDS
    for key, told in rows:
        having = {kind for kind, model in kinds.items() if key in model.model_fields}
        assert set(kinds if told == "all" else told.split(", ")) == having, key


def written(default):
    """A default as the tables write it; None where they use words."""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, time):
        return f'"{default:%H:%M}"'
    if isinstance(default, tuple) and default:
        return str(list(default)).replace("'", '"')
    if isinstance(default, str):
        return f'"{default}"'
    return str(default) if isinstance(default, int | float) else None


@pytest.mark.parametrize(
    ("heading", "models"),
    [
        ("## Accounts", (domain_account.Account,)),
        ("## Store", (config.StoreSettings,)),
        ("## Sources", tuple(source_models.SOURCE_KINDS.values())),
        ("### Lookup", (source_models.Lookup,)),
        ("## Routes", (config.Route,)),
        ("## API keys", (config.ApiKey,)),
        ("## Dashboard and users", (config.User, config.DashboardSettings, config.Oidc)),
        ("### Channels", tuple(alert_models.CHANNEL_KINDS.values())),
    ],
)
def test_the_defaults_of_a_table_are_those_of_the_code(heading, models):
    rows = re.findall(r"^\| `(\w+)` .*?\| ([^|]*) \| [^|]* \|$", keys_table(heading), re.MULTILINE)
    assert rows
    for key, cell in rows:
        fields = [model.model_fields[key] for model in models if key in model.model_fields]
        known = {"required" if field.is_required() else written(field.default) for field in fields}
        told = cell.strip("`")
        # A cancel has neither telephone nor date, so that the model cannot require them.
        # Of server and base_url one is required, and `retention` is a table.
        if told not in known and key not in ("recall_telephone", "recall_date", "server", "retention"):
            assert None in known, key
            assert told != "required", key


def test_the_presets_are_those_there_are_with_their_hours():
    text = section(CONFIGURATION, "## Calling hours")
    assert set(first_column(text)) == set(calling_hours.PRESETS)
    for name, preset in calling_hours.PRESETS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        windows = {f"{a:%H:%M}–{b:%H:%M}" for day in preset.windows for a, b in day}
        assert set(re.findall(r"\d\d:\d\d–\d\d:\d\d", row)) == windows


def test_nothing_is_called_legal_compliance():
    for text in TEXTS.values():
        assert not re.search(r"complian|compli[er] |cumplimiento|cumple la ley|legally", text, re.IGNORECASE)


def test_every_filter_and_name_for_templates_is_there():
    filters = section(MAPPING, "## Filters")
    assert set(first_column(section(MAPPING, "## Names in templates"))) == set(expressions.NAMES)
    described = {name.partition("(")[0] for name in first_column(filters)}
    assert described <= set(expressions.FILTERS)
    listed = re.search(r"Jinja's own (.*?) and others", filters, re.DOTALL)[1]
    assert set(re.findall(r"`(\w+)`", listed)) <= set(expressions.FILTERS)


def test_every_filter_that_ringback_adds_is_described():
    described = {name.partition("(")[0] for name in first_column(section(MAPPING, "## Filters"))}
    assert {"date", "day", "zone", "plus", "strftime", "digits", "default", "flatten"} <= described


def test_the_ways_of_verify_are_those_there_are():
    assert set(first_column(section(SENDERS, "## How a sender proves who it is"))) == set(SCHEMES)
    spanish = section(SPANISH, "## Conectar su CRM")
    assert {word for word in SCHEMES if f"`{word}`" not in spanish} == set()


def test_the_kinds_are_those_there_are():
    row = re.search(r"^\| `kind` .*$", section(CONFIGURATION, "## Sources"), re.MULTILINE)[0]
    assert set(re.findall(r"`(\w+)`", row)) - {"kind"} == set(providers.SOURCES)


def test_the_rules_of_alerts_are_those_there_are_with_their_defaults():
    text = section(CONFIGURATION, "### Rules")
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:`(\w+)` (\d+))? ?\|", text, re.MULTILINE)
    assert [kind for kind, _, _ in rows] == list(alert_models.RULE_KINDS)
    for kind, key, default in rows:
        if key:
            assert alert_models.RULE_KINDS[kind].model_fields[key].default == int(default)


def test_the_limits_are_those_of_the_code():
    text = section(PROMISES, "## Limits")
    for limit in (bodies.MAX_EVENTS, bodies.MAX_DEPTH, bodies.MAX_FORM_FIELDS):
        assert f"| {limit} |" in text
    assert f"({DEFAULT_ITEMS}, at most {MOST_ITEMS})" in TEXTS[API]


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


def test_the_states_of_a_recall_are_those_there_are_in_their_order():
    for name, heading in (
        (OPERATING, "## States of a callback"),
        (SPANISH, "## Estados de una rellamada"),
    ):
        assert first_column(section(name, heading)) == [str(state) for state in State]


def test_the_queue_states_are_those_there_are():
    assert tuple(first_column(section(OPERATING, "## States of a queue"))) == metrics.QUEUE_STATES


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
    done = run(["map", "crm", str(tmp_path / "event.json")], tmp_path, COMPLETE[name])
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
    args = ["map", "hubspot", str(tmp_path / "event.json"), "--contact", str(tmp_path / "contact.json")]
    done = run(args, tmp_path, COMPLETE[name])
    assert done.exit_code == 0, done.output
    expected = shown_lines(HUBSPOT, "event 1 of 1")
    if name == SPANISH_HUBSPOT:
        expected = [line for line in expected if "route '" not in line]
    assert [line for line in expected if line not in done.output.splitlines()] == []


def test_the_check_of_the_first_configuration_says_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RINGBACK_DATA_DIR", raising=False)
    done = run(["check"], tmp_path, COMPLETE[HUBSPOT])
    shown = next(block for block in blocks(HUBSPOT, "") if block.startswith("ringback.toml: good"))
    assert done.exit_code == 0
    assert done.output.replace(str(tmp_path / "ringback.toml"), "ringback.toml") == shown


@pytest.mark.parametrize("name", [HUBSPOT, TROUBLESHOOTING])
def test_the_fault_that_is_shown_is_told_in_these_words(tmp_path, name):
    fault = re.search(r"ringback\.toml: (accounts\.bogota\.timezone: [^\n`]*)", TEXTS[name])[1]
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
    done = run(["map", "crm", str(tmp_path / "body.json"), "--json"], tmp_path, whole(block))
    assert done.exit_code == 0, done.output
    event = json.loads(done.stdout)["events"][0]
    assert event["schedule"]["requested_date"] == "2030-06-04T15:30:00-05:00"


@pytest.mark.parametrize("name", TEXTS)
def test_every_json_block_and_body_is_json(name):
    for block in blocks(name, "json"):
        json.loads(block)
    for body in re.findall(r"-d '(\{.*?\})'", TEXTS[name], re.DOTALL):
        json.loads(body)


# --- the API -----------------------------------------------------------------------------------


def test_the_table_of_the_api_has_every_operation_and_no_other():
    told = {tuple(name.split(" ", 1)) for name in first_column(TEXTS[API]) if " " in name}
    told |= {("POST", path) for path in re.findall(r"`POST (/hooks/[^`]+)`", TEXTS[API])}
    assert told == {(operation.method.upper(), operation.path) for operation in OPERATIONS}


def test_the_answers_of_the_table_are_those_that_are_given():
    rows = re.findall(r"^\| `(\w+) (/v1/[^`]+)` \|.*\| (.*) \|$", TEXTS[API], re.MULTILINE)
    given = {(o.method.upper(), o.path): {*o.answers, *o.errors} for o in OPERATIONS}
    assert len(rows) == sum(operation.tag == "v1" for operation in OPERATIONS)
    for method, path, answers in rows:
        assert {int(status) for status in re.findall(r"\b\d{3}\b", answers)} <= given[method, path], path


def test_the_recall_that_is_shown_has_the_fields_of_a_recall():
    from integration.api.models import RecallModel

    shown = next(json.loads(block) for block in blocks(API, "json") if '"rc_0000000wcd4d"' in block)
    assert set(shown) == set(RecallModel.model_fields)


# --- the environment, metrics ------------------------------------------------------------------


def code():
    files = [*ROOT.glob("integration/**/*.py"), *ROOT.glob("workers/**/*.py"), ROOT / "Procfile"]
    return "\n".join(file.read_text("utf-8") for file in files)


def test_the_table_of_the_environment_has_what_the_code_reads_and_no_other():
    told = set(first_column(section(CONFIGURATION, "## Environment variables")))
    read = set(re.findall(r"environ(?:\.get\(|\[)\s*\"([A-Z][A-Z_]+)\"", code()))
    read |= set(re.findall(r"\$\{([A-Z_]+)", code()))
    # What the server hands on with a request, and the demo's own.
    handed_on = {"PATH_INFO", "QUERY_STRING", "REMOTE_ADDR", "REQUEST_METHOD"}
    assert told == {name for name in read - handed_on if not name.startswith(("HTTP_", "DEMO_"))}


def test_the_table_of_metrics_has_every_metric_and_no_other():
    told = set(first_column(section(OPERATING, "## Metrics")))
    source = "".join(file.read_text("utf-8") for file in (ROOT / "integration/web/metrics").glob("*.py"))
    counters = {shape.metric for shape in COUNTED.values()}
    named = set(re.findall(r'"(ringback_\w+)"', source))
    assert told == {f"{name}_total" if name in counters else name for name in named}


def test_the_store_settings_are_those_that_are_asked_for():
    from integration.store.durability import OLDEST

    settings = next(block for block in blocks(DEPLOYING, "") if block.startswith("appendonly"))
    assert settings.split() == [
        "appendonly", "yes", "appendfsync", "always", "no-appendfsync-on-rewrite", "no",
        "maxmemory-policy", "noeviction",
    ]  # fmt: skip
    assert f"Redis {'.'.join(map(str, OLDEST))} or later" in TEXTS[DEPLOYING]


def test_the_hold_on_a_queue_is_as_long_as_is_said():
    account = domain_account.Account(name="a", server="0003", token="t", timezone="America/Bogota")
    assert f"{account.lease_seconds:g} s" in section(PROMISES, "## Not guaranteed")


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


def test_the_files_of_a_deployment_are_named():
    for name in ("Procfile", "docker-compose.yml"):
        assert f"`{name}`" in TEXTS[DEPLOYING]
        assert (ROOT / name).is_file()


def test_the_services_and_ports_of_docker_are_those_that_are_named():
    compose = (ROOT / "docker-compose.yml").read_text("utf-8")
    text = section(DEPLOYING, "## Docker")
    services = re.findall(r"^  (\w+):$", compose.partition("\nservices:\n")[2], re.MULTILINE)
    named = {"valkey", "web", "dashboard", "worker"}
    assert named <= set(services)
    assert {name for name in named if f"`{name}`" not in text} == set()
    for name, port in re.findall(r"\$\{(\w*PORT):-(\d+)\}", compose):
        assert f"(`{name}`, {port})" in text


# --- messages ----------------------------------------------------------------------------------


def texts_of_the_code():
    """Every text that the code may print: the constants of Python, and the lines of Lua."""
    for file in (*ROOT.glob("integration/**/*.py"), *ROOT.glob("workers/**/*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.sub(r"%\(\w+\)s", "…", node.value)
    for file in ROOT.glob("integration/**/*.lua"):
        yield file.read_text("utf-8")


def test_every_message_of_troubleshooting_is_one_of_the_code():
    known = list(texts_of_the_code())
    told = first_column(TEXTS[TROUBLESHOOTING].replace("401 on `/hooks`", "").replace("401 on `/v1`", ""))
    assert told
    parts = {part.strip(): message for message in told for part in message.split("…")}
    unknown = {message for part, message in parts.items() if not any(part in text for text in known)}
    assert unknown == set()


def test_every_reason_for_a_refusal_is_explained():
    text = section(TROUBLESHOOTING, "## Refused deliveries")
    told = [message.split("…")[0].strip() for message in first_column(text)]
    assert all(told)
    for words in reason_labels.WORDS.values():
        what = re.sub(r"%\(\w+\)s", "…", str(words.what))
        if what != NOT_EXPLAINED:
            assert any(begin in what for begin in told), what


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
