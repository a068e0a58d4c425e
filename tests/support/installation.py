"""A services on a test's store, and what tests do with its recalls and queues."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from integration.domain.delivery import Delivery, Event
from integration.domain.recall import CancelRequest, Filter
from integration.mapping.planner import CancelWanted, request_from_fields
from integration.store.token_queue import Claim, terms_of

if TYPE_CHECKING:
    from integration.domain.recall import Recall, RecallRequest, State
    from integration.services.container import Services
    from integration.store.token_queue import NoClaim, PushResult, QueueSettings

PHONES = {"CO": "300 111 2233", "PE": "987 654 321"}


class Installation:
    """Asks for recalls as the API does, and pushes them as a worker would, with an outcome as given."""

    def __init__(self, services: Services) -> None:
        self.services = services

    def time(self) -> datetime:
        return datetime.now(UTC)

    def request(self, customer: str = "c1", *, account: str = "bogota", hours: float = 24) -> RecallRequest:
        settings, now = self.services.config.accounts[account], self.time()
        return request_from_fields(
            settings,
            campaign_id="10",
            customer_id=customer,
            recall_telephone=PHONES[settings.country],
            recall_date=(now + timedelta(hours=hours)).isoformat(),
            now=now,
            source="api:test",
        )

    def admit(self, request: RecallRequest, expired: str | None = None) -> str:
        """Return the recall's id."""
        return self.services.admission.admit_one(
            request, expired=expired, key="", fingerprint=""
        ).answer.recalls[0]

    def ask(self, customer: str = "c1", *, account: str = "bogota", hours: float = 24) -> str:
        """Return the recall's id."""
        return self.admit(self.request(customer, account=account, hours=hours))

    def take_back(self, customer: str = "c1", *, account: str = "bogota") -> None:
        """Admit a cancellation of a customer's request, as an event of the CRM asks for it."""
        now = self.time()
        request = CancelRequest(
            account=account, campaign_id="10", customer_id=customer, version=now, source="forms"
        )
        delivery = Delivery(
            id=f"dl_{secrets.token_hex(8)}",
            source="forms",
            method="POST",
            url="u",
            headers={},
            body=b"{}",
            received_at=now,
        )
        wanted = CancelWanted(event=Event(data={}, dedup_key=delivery.id), request=request)
        self.services.admission.admit(delivery, [wanted], b"")

    def recall(self, recall_id: str) -> Recall:
        return self.services.recalls.records.get(recall_id)

    def recalls(self, **which: object) -> list[Recall]:
        return list(self.services.recalls.records.every(Filter(**which)))

    def state(self, recall_id: str) -> State:
        return self.recall(recall_id).state

    @property
    def queue(self) -> str:
        return self.queue_of("bogota")

    def queue_of(self, account: str) -> str:
        return self.services.queues.bound()[account]

    def terms(self, account: str = "bogota") -> QueueSettings:
        return terms_of(self.services.config.accounts[account], self.time())

    def claim(self, account: str = "bogota", terms: QueueSettings | None = None) -> Claim | NoClaim:
        terms = terms or self.terms(account)
        return self.services.queues.acquire(self.queue_of(account), secrets.token_hex(4), terms)[0]

    def finish(self, claim: Claim, outcome: PushResult, account: str = "bogota") -> None:
        self.services.queues.finish(
            self.queue_of(account), claim, 1, outcome, more=False, terms=self.terms(account)
        )

    def push(self, outcome: PushResult, account: str = "bogota") -> str:
        """Push the next recall of an account; return its id."""
        claim = self.claim(account)
        assert isinstance(claim, Claim)
        self.finish(claim, outcome, account)
        return claim.recall_id
