"""The simulated wolkvox API without faults: documented messages, limits and reports.

Comments mark the responses that wolkvox does not document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson

from integration.local.sandbox.answers import SandboxAnswer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.local.sandbox.calls import ReceivedCall
    from integration.local.sandbox.state import SandboxState

SIMULTANEOUS_LIMIT = 2


def _api_answer(
    code: int,
    msg: str,
    *,
    error: str | None = None,
    data: Any = None,
    effect: Callable[[], None] | None = None,
) -> SandboxAnswer:
    # wolkvox does not document whether `code` is also the HTTP status. Here it is.
    fields: dict[str, Any] = {"code": code, "error": error, "msg": msg}
    if data is not None:
        fields["data"] = data
    return SandboxAnswer(code, orjson.dumps(fields), str(code), takes_effect=effect)


# Messages from the error table of wolkvox's API documentation.
NO_SUCH_API = _api_answer(400, "THE API YOU WANT TO CONSULT DOES NOT EXIST", error="BAD REQUEST")
PARAMETERS_REQUIRED = _api_answer(400, "SOME PARAMETERS ARE REQUIRED", error="BAD REQUEST")
TOKEN_MISSING = _api_answer(401, "PLEASE ENTER THE WOLKVOX-TOKEN", error="UNAUTHORIZED")
TOKEN_UNKNOWN = _api_answer(403, "PLEASE VALIDATE TOKEN", error="FORBIDDEN")
TOKEN_USED_UP = _api_answer(403, "TOKEN LIMIT EXCEEDED", error="FORBIDDEN")
TOKEN_BUSY = _api_answer(403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", error="FORBIDDEN")

DEFAULT_CAMPAIGNS: Mapping[str, str] = {"12345": "predictive", "67890": "preview"}


@dataclass(slots=True)
class Settings:
    """The behaviour of the sandbox without rules.

    `latency_ms` is the duration of each call's simulated work. `daily_limit` is the number of calls for each
    token and UTC day (None: unlimited). `tokens` are the valid tokens (None: any). `campaigns` maps campaign
    ids to types. Other campaigns count as predictive, because wolkvox documents no error for unknown
    campaigns.
    """

    latency_ms: float = 0.0
    daily_limit: int | None = None
    tokens: frozenset[str] | None = None
    campaigns: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_CAMPAIGNS))


class Wolkvox:
    """The simulated wolkvox API, without fault rules."""

    def __init__(self, settings: Settings, state: SandboxState) -> None:
        self.settings = settings
        self._state = state
        self._apis: dict[tuple[str, str, str], Callable[[ReceivedCall], SandboxAnswer]] = {
            ("PUT", "campaign.php", "recall"): self._recall,
            ("GET", "information.php", "campaigns"): self._campaigns,
            ("GET", "information.php", "token_info"): self._token_info,
            ("GET", "real_time.php", "recall"): self._recalls,
        }

    def answer(self, call: ReceivedCall) -> SandboxAnswer:
        """Return the response to a call, which must have entered the state."""
        refusal = self._refusal(call)
        if refusal is not None:
            return refusal
        script = call.path.removeprefix("/api/v2/")
        api = self._apis.get((call.method, script, call.query.get("api", "")))
        return NO_SUCH_API if api is None else api(call)

    def _refusal(self, call: ReceivedCall) -> SandboxAnswer | None:
        if not call.token:
            return TOKEN_MISSING
        if self.settings.tokens is not None and call.token not in self.settings.tokens:
            return TOKEN_UNKNOWN
        if call.in_flight > SIMULTANEOUS_LIMIT:
            return TOKEN_BUSY
        limit = self.settings.daily_limit
        if limit is not None and self._state.used_today(call.fingerprint) > limit:
            return TOKEN_USED_UP
        return None

    def _recall(self, call: ReceivedCall) -> SandboxAnswer:
        campaign, customer = call.campaign_id, call.customer_id
        telephone, when = call.body_text("recall_telephone"), call.body_text("recall_date")
        # wolkvox does not document its answer to a malformed date, an unknown campaign or customer, or a
        # preview campaign. For the first and the last, the sandbox uses the closest documented message.
        if not (campaign and customer and telephone and when and _is_date(when)):
            return PARAMETERS_REQUIRED
        kind = call.query.get("type_campaign", "predictive")
        if kind != "predictive" or self.settings.campaigns.get(campaign) == "preview":
            return PARAMETERS_REQUIRED
        recall = {
            "seq": call.seq,
            "token": call.fingerprint,
            "campaign_id": campaign,
            "customer_id": customer,
            "recall_telephone": telephone,
            "recall_date": when,
        }
        msg = f"customer_id {customer} has been updated and will be call back on {when} to phone {telephone}"
        return _api_answer(202, msg, effect=partial(self._state.record, recall))

    # The format of report rows and their messages is not documented.

    def _campaigns(self, call: ReceivedCall) -> SandboxAnswer:
        chosen = call.query.get("campaign")
        rows = [
            {
                "campaign_id": campaign,
                "campaign_name": f"Campaign {campaign}",
                "type_campaign": kind,
                "status": "Started",
                "records": 0,
            }
            for campaign, kind in self.settings.campaigns.items()
            if chosen in {None, campaign}
        ]
        return _api_answer(200, "", data=rows)

    def _token_info(self, call: ReceivedCall) -> SandboxAnswer:
        used = self._state.used_today(call.fingerprint)
        limit = self.settings.daily_limit
        row = {
            "token_limit": limit,
            "token_use_today": used,
            "all_token_today": used,
            "available_consumption_options": None if limit is None else max(0, limit - used),
        }
        return _api_answer(200, "", data=[row])

    def _recalls(self, call: ReceivedCall) -> SandboxAnswer:
        # Callbacks created by the API are reported as "auto". The format of `date_recall` is not
        # documented.
        recalls = [recall for recall in self._state.recalls() if recall["token"] == call.fingerprint]
        rows = [
            {
                "type_recall": "auto",
                "date_recall": recall["recall_date"],
                "phone_number": recall["recall_telephone"],
                "id_campaign": recall["campaign_id"],
                "id_agent": "",
            }
            for recall in recalls
            if call.query.get("type", "all") in {"all", "auto"}
        ]
        return _api_answer(200, "", data=rows)


def _is_date(text: str) -> bool:
    if not re.fullmatch(r"[0-9]{14}", text):
        return False
    try:
        datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007  (local time of the operation, whose zone is unknown here)
    except ValueError:
        return False
    return True
