"""The projects of `ringback hubspot project`, parsed by HubSpot's own library (npm, needs Node.js).

`make test-all` installs the library. Where it cannot, on a laptop the tests are skipped, and they fail in CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from integration.webhooks.hubspot_project.files import ACTION_FILE, APP_FILE, PROJECT_FILE, WEBHOOKS_FILE
from support import two_accounts, write_config
from support.cli_runner import Ringback

FOLDER = Path(__file__).parent.parent / "hubspot_parser"
SOURCE = """
[sources.{name}]
kind = "hubspot"
secrets = ["env:HUBSPOT_SECRET"]
signatures = ["v3", "v2"]
public_url = "https://hooks.example.com/hooks/{name}"
"""
PROPERTY = """
[[routes]]
name = "date on a contact"
source = "{name}"
account = "bogota"
when = "event.propertyName == 'callback_at' and event.propertyValue"
campaign_id = "10"
customer_id = "{{{{ event.objectId }}}}"
recall_telephone = "3001112233"
recall_date = "{{{{ event.propertyValue }}}}"
"""
ACTION = """
[[routes]]
name = "workflow"
source = "{name}"
account = "{{{{ event.inputFields.account }}}}"
accounts = ["bogota", "lima"]
when = "event.inputFields.kind in ['sales', 'support']"
campaign_id = "{{{{ event.inputFields.campaign }}}}"
customer_id = "{{{{ event.object.properties.document }}}}"
recall_telephone = "{{{{ event.inputFields.telephone }}}}"
recall_date = "{{{{ event.inputFields.date }}}}"
"""
OBJECTS = PROPERTY.replace(
    "event.propertyName ==", "event.subscriptionType == 'deal.propertyChange' and event.propertyName =="
)
LONGEST = "a" * 63

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def parse():
    if not (FOLDER / "node_modules" / "@hubspot").is_dir() or shutil.which("node") is None:
        why = "HubSpot's parser is not installed: it needs Node.js and npm, then `make test-all` installs it"
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)

    def parse(project: Path) -> tuple[dict[str, str], list[str]]:
        command = ["node", str(FOLDER / "parse.mjs"), str(project)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=FOLDER)
        result = json.loads(done.stdout)
        return result["components"], result["faults"]

    return parse


@pytest.fixture
def write(tmp_path):
    """Return a function that runs the command with these routes, and gives the folder of the project."""

    def write(*routes: str, name: str = "crm") -> Path:
        text = two_accounts() + SOURCE.format(name=name) + "".join(each.format(name=name) for each in routes)
        Ringback(write_config(tmp_path, text)).json("hubspot", "project", str(tmp_path / "app"))
        return tmp_path / "app"

    return write


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


# --- what the command writes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("routes", "name", "types"),
    [
        ([], "crm", ["app", "workflow-action"]),
        ([PROPERTY], "crm", ["app", "webhooks", "workflow-action"]),
        ([ACTION], "crm", ["app", "workflow-action"]),
        ([PROPERTY, ACTION, OBJECTS], "crm", ["app", "webhooks", "workflow-action"]),
        ([PROPERTY], LONGEST, ["app", "webhooks", "workflow-action"]),
        ([PROPERTY], "a_b-9", ["app", "webhooks", "workflow-action"]),
    ],
)
def test_hubspots_library_parses_the_project(parse, write, routes, name, types):
    components, faults = parse(write(*routes, name=name))
    assert faults == []
    assert sorted(components.values()) == types


def test_an_edited_project_is_parsed_after_a_second_run(parse, write):
    project = write(PROPERTY)
    edit(project / APP_FILE, lambda app: app["config"].update(name="Our app", logo="logo.png"))
    edit(project / ACTION_FILE, lambda action: action.update(uid="our-own-uid"))
    edit(project / WEBHOOKS_FILE, lambda hooks: hooks["config"]["settings"].update(maxConcurrentRequests=20))
    edit(project / PROJECT_FILE, lambda config: config.update(platformVersion="2026.03"))
    own = project / "src/app/workflow-actions/another-hsmeta.json"
    own.write_text(
        json.dumps({"uid": "another", "type": "workflow-action", "config": {"actionUrl": "https://x"}})
    )
    components, faults = parse(write(PROPERTY, ACTION))
    assert faults == []
    assert {"our-own-uid", "another"} <= components.keys()


# --- the check itself ------------------------------------------------------------------------------


def _moved(project):
    target = project / "src/app/workflow-action"
    target.mkdir()
    (project / ACTION_FILE).rename(target / "schedule-callback-hsmeta.json")


def _twice(project):
    shutil.copy(project / APP_FILE, project / "src/app/second-hsmeta.json")
    edit(project / "src/app/second-hsmeta.json", lambda app: app.update(uid="second"))


BROKEN = {
    "another folder": _moved,
    "two apps": _twice,
    "no app": lambda project: (project / APP_FILE).unlink(),
    "the same uid": lambda project: edit(
        project / ACTION_FILE, lambda file: file.update(uid="ringback-crm-app")
    ),
    "a uid that is too long": lambda project: edit(
        project / ACTION_FILE, lambda file: file.update(uid="a" * 65)
    ),
    "no uid": lambda project: edit(project / ACTION_FILE, lambda file: file.pop("uid")),
    "no config": lambda project: edit(project / ACTION_FILE, lambda file: file.pop("config")),
    "an unknown type": lambda project: edit(
        project / ACTION_FILE, lambda file: file.update(type="workflow-acton")
    ),
    "an unknown version": lambda project: edit(
        project / PROJECT_FILE, lambda file: file.update(platformVersion="2026.9")
    ),
    "no name": lambda project: edit(project / PROJECT_FILE, lambda file: file.pop("name")),
    "another source folder": lambda project: edit(
        project / PROJECT_FILE, lambda file: file.update(srcDir="source")
    ),
    "no JSON": lambda project: (project / APP_FILE).write_text("{"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_the_check_finds_a_broken_project(parse, write, fault):
    project = write(PROPERTY, ACTION)
    BROKEN[fault](project)
    assert parse(project)[1] != []
