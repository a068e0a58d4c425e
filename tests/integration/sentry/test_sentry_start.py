"""When Sentry is started, and how."""

from __future__ import annotations

import subprocess
import sys

import pytest
import sentry_sdk

from integration.domain.errors import ConfigError
from integration.telemetry import sentry as reporting
from integration.telemetry.redaction import secrets_of
from integration.telemetry.sentry import start_sentry
from support.planted import SECRETS, config

_NOTHING = """
import sys, threading
from flask import Flask
from celery import Celery
import logging, httpx, redis
was = [Flask.__call__, Celery.send_task, httpx.Client.send, redis.Redis.execute_command, threading.Thread.start]
from integration.telemetry.sentry import SentryReporter, start_sentry
import sentry_sdk
start_sentry({}, None)
start_sentry({"SENTRY_DSN": ""}, None)
SentryReporter().stopped("bogota", "PLEASE VALIDATE TOKEN")
now = [Flask.__call__, Celery.send_task, httpx.Client.send, redis.Redis.execute_command, threading.Thread.start]
assert was == now
assert not sentry_sdk.get_client().is_active()
assert not logging.getLogger().handlers
assert threading.active_count() == 1
"""


def test_without_a_dsn_nothing_is_started_patched_or_sent():
    done = subprocess.run([sys.executable, "-c", _NOTHING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_dsn_that_is_none_is_a_fault_of_the_environment_and_not_quoted():
    with pytest.raises(ConfigError) as caught:
        start_sentry({"SENTRY_DSN": "https://0123456789abcdef@example.com"}, config())
    assert "SENTRY_DSN" in str(caught.value)
    assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.parametrize("text", ["2", "-1", "ten", "nan", "1e-1"])
def test_a_sample_rate_that_is_none_is_a_fault_of_the_environment(text):
    with pytest.raises(ConfigError, match="SENTRY_TRACES_SAMPLE_RATE"):
        start_sentry({"SENTRY_DSN": "http://a@127.0.0.1:1/1", "SENTRY_TRACES_SAMPLE_RATE": text}, config())


@pytest.mark.parametrize(("text", "rate"), [("", 0.01), ("0", 0.0), ("0.25", 0.25), ("1.0", 1.0)])
def test_the_sample_rate_is_read(text, rate):
    assert reporting._traces_sample_rate({"SENTRY_TRACES_SAMPLE_RATE": text}) == rate


def test_an_event_says_release_and_environment(sink, sentry):
    start_sentry({"SENTRY_DSN": sink.dsn, "SENTRY_ENVIRONMENT": "staging"}, config())
    sentry_sdk.capture_message("hello")
    event = sink.events()[0]
    assert event["release"].startswith("ringback@")
    assert event["environment"] == "staging"
    assert event["contexts"]["runtime"]["name"] == "CPython"


def test_the_sdk_is_told_to_collect_nothing_personal(sentry):
    chosen = sentry_sdk.get_client().options
    assert chosen["send_default_pii"] is False
    assert chosen["include_local_variables"] is False
    assert chosen["max_request_body_size"] == "never"
    assert chosen["auto_session_tracking"] is False


def test_every_secret_of_the_configuration_is_known():
    assert secrets_of(config()) == frozenset(SECRETS.values())
