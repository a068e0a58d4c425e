"""Telephones of deliveries: from the body of a request to the recall or the parked event."""

from __future__ import annotations

import pytest

from support import account, as_bytes, make_services, parked_events
from support.hook_client import AT, HookClient

KEY = "0123456789abcdef-x"
FORM = f"""
[sources.form]
kind = "json"
verify = "url-key"
url_key = "{KEY}"

[[routes]]
name = "form"
source = "form"
account = "bogota"
campaign_id = "10"
customer_id = "{{{{ event.documento }}}}"
recall_telephone = "{{{{ event.celular }}}}"
recall_date = "{{{{ event.fecha }}}}"
"""


def posted(folder, store, country, telephone):
    services = make_services(folder, store, account("bogota", country=country) + FORM)
    body = as_bytes({"documento": "80123456", "celular": telephone, "fecha": AT})
    web = HookClient(services)
    answer = web.client.post(f"/hooks/form/{KEY}", data=body, content_type="application/json")
    assert answer.status_code == 202
    return services, answer.json["recalls"]


@pytest.mark.parametrize(
    ("country", "telephone", "dialled"),
    [
        ("CO", "3001112233.0", "3001112233"),
        ("CO", "+57 (0) 300 111 2233", "3001112233"),
        ("CO", "+57 1 411 1899", "6014111899"),
        ("CO", "300\u200b1112233", "3001112233"),
        ("AR", "(011) 15 5744-7700", "1157447700"),
    ],
)
def test_a_certain_number_is_queued_as_it_is_dialled(tmp_path, store, country, telephone, dialled):
    services, recalls = posted(tmp_path, store, country, telephone)
    assert [services.recalls.records.get(recall).recall_telephone for recall in recalls] == [dialled]


@pytest.mark.parametrize(
    ("country", "telephone", "found"),
    [
        ("CO", "601 743 2100 - 5", "an extension"),
        ("CO", "30011122330", "does not exist"),
        ("MX", "15512345678", "country code 1"),
        ("CO", "+51 987 654 321", "does not dial"),
    ],
)
def test_another_number_is_parked_with_its_reason(tmp_path, store, country, telephone, found):
    services, recalls = posted(tmp_path, store, country, telephone)
    assert recalls == []
    (parked,) = parked_events(services)
    assert parked["field"] == "recall_telephone"
    assert found in parked["found"]
    assert telephone not in parked["found"] + parked["allowed"]
