"""What a victim is doing when it ends: every way in which a process changes anything.

`steps` are those that the run without a crash has to pass: not all of them, but those without which the
watching itself would be broken. Whatever it passes is tried.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from integration.domain.recall import Filter, State
from integration.services.bulk_jobs import BulkAction
from integration.store.client import Store
from integration.store.deliveries import DeliveryStore
from integration.store.token_queue import PushResult
from support import hubspot_event
from support.hubspot_stub import HubspotFault

from .installation import AT, HOST, LONGEST_WORK, WORK_SECONDS, CrashInstallation, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WAKE_UP_SECONDS = 1.6
"""After this the sweep takes a wake-up for lost."""


def _nothing(installation: CrashInstallation) -> None:
    """Leave the installation empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`ends`: the states of all recalls of each customer when all is done. `then`: what is sent afterwards,
    left out what was sent before once more; `done_before`: how that may be answered beside 2xx.
    `or_ends`: what may be as well, where wolkvox saw the first call and nobody its answer.
    `stood`: states in which the queue has to be seen.
    """

    name: str
    act: str
    ends: Mapping[str, tuple[str, ...]]
    steps: tuple[str, ...]
    prepare: Callable[[CrashInstallation], None] = _nothing
    request: Callable[[CrashInstallation], Request] | None = None
    then: Callable[[CrashInstallation], Request] | None = None
    done_before: frozenset[int] = frozenset()
    or_ends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    parked: int = 0
    stood: frozenset[str] = frozenset()


ONE = {"c1": ("accepted",)}
TWO = {"c1": ("accepted",), "c2": ("accepted",)}

ANSWERED = ("request: received", "answer: sent")
PUBLISHED = ("wake-up: sent", "wake-up: published")


def _round_trip(what: str) -> tuple[str, ...]:
    return (f"{what}: sent", f"{what}: received")


# --- receiving --------------------------------------------------------------------------------


def _form(installation: CrashInstallation) -> Request:
    return installation.signed("forms", {"customer": "c1", "phone": "3001112233", "at": AT})


def _batch(installation: CrashInstallation) -> Request:
    """A newer request over an older one, a new one, a request taken back, one that cannot be mapped, one of no matter."""
    events = [
        hubspot_event("c1", AT),
        hubspot_event("c2", AT),
        hubspot_event("c3", ""),
        hubspot_event("c4", "soon"),
        hubspot_event("c5", "x", name="email"),
    ]
    return installation.signed("hubspot", events)


def _before_batch(installation: CrashInstallation) -> None:
    installation.ask("c1", hours=48)
    installation.ask("c3")
    time.sleep(0.01)


def _with_lookup(installation: CrashInstallation) -> None:
    installation.configure(installation.config_text(lookup=True))
    installation.services.binding.bind()
    for customer in ("71", "72"):
        installation.hubspot.add(customer, phone="300 111 2233")


def _to_look_up(installation: CrashInstallation) -> Request:
    return installation.signed("hubspot", [hubspot_event(71, AT), hubspot_event(72, AT)])


_SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>
<notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>00Dxx0000000000EAA</OrganizationId>
<Notification><Id>04l5f00000aaaaAAAQ</Id><sObject xmlns:sf="urn:sobject.enterprise.soap.sforce.com"
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="sf:Lead"><sf:Id>c1</sf:Id>
<sf:Callback_At__c>{at}</sf:Callback_At__c><sf:MobilePhone>987654321</sf:MobilePhone>
<sf:Wolkvox_Campaign__c>10</sf:Wolkvox_Campaign__c></sObject></Notification></notifications></soapenv:Body>
</soapenv:Envelope>"""


def _soap(installation: CrashInstallation) -> Request:
    url_key = installation.environ["URL_KEY"]
    body = _SOAP.format(at=AT).encode()
    return Request(path=f"/hooks/salesforce/{url_key}", body=body, headers={"Content-Type": "text/xml"})


def _direct(installation: CrashInstallation) -> Request:
    recall = {"account": "bogota", "campaign_id": "10", "customer_id": "c1", "recall_telephone": "3001112233"}
    return installation.api("/v1/recalls", {**recall, "recall_date": AT}, **{"Idempotency-Key": "k-1"})


# --- operators --------------------------------------------------------------------------------


def _dead(installation: CrashInstallation) -> None:
    installation.recall = installation.ask("c1")
    installation.push(PushResult(kind="ended", state="dead", reason="refused", passed=True))


def _two_dead_and_a_job(installation: CrashInstallation) -> None:
    """Two recalls are dead, and a job to try them again has been begun."""
    for customer in ("c1", "c2"):
        installation.recall = installation.ask(customer)
        installation.push(PushResult(kind="ended", state="dead", reason="refused", passed=True))
    installation.services.bulk_jobs.begin(
        BulkAction.RETRY, Filter(state=State.DEAD), who="somebody", reason="tried again"
    )


def _queued(installation: CrashInstallation) -> None:
    installation.recall = installation.ask("c1")


def _unmappable(installation: CrashInstallation) -> None:
    """An event is parked, and the configuration is mended."""
    installation.configure(installation.config_text().replace("event.customer", "event.cliente"))
    installation.services.binding.bind()
    _store(installation, _form(installation))
    installation.configure(installation.config_text())


def _store(installation: CrashInstallation, request: Request) -> None:
    """Take a delivery in this process."""
    from support.hook_client import HookClient

    source = request.path.split("/")[2]
    answer = HookClient(installation.services).post(
        source, request.body, path=request.path, headers=request.headers, base_url=f"http://{HOST}"
    )
    assert answer.status_code == 202, answer.text


def _paused(installation: CrashInstallation) -> None:
    installation.ask("c1")
    installation.services.accounts.pause("bogota", "a break")


def _another_token(installation: CrashInstallation) -> None:
    installation.ask("c1")
    installation.ask("c2")
    installation.configure(installation.config_text(token=installation.other_token))


# --- turns ------------------------------------------------------------------------------------


def _two_wait(installation: CrashInstallation) -> None:
    installation.ask("c1", hours=1)
    installation.ask("c2", hours=2)


def _first_call(**rule: object) -> Callable[[CrashInstallation], None]:
    """Two wait, and the first call to wolkvox goes otherwise than it should."""

    def prepare(installation: CrashInstallation) -> None:
        _two_wait(installation)
        installation.rule(times=1, **rule)

    return prepare


def _left_behind(installation: CrashInstallation) -> None:
    """A recall is claimed by somebody who died; the lease is over."""
    _two_wait(installation)
    installation.claim(terms=replace(installation.terms(), lease_seconds=0.2))
    time.sleep(0.3)


def _drill(installation: CrashInstallation) -> None:
    installation.configure(installation.config_text(more='mode = "dry-run"\n'))
    _two_wait(installation)


def _waits_for_contact(installation: CrashInstallation) -> None:
    _with_lookup(installation)
    _store(installation, _to_look_up(installation))


def _hubspot_fails(installation: CrashInstallation) -> None:
    _waits_for_contact(installation)
    installation.hubspot.faults.append(HubspotFault(status=503))


def _no_such_contact(installation: CrashInstallation) -> None:
    _waits_for_contact(installation)
    del installation.hubspot.records["contacts"]["72"]


def _much_to_sweep(installation: CrashInstallation) -> None:
    """A queue whose wake-up was lost, contacts to be read, and a recall that ended long ago."""
    _waits_for_contact(installation)
    long_ago = round((datetime.now(UTC) - timedelta(days=90)).timestamp() * 1000)
    old = DeliveryStore(Store(installation.client, clock=lambda: long_ago))
    old.admit_one(installation.request("c0"), expired="too late")
    installation.ask("c1")
    time.sleep(WAKE_UP_SECONDS)


# --- all of them ------------------------------------------------------------------------------

_UNANSWERED = (
    *_round_trip("acquire"),
    "wolkvox: connected",
    "wolkvox: sent",
)
_TURN = (*_UNANSWERED, "wolkvox: received", *_round_trip("finish"))
_BOTH = (*_TURN, *_round_trip("wolkvox 2"), *_round_trip("finish 2"))
_OPERATED = (*ANSWERED, *PUBLISHED)

RECEIVING = (
    Scenario(
        name="a form is received",
        act="receive",
        request=_form,
        ends=ONE,
        steps=(*ANSWERED, *_round_trip("admit"), *PUBLISHED),
    ),
    Scenario(
        name="a batch is received",
        act="receive",
        prepare=_before_batch,
        request=_batch,
        ends={"c1": ("accepted", "superseded"), "c2": ("accepted",), "c3": ("cancelled",)},
        parked=1,
        steps=(*ANSWERED, *_round_trip("admit")),
    ),
    Scenario(
        name="events without their contacts are received",
        act="receive",
        prepare=_with_lookup,
        request=_to_look_up,
        ends={"71": ("accepted",), "72": ("accepted",)},
        steps=(*ANSWERED, *_round_trip("admit"), *PUBLISHED),
    ),
    Scenario(
        name="a Salesforce message is received",
        act="receive",
        request=_soap,
        ends=ONE,
        steps=(*ANSWERED, *_round_trip("admit"), *PUBLISHED),
    ),
    Scenario(
        name="a recall is asked for directly",
        act="receive",
        request=_direct,
        ends=ONE,
        steps=(*ANSWERED, *_round_trip("admit"), *PUBLISHED),
    ),
)

OPERATING = (
    Scenario(
        name="a dead recall is tried again",
        act="receive",
        prepare=_dead,
        request=lambda installation: installation.api(f"/v1/recalls/{installation.recall}/retry"),
        done_before=frozenset({409}),
        ends=ONE,
        steps=(*_OPERATED, *_round_trip("retry")),
    ),
    Scenario(
        name="a job goes on",
        act="job",
        prepare=_two_dead_and_a_job,
        ends=TWO,
        steps=(*_round_trip("take_job"), *_round_trip("job_step"), *_round_trip("job_step 2"), *PUBLISHED),
    ),
    Scenario(
        name="a recall is taken back",
        act="receive",
        prepare=_queued,
        request=lambda installation: installation.api(f"/v1/recalls/{installation.recall}/cancel"),
        done_before=frozenset({409}),
        ends={"c1": ("cancelled",)},
        steps=(*ANSWERED, *_round_trip("cancel")),
    ),
    Scenario(
        name="parked events are remapped",
        act="receive",
        prepare=_unmappable,
        request=lambda installation: installation.api("/v1/parked/remap"),
        ends=ONE,
        steps=(*_OPERATED, *_round_trip("resolve")),
    ),
    Scenario(
        name="a queue is paused",
        act="receive",
        prepare=_queued,
        request=lambda installation: installation.api("/v1/accounts/bogota/pause"),
        stood=frozenset({"paused"}),
        ends=ONE,
        steps=(*ANSWERED, *_round_trip("pause")),
    ),
    Scenario(
        name="a queue is resumed",
        act="receive",
        prepare=_paused,
        request=lambda installation: installation.api("/v1/accounts/bogota/resume"),
        ends=ONE,
        steps=(*_OPERATED, *_round_trip("resume")),
    ),
)

STARTING = (
    Scenario(
        name="a web starts on an empty store",
        act="start a web",
        then=_form,
        ends=ONE,
        steps=(*_round_trip("hsetnx store"), *_round_trip("bind")),
    ),
    Scenario(
        name="a worker starts on an empty store",
        act="start a worker",
        then=_form,
        ends=ONE,
        steps=(*_round_trip("hsetnx store"), *_round_trip("bind")),
    ),
    Scenario(
        name="a worker starts with another token for what is queued",
        act="start a worker",
        prepare=_another_token,
        ends=TWO,
        steps=_round_trip("bind"),
    ),
)

TURNS = (
    Scenario(name="two recalls are pushed", act="drain", prepare=_two_wait, ends=TWO, steps=_BOTH),
    Scenario(
        name="a drain leaves work behind",
        act="short drain",
        prepare=_two_wait,
        ends=TWO,
        steps=(*_TURN, *PUBLISHED),
    ),
    Scenario(
        name="a recall is refused",
        act="drain",
        prepare=_first_call(action="answer", status=400, code="400", msg="ERROR", seconds=WORK_SECONDS),
        ends={"c1": ("dead",), "c2": ("accepted",)},
        or_ends=TWO,
        steps=_BOTH,
    ),
    Scenario(
        name="wolkvox does not answer in time",
        act="drain",
        prepare=_first_call(action="hang", seconds=LONGEST_WORK),
        ends=TWO,
        steps=(*_UNANSWERED, *_round_trip("finish")),
    ),
    Scenario(
        name="wolkvox has a fault",
        act="drain",
        prepare=_first_call(action="answer", status=500, code="500", msg="ERROR", seconds=WORK_SECONDS),
        ends=TWO,
        steps=_TURN,
    ),
    Scenario(
        name="wolkvox refuses the token",
        act="drain",
        prepare=_first_call(action="answer", status=401, code="401", msg="PLEASE ENTER THE WOLKVOX-TOKEN"),
        ends=TWO,
        steps=_TURN,
    ),
    Scenario(
        name="a dry run",
        act="drain",
        prepare=_drill,
        ends={"c1": ("simulated",), "c2": ("simulated",)},
        steps=(*_round_trip("acquire"), *_round_trip("finish"), *_round_trip("finish 2")),
    ),
    Scenario(
        name="what a dead worker left is taken over", act="drain", prepare=_left_behind, ends=TWO, steps=_BOTH
    ),
)

_LOOKED_UP = (*_round_trip("take_lookups"), *_round_trip("records"))

LOOKUPS = (
    Scenario(
        name="contacts are looked up",
        act="look up",
        prepare=_waits_for_contact,
        ends={"71": ("accepted",), "72": ("accepted",)},
        steps=(*_LOOKED_UP, *_round_trip("resolve"), *PUBLISHED),
    ),
    Scenario(
        name="contacts cannot be read now",
        act="look up",
        prepare=_hubspot_fails,
        ends={"71": ("accepted",), "72": ("accepted",)},
        steps=(*_LOOKED_UP, *_round_trip("fail_lookups"), *_round_trip("postpone_lookup")),
    ),
    Scenario(
        name="a contact does not exist",
        act="look up",
        prepare=_no_such_contact,
        ends={"71": ("accepted",)},
        parked=1,
        steps=(*_LOOKED_UP, *_round_trip("resolve")),
    ),
)

SWEEPING = (
    Scenario(
        name="a worker counts and gives a heartbeat",
        act="count",
        then=_form,
        ends=ONE,
        steps=(*_round_trip("heartbeat"), *_round_trip("flush_counters")),
    ),
    Scenario(
        name="the sweep goes round",
        act="sweep",
        prepare=_much_to_sweep,
        ends={"71": ("accepted",), "72": ("accepted",), "c1": ("accepted",)},
        steps=(*_round_trip("sweep"), *_round_trip("purge"), *_round_trip("acquire"), *PUBLISHED),
    ),
)

SCENARIOS = {s.name: s for s in (*RECEIVING, *OPERATING, *STARTING, *TURNS, *LOOKUPS, *SWEEPING)}
