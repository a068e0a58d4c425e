"""A desk on a test's store, and what tests do with its recalls and queues."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from integration.plan import request_from_fields
from integration.recall import Filter
from workers.lane import Claim
from workers.quota import terms_of

if TYPE_CHECKING:
    from integration.recall import Recall, RecallRequest, State
    from workers.desk import Desk
    from workers.lane import NoClaim, Outcome, Terms

PHONES = {"CO": "300 111 2233", "PE": "987 654 321"}


class Installation:
    """Asks for recalls as the API does, and pushes them as a worker would, with an outcome as given."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    def time(self) -> datetime:
        return datetime.now(UTC)

    def request(self, customer: str = "c1", *, account: str = "bogota", hours: float = 24) -> RecallRequest:
        settings, now = self.desk.config.accounts[account], self.time()
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
        return self.desk.admit_one(request, expired=expired, key="", fingerprint="").answer.recalls[0]

    def ask(self, customer: str = "c1", *, account: str = "bogota", hours: float = 24) -> str:
        """Return the recall's id."""
        return self.admit(self.request(customer, account=account, hours=hours))

    def recall(self, recall_id: str) -> Recall:
        return self.desk.recalls.get(recall_id)

    def recalls(self, **which: object) -> list[Recall]:
        return list(self.desk.recalls.every(Filter(**which)))

    def state(self, recall_id: str) -> State:
        return self.recall(recall_id).state

    @property
    def lane(self) -> str:
        return self.lane_of("bogota")

    def lane_of(self, account: str) -> str:
        return self.desk.lanes.bound()[account]

    def terms(self, account: str = "bogota") -> Terms:
        return terms_of(self.desk.config.accounts[account], self.time())

    def claim(self, account: str = "bogota", terms: Terms | None = None) -> Claim | NoClaim:
        terms = terms or self.terms(account)
        return self.desk.lanes.acquire(self.lane_of(account), secrets.token_hex(4), terms)[0]

    def finish(self, claim: Claim, outcome: Outcome, account: str = "bogota") -> None:
        self.desk.lanes.finish(
            self.lane_of(account), claim, 1, outcome, more=False, terms=self.terms(account)
        )

    def push(self, outcome: Outcome, account: str = "bogota") -> str:
        """Push the next recall of an account; return its id."""
        claim = self.claim(account)
        assert isinstance(claim, Claim)
        self.finish(claim, outcome, account)
        return claim.recall_id
