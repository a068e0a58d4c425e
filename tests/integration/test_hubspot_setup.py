"""A new user follows docs/hubspot.md line by line, with HubSpot and wolkvox on loopback.

The commands, configurations and events are those of the page. Replaced are the addresses, the secrets, the
dates, and the commands of HubSpot's own command line.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from integration.local.sandbox import Sandbox
from support.doc_pages import HUBSPOT, SPANISH_HUBSPOT, blocks
from support.hubspot_stub import TOKEN, HubspotFault, HubspotStub, rate_limited
from support.ports import two_free_ports
from support.terminal import Terminal
from support.waiting import wait_until

SECRET = "client-secret-of-the-project-app"
SECRETS = {"WOLKVOX_TOKEN": "token-of-bogota-1", "HUBSPOT_CLIENT_SECRET": SECRET, "HUBSPOT_TOKEN": TOKEN}
# Of the page's second source, for which it shows no command.
OTHER_SECRETS = {"HUBSPOT_DEALS_SECRET": f"{SECRET}-deals", "HUBSPOT_DEALS_TOKEN": f"{TOKEN}-deals"}
PUBLIC = "https://hooks.example.com"

pytestmark = pytest.mark.thorough


class NewUser:
    """A user with a terminal, an app in HubSpot, and a token for wolkvox."""

    def __init__(self, folder, page, hubspot, wolkvox):
        self.page, self.hubspot, self.wolkvox = page, hubspot, wolkvox
        checkout = folder / "ringback"
        checkout.mkdir()
        (checkout / ".venv").symlink_to(sys.prefix)
        self.terminal = Terminal(checkout, **SECRETS)
        self.port = two_free_ports()
        self.terminal.environ["PORT"] = str(self.port)
        self.events = 0

    @property
    def config_path(self):
        return self.terminal.folder / "ringback.toml"

    def commands(self, word):
        """Return the lines of the page's block of commands that has this word in it."""
        (block,) = (each for each in blocks(self.page, "sh") if word in each)
        return block

    def write_config(self, number_of_blocks=1, *, mode="dry-run"):
        """Write the page's first tables, or more of them, with the addresses of this machine."""
        text = "\n".join(blocks(self.page, "toml")[:number_of_blocks])
        text, servers = re.subn(
            r'^server = "0003"', f'base_url = "{self.wolkvox.url}"', text, flags=re.MULTILINE
        )
        text, lookups = re.subn(
            r"^(\[sources\.hubspot\.lookup\].*)$",
            rf'\1\nbase_url = "{self.hubspot.base_url}"',
            text,
            flags=re.MULTILINE,
        )
        assert (servers, lookups) == (1, 1)
        if mode == "live":
            text, found = re.subn(r'^mode = "dry-run".*\n', "", text, flags=re.MULTILINE)
            assert found == 1, "the line that is taken out at the end"
        # Custom actions and "Send a webhook" are signed with v2, as the page says.
        if number_of_blocks > 1:
            text = text.replace('kind = "hubspot"\n', 'kind = "hubspot"\nsignatures = ["v3", "v2"]\n', 1)
        self.config_path.write_text(text, "utf-8")

    def prepare(self, *, mode="dry-run", number_of_blocks=1, **secrets):
        """Do the steps 2 to 5 without looking."""
        self.terminal.run(self.commands("mkdir ../callbacks"))
        self.write_config(number_of_blocks, mode=mode)
        self.terminal.variables = SECRETS | secrets
        self.terminal.environ |= OTHER_SECRETS
        self.terminal.run(self.commands("ringback check\n"))

    def up(self):
        return self.terminal.in_background(
            self.commands("ringback up").splitlines()[0], ready="Ringback is up"
        )

    def change_property(self, value="", *, contact=123):
        """Write event.json as HubSpot sends it now, with a number of its own. Return the date."""
        (event,) = json.loads(blocks(self.page, "json")[0])
        self.events += 1
        now = datetime.now(UTC)
        at = (now + timedelta(days=30)).replace(microsecond=0)
        event |= {
            "eventId": 1000 + self.events,
            "objectId": contact,
            "occurredAt": round(now.timestamp() * 1000),
        }
        event["propertyValue"] = str(round(at.timestamp() * 1000)) if value == "" else value
        (self.terminal.folder / "event.json").write_text(json.dumps([event]), "utf-8")
        return at

    def send(self):
        """Send the event with the page's command. Return its answer: counts by name."""
        line = next(line for line in self.commands("ringback send").splitlines() if "ringback send" in line)
        printed = self.terminal.run(line.partition("#")[0])
        assert printed.startswith("202 Accepted")
        return dict(re.findall(r"^  (\w+) +(\S+)$", printed, re.MULTILINE))

    def recalls(self):
        return json.loads(self.terminal.run("ringback recalls --json"))["items"]

    def lookup_fault(self):
        """Return why events wait for HubSpot, as `ringback recalls` says it, or None."""
        (lookup,) = json.loads(self.terminal.run("ringback recalls --json"))["lookups"]
        return None if lookup["failure"] is None else lookup["failure"]["reason"]

    def await_recall(self, state, *, seconds=60):
        """Wait until the newest recall is in this state."""

        def newest():
            found = self.recalls()
            return found[0] if found and found[0]["state"] == state else None

        return wait_until(newest, seconds, what=lambda: f"{state} in {self.recalls()} {self.parked()}")

    def parked(self):
        return self.terminal.run("ringback parked")

    def post_as_workflow(self, path, body):
        """Post as HubSpot's workflows do: signed with v2 for the public address."""
        sent = json.dumps(body).encode()
        signature = hashlib.sha256(f"{SECRET}POST{PUBLIC}{path}".encode() + sent).hexdigest()
        headers = {"X-HubSpot-Signature": signature, "X-HubSpot-Signature-Version": "v2"}
        return httpx.post(
            f"http://127.0.0.1:{self.port}{path}",
            content=sent,
            headers={**headers, "Content-Type": "application/json"},
            trust_env=False,
            timeout=30,
        )


@pytest.fixture(params=[HUBSPOT, SPANISH_HUBSPOT])
def user(request, tmp_path):
    with HubspotStub() as hubspot, Sandbox() as wolkvox:
        hubspot.add("123", phone="300 111 2233", numero_documento="80123456")
        yield NewUser(tmp_path, request.param, hubspot, wolkvox)


only_english = pytest.mark.parametrize("user", [HUBSPOT], indirect=True)


def output_of(page, beginning):
    """Return the lines that the page shows of an output, without those that are cut short."""
    block = next(block for block in blocks(page, "") if block.startswith(beginning))
    return [line for line in block.splitlines() if line.strip() and "…" not in line]


# --- the steps of the page -------------------------------------------------------------------------


def test_the_steps_of_the_page_lead_to_a_callback(user):
    terminal = user.terminal
    terminal.run(user.commands("mkdir ../callbacks"))
    assert terminal.folder.name == "callbacks"
    user.write_config()

    printed = terminal.run(user.commands("ringback hubspot project"))
    for line in output_of(HUBSPOT, "hsproject.json"):
        assert line in printed.splitlines()
    upload = user.commands("hs project upload").splitlines()[-1]
    assert terminal.run(f"{upload.partition('&&')[0]} && ls hsproject.json && cd ..") == "hsproject.json\n"
    webhooks = json.loads((terminal.folder / "hubspot-app/src/app/webhooks/webhooks-hsmeta.json").read_text())
    assert webhooks["config"]["settings"]["targetUrl"] == f"{PUBLIC}/hooks/hubspot"

    printed = terminal.run(user.commands("ringback check\n"))
    assert printed.splitlines()[0] == output_of(HUBSPOT, "ringback.toml: good")[0]

    event, contact = blocks(user.page, "json")[:2]
    (terminal.folder / "event.json").write_text(event, "utf-8")
    (terminal.folder / "contact.json").write_text(contact, "utf-8")
    printed = terminal.run(user.commands("ringback map").rstrip() + " --at 2026-12-01T12:00:00Z")
    assert "would be queued" in printed

    with user.up():
        at = user.change_property()
        answer = user.send()
        assert set(answer) == {"delivery", "ignored", "parked", "pending"}
        assert answer["pending"] == "1"
        recall = user.await_recall("simulated")
        assert (recall["customer_id"], recall["recall_telephone"]) == ("80123456", "3001112233")
        assert datetime.fromisoformat(recall["recall_date"]) == at
        assert user.hubspot.asked[-1]["inputs"] == [{"id": "123"}]
        assert user.wolkvox.stats()["count"] == 0, "nothing is sent before the line is taken out"
        again = user.send()
        assert again["delivery"] == answer["delivery"], "the same event again changes nothing"

        terminal.run(user.commands("ringback check --online"))
        called = user.wolkvox.stats()["count"]
        user.write_config(mode="live")
        wait_until(lambda: "live" in terminal.run("ringback map hubspot event.json --json") or True, 30)
        user.change_property()
        user.send()
        accepted = user.await_recall("accepted")
        assert user.wolkvox.stats()["count"] == called + 1
        shown = terminal.run(f"ringback show {accepted['id']}")
        for line in ("campaign     12345", "customer     •••• 56", "telephone    •••• 33"):
            assert line in shown
        assert "wolkvox answered 202: recorded, not yet called" in shown


@only_english
def test_workflows_and_a_withdrawn_wish_work_as_the_page_shows(user):
    user.prepare(mode="live", number_of_blocks=len(blocks(HUBSPOT, "toml")))
    terminal = user.terminal
    at = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)
    with user.up():
        terminal.run("ringback pause bogota")
        user.change_property()
        user.send()
        user.await_recall("queued")
        user.change_property(None)
        user.send()
        user.await_recall("cancelled")
        terminal.run("ringback resume bogota")

        body = {
            "numero_documento": "80123457",
            "phone": "300 111 2234",
            "callback_at": str(round(at.timestamp() * 1000)),
        }
        sent = user.post_as_workflow("/hooks/workflow", body)
        assert (sent.status_code, len(sent.json()["recalls"])) == (202, 1)
        user.await_recall("accepted")

        request = {
            "origin": {"portalId": 1},
            "objectTypeId": "0-1",
            "inputFieldName": "account",
            "inputFields": {},
        }
        options = user.post_as_workflow("/hooks/hubspot/options", request).json()["options"]
        assert [option["value"] for option in options] == ["bogota"]
        inputs = {
            "account": "bogota",
            "campaign": "12345",
            "customer": "80123458",
            "telephone": "300 111 2235",
            "date": at.isoformat(),
        }
        action = {
            "callbackId": "ap-1",
            "object": {"objectId": 123, "objectType": "CONTACT"},
            "inputFields": inputs,
        }
        outputs = user.post_as_workflow("/hooks/hubspot", action).json()["outputFields"]
        (shown,) = (block for block in blocks(HUBSPOT, "json") if "outputFields" in block)
        assert outputs.keys() == json.loads(shown)["outputFields"].keys()
        assert (outputs["outcome"], outputs["hs_execution_state"]) == ("recall", "SUCCESS")
        other = {**action, "callbackId": "ap-2", "inputFields": {**inputs, "account": "lima"}}
        outputs = user.post_as_workflow("/hooks/hubspot", other).json()["outputFields"]
        assert (outputs["outcome"], outputs["hs_execution_state"]) == ("parked", "FAIL_CONTINUE")
        assert "an account that this route may not use" in user.parked()


# --- HubSpot does not answer as it should ----------------------------------------------------------


@only_english
@pytest.mark.parametrize("fault", ["429", "500", "hang", "drip", "cut"])
def test_a_lookup_that_fails_for_a_while_delays_the_callback_and_loses_none(user, fault):
    user.prepare()
    faults = {
        "429": rate_limited("TEN_SECONDLY_ROLLING", Retry_After="1"),
        "500": HubspotFault(),
        "hang": HubspotFault("hang"),
        "drip": HubspotFault("drip"),
        "cut": HubspotFault("cut"),
    }
    user.hubspot.faults.append(faults[fault])
    with user.up():
        user.change_property()
        assert user.send()["pending"] == "1"
        user.await_recall("simulated", seconds=90)
    assert len(user.hubspot.asked) >= 2


@only_english
def test_a_wrong_token_keeps_the_events_until_it_is_corrected(user):
    user.prepare(HUBSPOT_TOKEN="pat-na1-of-another-app")
    with user.up():
        user.change_property()
        assert user.send()["pending"] == "1"
        reason = wait_until(user.lookup_fault, 60, what="the reason in `ringback recalls`")
        assert "rejects the token" in reason
        assert "The source waits until its lookup is changed" in user.terminal.run("ringback parked 2>&1")
        user.change_property()
        assert user.send()["pending"] == "1"
        assert user.recalls() == []
    assert len(user.hubspot.asked) == 1, "a token that was refused is not sent again"
    user.terminal.variables = SECRETS
    user.terminal.run(user.commands("ringback check\n"))
    with user.up():
        recall = user.await_recall("simulated", seconds=90)
    assert recall["customer_id"] == "80123456"
