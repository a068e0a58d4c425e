"""The reference under docs/: each table has every key, command, metric and message of the code and no other."""

from __future__ import annotations

import ast
import json
import re
from datetime import time

import pytest

from integration.api.models import DEFAULT_ITEMS, MOST_ITEMS
from integration.api.operations import OPERATIONS
from integration.config import alert_models, source_models
from integration.config import models as config
from integration.dashboard.presenting import reason_labels
from integration.domain import account as domain_account
from integration.domain import limits
from integration.domain.recall import State
from integration.domain.schedule import calling_hours
from integration.mapping import expressions
from integration.web import metrics
from integration.web.metrics.counts import COUNTED
from integration.webhooks import providers
from integration.webhooks.providers.schemes import SCHEMES
from support.doc_pages import (
    API,
    CONFIGURATION,
    DEPLOYING,
    EXAMPLE,
    MAPPING,
    OPERATING,
    PROMISES,
    ROOT,
    SENDERS,
    SPANISH,
    TEXTS,
    TROUBLESHOOTING,
    blocks,
    first_column,
    keys_table,
    section,
)

# It only says where else to look.
NOT_EXPLAINED = "Too many deliveries were rejected at that time to find the cause of each."


# --- keys ----------------------------------------------------------------------------


def test_the_example_has_every_key_of_the_configuration():
    told = set(re.findall(r"(?:^|[{,])\s*#?\s*(\w+) = ", EXAMPLE, re.MULTILINE))
    told |= set(re.findall(r"^\[(?:\w+\.)*(\w+)\]", EXAMPLE, re.MULTILINE))
    models = (
        domain_account.Account, config.StoreSettings, config.ApiKey, source_models.HubspotSource, source_models.SalesforceSource,
        source_models.JsonSource, source_models.HubspotLookup, config.Route, config.User, config.DashboardSettings, config.Oidc,
    )  # fmt: skip
    keys = {key for model in models for key in model.model_fields} - {"name"}
    assert keys - told - {"digest"} == set()


SOURCES = {key for kind in source_models.SOURCE_KINDS.values() for key in kind.model_fields}
CHANNELS = {key for kind in alert_models.CHANNEL_KINDS.values() for key in kind.model_fields}
TABLES = {
    "## Accounts": set(domain_account.Account.model_fields),
    "## Store": set(config.StoreSettings.model_fields),
    "## Sources": SOURCES,
    "### Lookup": set(source_models.HubspotLookup.model_fields),
    "### Lookup of a JSON source": {
        *source_models.Bitrix24Lookup.model_fields,
        *source_models.MetaLeadLookup.model_fields,
    },
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
        ("### Lookup", (source_models.HubspotLookup,)),
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
    for limit in (limits.MAX_EVENTS, limits.MAX_JSON_DEPTH, limits.MAX_FIELDS):
        assert f"| {limit} |" in text
    assert f"({DEFAULT_ITEMS}, at most {MOST_ITEMS})" in TEXTS[API]


def test_the_states_of_a_recall_are_those_there_are_in_their_order():
    for name, heading in (
        (OPERATING, "## States of a callback"),
        (SPANISH, "## Estados de una rellamada"),
    ):
        assert first_column(section(name, heading)) == [str(state) for state in State]


def test_the_queue_states_are_those_there_are():
    assert tuple(first_column(section(OPERATING, "## States of a queue"))) == metrics.QUEUE_STATES


# --- the API -----------------------------------------------------------------------------------


def test_the_table_of_the_api_has_every_operation_and_no_other():
    told = {tuple(name.split(" ", 1)) for name in first_column(TEXTS[API]) if " " in name}
    told |= set(re.findall(r"`(GET|POST) (/hooks/[^`]+)`", TEXTS[API]))
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
    read |= set(re.findall(r"\$\{([A-Z_]+)", code())) | set(re.findall(r"envvar=\"([A-Z_]+)\"", code()))
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
    text = section(TROUBLESHOOTING, "## Rejected deliveries")
    told = [message.split("…")[0].strip() for message in first_column(text)]
    assert all(told)
    for words in reason_labels.WORDS.values():
        what = re.sub(r"%\(\w+\)s", "…", str(words.what))
        if what != NOT_EXPLAINED:
            assert any(begin in what for begin in told), what
