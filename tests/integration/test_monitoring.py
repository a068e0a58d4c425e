"""Metrics, alert rules and the Grafana dashboard against what a running web and worker show; and an alert of it.

Real processes from the Procfile: two of the web, one worker, which answers no HTTP.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections import defaultdict
from datetime import datetime
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from integration.local.supervisor import wait_until
from integration.web.metrics.counts import COUNTED
from support import as_bytes
from support.alert_receivers import HttpReceiver
from support.alert_receivers import running as serving
from support.sentry_sink import sentry_sink
from support.system import AT, LIMITS, running

ROOT = Path(__file__).parent.parent.parent
RULES = yaml.safe_load((ROOT / "docs/prometheus/alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
DASHBOARD = json.loads((ROOT / "docs/grafana/ringback.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    *(("rule " + rule["alert"], rule["expr"]) for rule in RULES),
    *((f"panel {panel['title']}", target["expr"]) for panel in PANELS for target in panel["targets"]),
]

CHANNEL = """
[alerts.channels.chat]
kind = "webhook"
url = "{url}"

[[alerts.rules]]
kind = "nothing-verified"
sources = "salesforce"
minutes = 0
"""


LOOKUP = """
[sources.hubspot.lookup]
token = "pat-a-token-of-hubspot"
properties = ["phone"]
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory, valkey):
    folder = tmp_path_factory.mktemp("monitored")
    with serving(HttpReceiver()) as receiver, sentry_sink() as sentry, running(folder, valkey) as system:
        system.receiver, system.sentry = receiver, sentry
        system.environ["SENTRY_DSN"] = sentry.dsn
        system.write_config(CHANNEL.format(url=receiver.url))
        text = system.config_path.read_text("utf-8")
        text = text.replace(LIMITS, f"{LIMITS}daily_limit = 100000\n")
        text = text.replace('kind = "salesforce"', 'kind = "salesforce"\nresends = false')
        text = text.replace("[sources.salesforce]", f"{LOOKUP}\n[sources.salesforce]", 1)
        system.config_path.write_text(text, "utf-8")
        system.start("web")
        system.worker = system.start("worker")
        yield system


def scraped(system):
    """What `/metrics` shows: samples by name, each a set of labels with its value; names with their types."""
    answer = httpx.get(f"{system.url}/metrics", trust_env=False, timeout=30)
    samples, types = defaultdict(dict), {}
    for family in text_string_to_metric_families(answer.text):
        types[family.name] = family.type
        for sample in family.samples:
            samples[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return samples, types


def value(system, name, **labels):
    return scraped(system)[0][name].get(tuple(sorted(labels.items())), 0)


def deliver(system, customer, *, forged=False):
    body = as_bytes({"customer": customer, "phone": "3001112233", "at": AT})
    if not forged:
        return system.post_signed("forms", body)
    return httpx.post(f"{system.url}/hooks/forms", content=body, trust_env=False, timeout=30)


# --- one sum over all processes ----------------------------------------------------------------


def test_any_web_shows_what_all_webs_and_workers_counted(stack):
    recalls = [deliver(stack, f"m{n}").json()["recalls"][0] for n in range(10)]
    for n in range(4):
        assert deliver(stack, f"f{n}", forged=True).status_code == 401
    for recall in recalls:
        stack.await_state(recall, "accepted")
    wait_until(lambda: value(stack, "ringback_push_seconds_count") == 10, 30, what="the worker's counts")
    for _ in range(8):
        samples, _ = scraped(stack)
        deliveries = samples["ringback_deliveries_total"]
        assert deliveries[(("result", "admitted"), ("source", "forms"))] == 10
        assert deliveries[(("result", "not verified"), ("source", "forms"))] == 4
        assert samples["ringback_admit_seconds_count"][()] == 14
        assert samples["ringback_pushes_total"][(("verdict", "accepted"),)] == 10
        assert (
            samples["ringback_events_total"][(("route", "form"), ("source", "forms"), ("what", "recall"))]
            == 10
        )
        assert samples["ringback_push_seconds_count"][()] == 10
        assert samples["ringback_processes"][(("kind", "worker"),)] == 1


def test_what_a_worker_counts_at_its_end_is_not_lost(stack):
    before = value(stack, "ringback_push_seconds_count")
    recalls = [deliver(stack, f"e{n}").json()["recalls"][0] for n in range(5)]
    for recall in recalls:
        stack.await_state(recall, "accepted")
    stack.worker.send_signal(signal.SIGTERM)
    stack.worker.wait(60)
    assert value(stack, "ringback_push_seconds_count") == before + 5
    stack.worker = stack.start("worker")


def test_an_alert_of_the_running_stack_reaches_its_channel(stack):
    wait_until(lambda: value(stack, "ringback_processes", kind="worker") == 1, 60, what="the worker")
    answer = httpx.post(f"{stack.url}/hooks/salesforce/wrong-key-0123456789", trust_env=False, timeout=30)
    assert answer.status_code == 401
    wait_until(lambda: stack.receiver.posts, 60, what="the alert")
    told = stack.receiver.bodies()[0]
    assert (told["phase"], told["kind"], told["subject"]) == ("begins", "nothing-verified", "salesforce")
    assert datetime.fromisoformat(told["since"]).tzinfo is not None
    assert value(stack, "ringback_alerts", kind="nothing-verified") == 1


def test_sentry_gets_the_alert_and_a_check_in_of_the_sweep_once_a_minute(stack):
    sent = stack.sentry
    httpx.post(f"{stack.url}/hooks/salesforce/wrong-key-0123456789", trust_env=False, timeout=30)
    wait_until(
        lambda: any("alert begins" in event.get("message", "") for event in sent.events()), 60, what="it"
    )
    (event,) = [event for event in sent.events() if "alert begins" in event.get("message", "")]
    assert event["message"] == "alert begins: nothing-verified: salesforce"
    wait_until(lambda: sent.items("check_in"), 90, what="the check-in")
    assert {item["monitor_slug"] for item in sent.items("check_in")} == {"ringback-sweep"}


# --- rules and dashboard -----------------------------------------------------------------------

# What PromQL brings along; everything else that stands for itself is a metric's name or a label.
_WORDS = {
    "by", "without", "on", "ignoring", "group_left", "group_right", "bool", "offset", "and", "or", "unless", "inf",
}  # fmt: skip


def without_texts(expression):
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)


def metrics_of(expression):
    """The names that an expression selects, each with the labels that it matches."""
    plain = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", without_texts(expression))
    plain = re.sub(r"\[[^\]]*\]", " ", plain)
    found = []
    for name, _, matchers in re.findall(
        r"\b([a-zA-Z_:]\w*)\b(?!\s*\()(\{([^}]*)\})?", re.sub(r"\$\w+", "", plain)
    ):
        if name in _WORDS or (not matchers and name in labels_inside(plain)):
            continue
        found.append((name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))))
    return found


def labels_inside(expression):
    return {
        name for part in re.findall(r"\{([^}]*)\}", expression) for name in re.findall(r"(\w+)\s*[=!]", part)
    }


def groupings(expression):
    """The labels by which an expression adds up or joins."""
    lists = re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression)
    return {label.strip() for part in lists for label in part.split(",") if label.strip()}


def test_the_parser_of_these_tests_sees_names_and_labels():
    expression = (
        'sum by (source) (rate(a_total{x="b{c",y=~"d"}[5m])) / on (z) max(b_bytes) > 0.8 unless vector(1)'
    )
    assert metrics_of(expression) == [("a_total", {"x", "y"}), ("b_bytes", set())]
    assert groupings(expression) == {"source", "z"}


@pytest.fixture(scope="module")
def exposed(stack):
    """Every name that the stack exposes, with its labels; of a family without samples those it is to have."""
    stack.api("POST", "/v1/accounts/lima/pause")
    assert deliver(stack, "exposed").status_code == 202
    wait_until(
        lambda: value(stack, "ringback_source_last_taken_timestamp_seconds", source="forms"),
        30,
        what="the counts",
    )
    waiting = {
        "account": "lima",
        "campaign_id": "1",
        "customer_id": "1",
        "recall_telephone": "300 111 2233",
    }
    assert stack.api("POST", "/v1/recalls", json={**waiting, "recall_date": AT}).status_code == 202
    samples, types = scraped(stack)
    names = {name: {label for labels in found for label, _ in labels} for name, found in samples.items()}
    for family, kind in types.items():
        if kind != "histogram":
            names.setdefault(f"{family}_total" if kind == "counter" else family, set())
    for shape in COUNTED.values():
        names[f"{shape.metric}_total"] = set(shape.labels)
    return names


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_rules_and_panels_ask_for_names_and_labels_that_are_exposed(exposed, where, expression):
    asked = metrics_of(expression)
    assert asked, "an expression without a metric"
    known = {"instance"}
    for name, labels in asked:
        assert name in exposed, f"{where}: {name}"
        assert labels <= exposed[name] | {"instance"}, f"{where}: {name}{labels}"
        known |= exposed[name]
    assert groupings(expression) <= known, where


def test_the_texts_of_rules_name_labels_that_their_expressions_have():
    for rule in RULES:
        texts = " ".join(rule["annotations"].values())
        for label in re.findall(r"\$labels\.(\w+)", texts):
            kept = groupings(rule["expr"]) or {"how"}
            assert label in kept, f"{rule['alert']}: {label}"
        assert {"summary", "description"} <= rule["annotations"].keys()
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_every_metric_is_on_the_dashboard_or_in_a_rule(exposed):
    asked = {name for _, expression in EXPRESSIONS for name, _ in metrics_of(expression)}
    histograms = {name.removesuffix("_bucket") for name in exposed if name.endswith("_bucket")}
    parts = {f"{name}_{part}" for name in histograms for part in ("sum", "count")}
    assert {name for name in exposed if name.startswith("ringback_")} - asked - parts - {
        "ringback_recalls_dead"
    } == set()


def test_panels_lie_side_by_side_and_none_on_another():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules():
    done = subprocess.run(
        ["promtool", "check", "rules", str(ROOT / "docs/prometheus/alerts.yml")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_takes_every_expression_of_the_dashboard(tmp_path):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    rules = [
        {"record": f"panel:{n}", "expr": expr.replace("$__rate_interval", "1m").replace("$account", ".*")}
        for n, (_, expr) in enumerate(EXPRESSIONS)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
