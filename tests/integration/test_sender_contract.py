"""The contract of every sender, over HTTP: what each preset and each provider's sample gets as an answer.

The requests go through the receiver that `create_app` composes, with the tables that `ringback presets`
prints, to a real store.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from integration.app import compose
from integration.config.source_models import presets
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.web.rate_limit import RateLimit
from integration.webhooks.service import DUPLICATE_HEADER
from support import account, url_of
from support.contract_senders import (
    EXACTLY_200,
    HANDSHAKES,
    PRESET_SAMPLES,
    RECALLS,
    SENDERS,
    TIMED,
    environ,
    path_of,
    signed,
    unsigned,
    wrongly_signed,
)
from support.hook_client import stored_keys
from support.installation import Installation
from support.record_stubs import META_TOKEN, Bitrix24Stub, MetaStub
from workers.lookups import LookupRunner

DATABASE = 13
RECORDS = PRESET_SAMPLES.parent / "records"
REJECTED = {401, 403}
SECOND = timedelta(seconds=1)

each = pytest.mark.parametrize("name", sorted(SENDERS))


class Receiver:
    """The receiver with the sources of all senders."""

    def __init__(self, folder, client, variables):
        path = folder / "ringback.toml"
        tables = [account("co", token="env:T"), account("br", token="env:T", country="BR")]
        path.write_text("\n".join([*tables, *(sender.table for sender in SENDERS.values())]), "utf-8")
        store = Store(connect(url_of(client)))
        watch = watch_config(path, {"T": "token-of-the-accounts", **environ(), **variables})
        self.services = Services(watch, store, WakeUpPublisher.silent())
        self.installation = Installation(self.services)
        self.store = client
        self.client = compose(
            self.services, RateLimit(client), served=frozenset({"hooks"})
        ).receiver.test_client()

    def source(self, name):
        return self.services.config.sources[name]

    def signed(self, name, now=None):
        return signed(SENDERS[name], self.source(name), now or datetime.now(UTC))

    def post(self, name, now=None):
        return self.signed(name, now).sent_by(self.client)

    def recalls(self, name):
        return [recall for recall in self.installation.recalls() if recall.source == name]

    def counted(self, name):
        """Return the counts of deliveries of a source by their result."""
        self.services.counter_flusher.flush()
        counts = self.store.hgetall(self.services.store.key("counts"))
        start = f"deliveries:{name}:"
        return {key.removeprefix(start): int(n) for key, n in counts.items() if key.startswith(start)}

    def kept(self):
        """Return the keys that deliveries made, without those of the log of rejections."""
        return {key for key in stored_keys(self.store) if ":refused:" not in key}


@pytest.fixture(scope="module")
def receiver(tmp_path_factory, valkey):
    with Bitrix24Stub() as bitrix, MetaStub() as meta, valkey.client(db=DATABASE) as client:
        client.flushdb()
        bitrix.records["lead", "7405"] = json.loads((RECORDS / "bitrix24.json").read_text("utf-8"))
        meta.leads["444000111222333"] = json.loads((RECORDS / "meta-lead-ads.json").read_text("utf-8"))
        variables = {
            "BITRIX24_LOOKUP_URL": bitrix.url,
            "META_LEAD_ADS_LOOKUP_TOKEN": META_TOKEN,
            "META_LEAD_ADS_BASE_URL": meta.root,
        }
        yield Receiver(tmp_path_factory.mktemp("senders"), client, variables)


def test_every_preset_and_every_provider_is_a_sender():
    assert set(RECALLS) == set(presets())
    assert set(SENDERS) > set(RECALLS) | {"monday-signed", "hubspot-custom-action", "salesforce-two-leads"}
    assert set(SENDERS) >= EXACTLY_200 | TIMED


# --- deliveries ------------------------------------------------------------------------------------


@each
def test_a_delivery_with_the_right_proof_becomes_its_recalls_and_again_it_is_a_duplicate(receiver, name):
    sender = SENDERS[name]
    first = receiver.post(name)
    assert first.status_code == sender.answer_status, first.text
    LookupRunner(receiver.services).look_up(name)
    recalls = receiver.recalls(name)
    assert sorted((one.customer_id, one.recall_telephone) for one in recalls) == sorted(sender.recalls)
    parked = receiver.services.parked.records.page(limit=100)[0]
    assert sum(event["source"] == name for event in parked) == sender.parked

    again = receiver.post(name, datetime.now(UTC) + SECOND)
    assert (again.status_code, again.headers[DUPLICATE_HEADER]) == (sender.answer_status, "true")
    assert again.data == first.data
    assert {one.id for one in receiver.recalls(name)} == {one.id for one in recalls}


@each
@pytest.mark.parametrize("forged", [wrongly_signed, unsigned], ids=["wrong", "missing"])
def test_a_delivery_with_a_wrong_or_a_missing_proof_is_rejected_and_nothing_of_it_is_stored(
    receiver, name, forged
):
    before = receiver.kept()
    answer = forged(SENDERS[name], receiver.source(name), datetime.now(UTC)).sent_by(receiver.client)
    assert answer.status_code in REJECTED
    assert DUPLICATE_HEADER not in answer.headers
    assert receiver.kept() == before


@each
@pytest.mark.parametrize("side", [-1, 1], ids=["expired", "future"])
def test_a_proof_with_a_time_is_rejected_out_of_its_time(receiver, name, side):
    now = datetime.now(UTC)
    there = receiver.signed(name, now + side * timedelta(hours=1))
    assert (there.headers != receiver.signed(name, now).headers) == (name in TIMED)
    if name in TIMED:
        assert there.sent_by(receiver.client).status_code in REJECTED


# --- handshakes ------------------------------------------------------------------------------------


def test_each_preset_with_a_handshake_has_its_request():
    with_handshake = {name for name, preset in presets().items() if "handshake" in preset.source}
    assert with_handshake <= set(HANDSHAKES) <= with_handshake | {"monday-signed"}


@pytest.mark.parametrize("name", HANDSHAKES)
def test_a_handshake_is_answered_and_nothing_is_stored(receiver, name):
    before, counted = receiver.kept(), receiver.counted(name)
    answer = HANDSHAKES[name].request(path_of(receiver.source(name))).sent_by(receiver.client)
    assert (answer.status_code, answer.data) == (200, HANDSHAKES[name].answer)
    assert receiver.kept() == before
    verified = counted.get("address verified", 0) + 1
    assert receiver.counted(name) == counted | {"address verified": verified}


@each
def test_a_handshake_that_the_sender_does_not_make_is_answered_with_an_error(receiver, name):
    before = receiver.kept()
    source = receiver.source(name)
    own = getattr(source, "handshake", None)
    for of, handshake in HANDSHAKES.items():
        # A probe is a GET with any query.
        if own != receiver.source(of).handshake and not (own == "probe" and handshake.method == "GET"):
            answer = handshake.request(path_of(source, with_key=False)).sent_by(receiver.client)
            assert answer.status_code in REJECTED | {405}, of
    assert receiver.kept() == before
