"""The senders: CRMs and callers of the API that repeat each delivery until it is accepted.

What they ask for comes from a seed. Customers are asked for again and again; deliveries come late, out of
order, twice, and some events in two deliveries. Every request and its answer is kept.
"""

from __future__ import annotations

import heapq
import http.client
import itertools
import json
import secrets
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from integration.webhooks.providers import SOURCES

from .history import Attempt, CustomerRequest, SentDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.config.models import Config

    from .processes import ManagedProcess

ZONE = ZoneInfo("America/Bogota")
CAMPAIGN = "10"
CUSTOMERS = 5
"""Per sender, kind and account: few, so that requests overtake each other."""
MOST_OPEN = 60
TIMEOUT_SECONDS = 12.0
FAR = datetime(2031, 1, 1, tzinfo=UTC)
"""No callback falls due during a run, so each is sent with the date that was asked for."""


@dataclass
class Job:
    """A delivery on its way."""

    key: str
    kind: str
    requests: tuple[CustomerRequest, ...]
    body: bytes
    event_ids: tuple[int, ...] = ()
    recall: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    repeats: int = 0

    def sent(self) -> SentDelivery:
        return SentDelivery(
            key=self.key,
            kind=self.kind,
            requests=self.requests,
            attempts=tuple(self.attempts),
            recall=self.recall,
        )


class Numbers:
    """What must be unique over all senders: telephones, events, versions that only grow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = itertools.count(1)
        self._version = 0

    def next(self) -> int:
        return next(self._next)

    def version(self) -> int:
        """Give epoch milliseconds, each later than the one before."""
        with self._lock:
            self._version = max(self._version + 1, time.time_ns() // 1_000_000)
            return self._version


class Sender(threading.Thread):
    """One CRM, with customers of its own. `rate` is how many new deliveries it makes a second."""

    def __init__(self, name: str, seed: int, webs: WebPool, *, rate: float, most: int) -> None:
        super().__init__(name=name, daemon=True)
        self._rng = Random(f"{name} {seed}")
        self._webs = webs
        self._rate = rate
        self._most = most
        self._due: list[tuple[float, int, Job]] = []
        self._busy: set[str] = set()
        self._bodies: dict[str, list[CustomerRequest]] = defaultdict(list)
        self._accepted: list[Job] = []
        self._recalls: list[str] = []
        self._by_self = itertools.count()
        self.jobs: list[Job] = []
        self.closing = threading.Event()
        self.abandon = threading.Event()

    # -- the loop --

    def run(self) -> None:
        next_at = time.monotonic()
        while not self.abandon.is_set():
            now = time.monotonic()
            if self.closing.is_set() and not self._due:
                return
            if now >= next_at and not self.closing.is_set() and self._has_room():
                next_at = now + self._rng.expovariate(self._rate)
                self._ask_something()
            if self._due and self._due[0][0] <= now:
                self._send(heapq.heappop(self._due)[2])
            else:
                time.sleep(0.005)

    def _has_room(self) -> bool:
        return len(self._due) < MOST_OPEN and len(self.jobs) < self._most

    def _later(self, job: Job, seconds: float) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._by_self), job))

    # -- what is asked --

    def _ask_something(self) -> None:
        ask: Callable[[], Job | None] = self._rng.choices(
            (self._hubspot, self._form, self._plain, self._api, self._cancel), (5, 4, 3, 4, 1)
        )[0]
        job = ask()
        if job is None:
            return
        self.jobs.append(job)
        # A delivery that is held up on its way is overtaken by later ones.
        held_up = job.kind in {"hubspot", "forms"} and self._rng.random() < 0.3
        self._later(job, self._rng.uniform(0, 2) if held_up else 0)

    def _request(self, kind: str, *, may_cancel: bool = True) -> CustomerRequest:
        rng = self._rng
        account = rng.choice(self._webs.accounts)
        customer = f"cust-{self.name}-{kind}-{account}-{rng.randrange(CUSTOMERS)}"
        version = self._webs.numbers.version()
        if may_cancel and rng.random() < 0.12:
            return CustomerRequest(account=account, customer=customer, version=version)
        day = FAR + timedelta(minutes=rng.randrange(100_000))
        return CustomerRequest(
            account=account,
            customer=customer,
            version=version,
            phone=f"300{self._webs.numbers.next():07d}",
            date=day.astimezone(ZONE).strftime("%Y%m%d%H%M%S"),
        )

    def _hubspot(self) -> Job:
        requests = [self._request("hubspot") for _ in range(self._rng.choice((1, 1, 2, 4)))]
        ids = [self._webs.numbers.next() for _ in requests]
        earlier = [job for job in self._accepted[-20:] if job.kind == "hubspot"]
        if earlier and self._rng.random() < 0.15:
            # HubSpot may put an event that it thinks undelivered into another batch.
            old = self._rng.choice(earlier)
            requests.append(old.requests[0])
            ids.append(old.event_ids[0])
        body = json.dumps([_hubspot_event(w, n) for w, n in zip(requests, ids, strict=True)])
        return Job(f"hs-{ids[0]}", "hubspot", tuple(requests), body.encode(), tuple(ids))

    def _form(self) -> Job:
        request = self._request("forms")
        number = self._webs.numbers.next()
        body = {
            "account": request.account,
            "customer": request.customer,
            "phone": request.phone,
            "at": request.date,
            "updated": request.version,
        }
        return Job(f"msg_{number}", "forms", (request,), json.dumps(body).encode())

    def _plain(self) -> Job | None:
        """Make a delivery without an id: a new body, or one that the customer's requests had before (A, B, A)."""
        request = self._request("plain")
        if request.customer in self._busy:
            return None  # its order is the arrival's, so there is only one on the way
        self._busy.add(request.customer)
        earlier = self._bodies[request.customer]
        if earlier and self._rng.random() < 0.4:
            request = self._rng.choice(earlier)
        earlier.append(request)
        body = {
            "account": request.account,
            "customer": request.customer,
            "phone": request.phone,
            "at": request.date,
        }
        number = self._webs.numbers.next()
        return Job(f"plain-{number}", "plain", (request,), json.dumps(body).encode())

    def _api(self) -> Job | None:
        request = self._request("api", may_cancel=False)
        if request.customer in self._busy:
            return None  # its order is the arrival's, so there is only one on the way
        self._busy.add(request.customer)
        body = {
            "account": request.account,
            "campaign_id": CAMPAIGN,
            "customer_id": request.customer,
            "recall_telephone": request.phone,
            "recall_date": request.date,
        }
        return Job(f"key-{request.phone}", "api", (request,), json.dumps(body).encode())

    def _cancel(self) -> Job | None:
        if not self._recalls:
            return None
        recall = self._recalls.pop(self._rng.randrange(max(0, len(self._recalls) - 5), len(self._recalls)))
        return Job(f"cancel-{recall}", "cancel", (), b"", recall=recall)

    # -- sending --

    def _send(self, job: Job) -> None:
        one = self._webs.post(self._rng.choice(self._webs.webs), job)
        job.attempts.append(one)
        # 409: nothing is left to cancel; 404: a store that went back knows nothing of it.
        settled = one.accepted or (job.kind == "cancel" and one.status in {404, 409})
        if not settled:
            self._later(job, self._rng.uniform(0.2, 1.0))
            return
        if len([each for each in job.attempts if each.accepted]) == 1:
            self._note(job, one)
        if one.accepted and job.repeats < 2 and job.kind != "cancel" and self._rng.random() < 0.15:
            job.repeats += 1
            self._later(job, self._rng.uniform(0, 3))
        elif job.kind == "plain":
            self._busy.discard(job.requests[0].customer)

    def _note(self, job: Job, one: Attempt) -> None:
        self._accepted.append(job)
        if job.kind == "api":
            self._busy.discard(job.requests[0].customer)
            self._recalls.append(one.body["id"])


def _hubspot_event(request: CustomerRequest, number: int) -> dict[str, Any]:
    return {
        "eventId": number,
        "subscriptionId": 25,
        "portalId": 33,
        "appId": 1160452,
        "occurredAt": request.version,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": request.customer,
        "propertyName": f"callback_{request.account}",
        "propertyValue": request.date,
        "phone": request.phone,
        "changeSource": "CRM",
    }


class WebPool:
    """What all senders share: the webs they reach, and how a job becomes a request."""

    def __init__(
        self, config: Config, webs: tuple[ManagedProcess, ...], accounts: tuple[str, ...], api_key: str
    ) -> None:
        self.webs = webs
        self.accounts = accounts
        self.numbers = Numbers()
        self._config = config
        self._api_key = api_key

    def post(self, web: ManagedProcess, job: Job) -> Attempt:
        """Send a job once, on a connection of its own."""
        began = time.time()
        status, body, why = 0, {}, ""
        connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=TIMEOUT_SECONDS)
        try:
            path, headers = self._request(web, job)
            connection.request("POST", path, job.body, headers)
            response = connection.getresponse()
            text = response.read()
            status, body = response.status, _json(text)
        except (OSError, http.client.HTTPException) as error:
            status, why = 0, type(error).__name__
        finally:
            connection.close()
        return Attempt(web=web.name, began=began, ended=time.time(), status=status, body=body, why=why)

    def _request(self, web: ManagedProcess, job: Job) -> tuple[str, Mapping[str, str]]:
        if job.kind in {"hubspot", "forms", "plain"}:
            return f"/hooks/{job.kind}", self._signed(web, job)
        bearer = {"Authorization": f"Bearer {self._api_key}"}
        if job.kind == "cancel":
            return f"/v1/recalls/{job.recall}/cancel", bearer
        return "/v1/recalls", {
            **bearer,
            "Idempotency-Key": job.key,
            "Content-Type": "application/json",
        }

    def _signed(self, web: ManagedProcess, job: Job) -> Mapping[str, str]:
        source = self._config.sources[job.kind]
        return SOURCES[source.kind].sign(
            job.body,
            source,
            url=f"{web.url}/hooks/{job.kind}",
            method="POST",
            message_id=job.key or secrets.token_hex(8),
            now=datetime.now(UTC),
        )


def _json(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
