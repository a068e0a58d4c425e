"""The files around the code agree with it: commands, hooks, workflows, the changelog, the architecture."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from integration.api import models
from integration.config.alert_models import RULE_KINDS
from integration.web.metrics.counts import COUNTED

ROOT = Path(__file__).parent.parent.parent


def text(name):
    return (ROOT / name).read_text("utf-8")


def recipe(target):
    """Return the commands of a target of the Makefile, without the calls of other targets."""
    block = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text("Makefile"), re.MULTILINE)[1]
    return [line.strip() for line in block.splitlines() if "$(MAKE)" not in line]


# --- make --------------------------------------------------------------------------------------


def test_make_help_has_one_line_for_each_command():
    commands = re.search(r"^\.PHONY: (.*)$", text("Makefile"), re.MULTILINE)[1].split()
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("make ")]
    assert sorted(line.split()[1] for line in lines) == sorted(commands)
    assert [line for line in lines if len(line.split()) < 4 or len(line) > 120] == []


def test_make_alone_is_make_help():
    run = [
        subprocess.run(["make", *words], cwd=ROOT, capture_output=True, check=True)
        for words in ([], ["help"])
    ]
    assert run[0].stdout == run[1].stdout


# --- hooks and workflows -----------------------------------------------------------------------


def test_the_hooks_run_what_make_check_runs_and_download_nothing():
    [repository] = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    assert all(hook["language"] == "system" for hook in repository["hooks"])
    assert all(hook["pass_filenames"] is False for hook in repository["hooks"])
    entries = [hook["entry"].replace(".venv/bin", "$(BIN)") for hook in repository["hooks"]]
    assert entries == recipe("check")


@pytest.fixture(scope="module")
def workflow():
    return yaml.safe_load(text(".github/workflows/ci.yml"))


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_a_workflow_uses_actions_at_a_commit(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name)] == []


def test_a_workflow_can_write_nothing_and_keeps_no_credentials(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in workflow["jobs"].values())
    checkouts = [step for step in steps(workflow) if step.get("uses", "").startswith("actions/checkout@")]
    assert len(checkouts) == len(workflow["jobs"])
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets." not in text(".github/workflows/ci.yml")


def test_the_workflow_runs_everything_and_the_tests_on_each_python(workflow):
    runs = [step["run"] for step in steps(workflow) if "run" in step]
    assert runs == [".ci/run", "make test PYTHON=python${{ matrix.python }}"]
    versions = workflow["jobs"]["test"]["strategy"]["matrix"]["python"]
    lowest = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"].removeprefix(">=")
    assert versions[0] == lowest
    # YAML reads 3.10 as a number.
    assert all(isinstance(version, str) for version in versions)


@pytest.mark.parametrize("name", ["bug", "sender"])
def test_an_issue_template_asks_for_what_ringback_check_prints(name):
    form = yaml.safe_load(text(f".github/ISSUE_TEMPLATE/{name}.yml"))
    [asked] = [part for part in form["body"] if "`ringback check`" in part["attributes"].get("label", "")]
    assert asked["validations"]["required"] is True
    ids = [part["id"] for part in form["body"] if "id" in part]
    assert len(ids) == len(set(ids))


# --- the changelog -----------------------------------------------------------------------------


def newest_changes():
    """Return what is unreleased, if anything, and the changes of the newest version."""
    return "".join(re.split(r"^## (?=\d)", text("CHANGELOG.md"), flags=re.MULTILINE)[:2])


def test_the_metrics_of_the_changelog_are_there():
    code = "".join(path.read_text("utf-8") for path in (ROOT / "integration/web/metrics").glob("*.py"))
    named = {name for row in renamed("metric") for name in re.findall(r"`(ringback_\w+)", row[-1])}
    counters = {f"{shape.metric}_total" for shape in COUNTED.values()}
    assert len(named) > 5
    assert [name for name in named - counters if f'"{name}"' not in code] == []


def test_the_other_new_names_of_the_changelog_are_there():
    now = {row[0]: row[-1].strip("`").split("`")[0] for row in renamed("what")}
    rules = re.findall(r"- alert: (\w+)", text("docs/prometheus/alerts.yml"))
    for row in renamed("what"):
        name = row[-1].strip("`").split("`")[0]
        if row[0] == "rule for Prometheus":
            assert name in rules
            assert row[1].strip("`") not in rules
    assert now["kind of an alert in `[[alerts.rules]]`"] in RULE_KINDS
    assert f'"{now["environment variable"]}"' in text("integration/config/environment.py")
    schemas = {name for row in renamed("schema") for name in re.findall(r"`(\w+)`", row[-1])}
    assert len(schemas) > 10
    assert [name for name in schemas if not hasattr(models, name)] == []


def test_the_redis_keys_of_the_changelog_are_there():
    keys = text("integration/store/lua/keys.lua")
    for row in renamed("Redis"):
        for name in re.findall(r"`([\w:<>]+)`", row[-1]):
            assert re.search(rf"\b{re.escape(name)}", keys), name


def test_the_new_log_events_of_the_changelog_are_logged():
    code = "".join(
        path.read_text("utf-8") for name in ("integration", "workers") for path in (ROOT / name).rglob("*.py")
    )
    events = [event for row in renamed("log event") for event in re.findall(r"`([^`]+)`", row[-1])]
    assert len(events) > 10
    assert [event for event in events if f'"{event}"' not in code] == []


def renamed(first):
    """Return the rows of the newest version's table whose heading starts with a word."""
    table = re.search(rf"^\| {first}[^\n]*\n\|[-|]+\n((?:\|.*\n)+)", newest_changes(), re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()]


# --- names in the documents --------------------------------------------------------------------

DOCUMENTS = ("docs/architecture.md", "CONTRIBUTING.md", "SECURITY.md")


def spans(name):
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text(name), flags=re.MULTILINE | re.DOTALL))


def resolve(dotted):
    """Return what a dotted name stands for. Raise AttributeError or ImportError."""
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise ImportError(dotted)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_dotted_name_of_a_document_is_there(name):
    dotted = {span for span in spans(name) if re.fullmatch(r"(integration|workers)(\.\w+)+", span)}
    assert name != "docs/architecture.md" or len(dotted) > 30
    for each in dotted:
        resolve(each)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_path_of_a_document_is_there(name):
    places = {span for span in spans(name) if re.fullmatch(r"[\w.-]+(/[\w.*-]*)+|[\w-]+\.(md|yml)", span)}
    places -= {span for span in places if span.startswith(".ringback/")}  # made when it runs
    links = {link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]+)\)", text(name))}
    assert places | links
    assert [place for place in places if not list(ROOT.glob(place.rstrip("/")))] == []
    assert [link for link in links if link and not ((ROOT / name).parent / link).exists()] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_test_that_a_document_names_is_there(name):
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    named = {span for span in spans(name) if span.startswith("test_")}
    assert [test for test in named if f"def {test}(" not in code] == []


def test_a_name_that_is_gone_is_noticed():
    with pytest.raises(AttributeError):
        resolve("integration.webhooks.service.WebhookService.gone")
    with pytest.raises(AttributeError):
        resolve("integration.gone")


def test_each_key_of_the_store_stands_in_the_list_of_keys():
    """Keys of the script, of `Store.key`, and of libraries with a prefix. `room` is deleted and never made."""
    head = text("integration/store/lua/keys.lua")
    table = head[head.index("-- key ") : head.index("-- fields of")]
    listed = set(re.findall(r"^-- ([a-z_]+)", table, re.MULTILINE))
    used = set()
    for path in (ROOT / "integration/store/lua").glob("*.lua"):
        used |= set(re.findall(r"P \.\. '([a-z_]+)", re.sub(r"--[^\n]*", "", path.read_text("utf-8"))))
    for path in (*(ROOT / "integration").rglob("*.py"), *(ROOT / "workers").rglob("*.py")):
        code = path.read_text("utf-8")
        used |= set(re.findall(r"\bkey\(f?\"([a-z_]+)", code))
        used |= set(re.findall(r"\"\{(?:ringback\}:|PREFIX\})([a-z_]+)", code))
    assert len(used) > 30
    assert used >= {"rate", "celery"}
    assert used - listed == {"never_set"}


def test_what_a_rule_on_wake_ups_asks_for_is_what_is_counted():
    counted = set(re.findall(r'_count\("(\w+)"\)', text("integration/services/wakeup.py")))
    asked = set(re.findall(r'ringback_wake_ups_total\{what="([^"]+)"', text("docs/prometheus/alerts.yml")))
    assert counted == {"published", "failed"}
    assert asked == {"failed"}
