"""The configuration with which the API is tested, and what several of its tests use."""

from __future__ import annotations

from datetime import timedelta

from support import ENVIRON
from support.api_client import TOMORROW

YESTERDAY = TOMORROW - timedelta(days=2)


PHONE = "300 111 2233"


LIMITED = ENVIRON["PARTNER_KEY"]


CONFIG = """
[api_keys]
zapier = "env:ZAPIER_KEY"
partner = { key = "env:PARTNER_KEY", accounts = ["lima"] }
slow = { key = "a-key-that-may-ask-little", rate_per_minute = 3 }

[sources.forms]
kind = "json"
verify = "standard-webhooks"
secrets = ["env:FORMS_SECRET"]

[[routes]]
name = "bogota form"
source = "forms"
account = "bogota"
when = "event.where == 'bogota'"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"

[[routes]]
name = "lima form"
source = "forms"
account = "lima"
when = "event.where == 'lima'"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"

[[routes]]
name = "nobody knows"
source = "forms"
account = "bogota"
when = "event.where.x > 1 or event.where == 3"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"
"""


def pointers(answer):
    assert answer.status_code == 422, answer.text
    return {error["pointer"] for error in answer.json["errors"]}


def parameters(answer):
    assert answer.status_code == 422, answer.text
    return {error["parameter"] for error in answer.json["errors"]}
