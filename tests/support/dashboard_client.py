"""A browser for tests of pages: signed in, without a server in between."""

from __future__ import annotations

import re

from werkzeug.test import Client

from integration.app import compose
from integration.domain.roles import Role, SignedInUser
from support import NoRates
from support.isolated_work_client import ISOLATED_WORK


class SignedIn:
    """Somebody is signed in, whoever asks."""

    def __init__(self, role="operator", name="ana"):
        self._person = SignedInUser(name, Role(role))

    def present(self):
        return self._person

    def redirect_to_sign_in(self):
        raise AssertionError("somebody is signed in")


class Pages:
    """What a browser sees of the dashboard: `get`, `post` (with the proof against forged requests)."""

    def __init__(self, services, role="operator", name="ana", language="en", isolated=ISOLATED_WORK):
        self.client = Client(compose(services, NoRates(), SignedIn(role, name), isolated=isolated))
        self._headers = {"Accept-Language": language}

    def get(self, address, **options):
        return self.client.get(address, headers={**self._headers, **options.pop("headers", {})}, **options)

    def post(self, address, data=None, *, follow=True, htmx=False):
        proof = re.search(r'"X-CSRFToken": "([^"]+)"', self.get("/").text)[1]
        headers = {**self._headers, "X-CSRFToken": proof, **({"HX-Request": "true"} if htmx else {})}
        return self.client.post(address, data=data or {}, headers=headers, follow_redirects=follow)


def text_of(answer, status=200):
    """Return the text of a page, without its tags."""
    assert answer.status_code == status
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))
