"""Forms of the dashboard: at most so many fields are read, and no other type of form."""

from __future__ import annotations

import pytest
from flask import Flask, request

from integration.domain.limits import MAX_FIELDS
from integration.web.bounded_request import BoundedRequest

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def client():
    app = Flask("test")
    app.request_class = BoundedRequest

    @app.post("/")
    def names():
        return {"fields": len(list(request.form.items(multi=True))), "files": len(request.files)}

    return app.test_client()


@pytest.mark.parametrize("body", [b"a=1&" * 500_000, b"&" * MAX_FIELDS, b"a&" * MAX_FIELDS + b"a"])
def test_a_form_of_too_many_fields_is_rejected(client, body):
    assert client.post("/", data=body, content_type=FORM).status_code == 413


def test_a_form_at_the_limit_is_read(client):
    answer = client.post("/", data=b"&".join([b"a=1"] * MAX_FIELDS), content_type=FORM)
    assert answer.json == {"fields": MAX_FIELDS, "files": 0}


def test_a_multipart_form_has_no_fields_and_no_files(client):
    body = b'--X\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--X--\r\n'
    answer = client.post("/", data=body, content_type="multipart/form-data; boundary=X")
    assert answer.json == {"fields": 0, "files": 0}
