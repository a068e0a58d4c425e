"""Users of the dashboard, and a browser that signs them in."""

from __future__ import annotations

import re

from argon2 import PasswordHasher
from werkzeug.test import Client

from integration.app import compose
from support import two_accounts

ANA, LUIS = "correct horse battery", "staple of another kind"


# As cheap as argon2 goes: their cost is not what is tested here.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


HASHES = {"ana": CHEAP.hash(ANA), "luis": CHEAP.hash(LUIS)}


def users(more="", **roles):
    roles = roles or {"ana": "operator", "luis": "admin"}
    tables = [
        f'[users.{name}]\npassword = "{HASHES[name]}"\nrole = "{role}"\n' for name, role in roles.items()
    ]
    return two_accounts() + "\n" + "\n".join(tables) + more


class Browser:
    """A browser with its cookies, somewhere."""

    def __init__(self, services, rates, address="192.0.2.1"):
        self.app = compose(services, rates)
        self.client = Client(self.app)
        self.address = address

    def get(self, path, **headers):
        return self.client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": self.address})

    def post(self, path, data, **headers):
        proof = re.search(r'"X-CSRFToken": "([^"]+)"', self.get("/sign-in").text)[1]
        headers = {"X-CSRFToken": proof, **headers}
        place = {"REMOTE_ADDR": self.address}
        return self.client.post(path, data=data, headers=headers, environ_overrides=place)

    def sign_in(self, name="ana", password=ANA, wanted="", **headers):
        return self.post("/sign-in", {"name": name, "password": password, "next": wanted}, **headers)

    @property
    def inside(self):
        return self.get("/accounts").status_code == 200


def session_key(store):
    (key,) = store.keys("{ringback}:session:*")
    return key
