"""An installation whose HubSpot source looks up contacts at a stub."""

from __future__ import annotations

from contextlib import contextmanager

from integration.domain.recall import State
from support import SOURCES_AND_ROUTES, as_bytes, hubspot_event, make_services, two_accounts
from support.hook_client import HookClient
from support.hubspot_stub import TOKEN, HubspotStub
from support.installation import Installation
from workers.lookups import LookupRunner

LOOKUP = """
[sources.hubspot.lookup]
token = "{token}"
properties = ["phone"]
base_url = "{url}"
"""


def config_text(url, token=TOKEN):
    lookup = LOOKUP.format(token=token, url=url)
    return two_accounts() + SOURCES_AND_ROUTES.replace(
        "[sources.salesforce]", lookup + "\n[sources.salesforce]", 1
    ).replace('recall_telephone = "3001112233"', 'recall_telephone = "{{ contact.properties.phone }}"')


class LookupInstallation(Installation):
    def __init__(self, folder, store, hubspot, text=None):
        self.folder = folder
        super().__init__(make_services(folder, store, text or config_text(hubspot.base_url)))
        self.web = HookClient(self.services)
        self.hubspot = hubspot
        self.lookups = LookupRunner(self.services)

    def post(self, *events):
        answer = self.web.post("hubspot", as_bytes(list(events)))
        assert answer.status_code == 202
        return answer.json

    def look_up(self):
        self.lookups.look_up("hubspot")

    def customers(self, state="queued"):
        return {recall.customer_id: recall for recall in self.recalls(state=State(state))}

    def key(self, name):
        return self.services.store.key(name)

    def waiting(self):
        return self.services.store.client.zrange(self.key("lookups:hubspot"), 0, -1, withscores=True)

    def make_due(self):
        """End the waits of the lookups and of their source."""
        client = self.services.store.client
        for lookup, _ in self.waiting():
            client.zadd(self.key("lookups:hubspot"), {lookup: 0})
        if client.exists(self.key("lookup_failure:hubspot")):
            client.hset(self.key("lookup_failure:hubspot"), "until", 0)

    @property
    def lookup(self):
        return self.services.config.sources["hubspot"].lookup

    @property
    def status(self):
        return self.services.lookup_status.all({"hubspot": self.lookup})["hubspot"]

    @property
    def is_due(self):
        return self.services.deliveries.due_lookups({"hubspot": self.lookup.digest}) == {"hubspot"}

    def refuse_the_token(self, at):
        """Let HubSpot refuse the token, while three events wait."""
        self.hubspot.token = "pat-another"
        self.post(hubspot_event(1, at), hubspot_event(2, at))
        self.post(hubspot_event(3, at))
        self.look_up()


@contextmanager
def with_nine_contacts(folder, store):
    """An installation whose HubSpot knows the contacts 1 to 9."""
    with HubspotStub() as stub:
        found = LookupInstallation(folder, store, stub)
        for contact in range(1, 10):
            stub.add(str(contact), phone=f"300111000{contact}")
        yield found
