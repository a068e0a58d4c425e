"""What a run is like: how long, how much, under which seed; and the configuration that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .load import CAMPAIGN

if TYPE_CHECKING:
    from .mutants import ChaosMutant

TIMEOUT_SECONDS, SERVER_LIMIT_SECONDS, LONGEST_WORK = 1, 3, 2.7
"""T and S of every account, and how long wolkvox works on a call at most."""
API_KEY = "api-key-of-the-fault-run-0123456789"
SECRETS = {
    "HUBSPOT_SECRET": "hubspot-client-secret-of-the-fault-run",
    "FORMS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "API_KEY": API_KEY,
    "PLAIN_SECRET": "plain-secret-of-the-fault-run-0123456789",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`rate` is deliveries a second over all senders, `most` how many of them at most. `sentry`: its processes report."""

    seed: int
    seconds: float
    accounts: int = 8
    senders: int = 4
    rate: float = 12.0
    most: int = 20_000
    mutant: ChaosMutant | None = None
    restores: bool = False
    sentry: bool = False


def token_of(n: int, accounts: int) -> str:
    """Name an account's token; the last two accounts share one, and so a queue."""
    return f"token-of-queue-{min(n, accounts - 2)}-xyz"


def config_text(settings: Settings, wolkvox: str) -> str:
    parts = [
        '[api_keys]\nfaults = "env:API_KEY"\n',
        '[sources.hubspot]\nkind = "hubspot"\nsecrets = ["env:HUBSPOT_SECRET"]\n',
        (
            '[sources.forms]\nkind = "json"\nverify = "standard-webhooks"\n'
            'secrets = ["env:FORMS_SECRET"]\nevent_time = "{{ event.updated }}"\n'
        ),
        '[sources.plain]\nkind = "json"\nverify = "bearer"\nsecrets = ["env:PLAIN_SECRET"]\n',
        settings.mutant.config if settings.mutant else "",
    ]
    routes = []
    for n in range(settings.accounts):
        parts.append(
            f'[accounts.a{n}]\nbase_url = "{wolkvox}"\ntoken = "{token_of(n, settings.accounts)}"\n'
            'timezone = "America/Bogota"\ncountry = "CO"\nmax_days_ahead = 36500\n'
            f"timeout_seconds = {TIMEOUT_SECONDS}\nserver_limit_seconds = {SERVER_LIMIT_SECONDS}\n"
        )
        property_ = f"event.propertyName == 'callback_a{n}'"
        routes += _routes("hubspot", f"a{n}", property_, "objectId", "propertyValue")
        for source in ("forms", "plain"):
            routes += _routes(source, f"a{n}", f"event.account == 'a{n}'", "customer", "at")
    return "\n".join([*parts, *routes])


def _routes(source: str, account: str, when: str, customer: str, date: str) -> list[str]:
    head = f'[[routes]]\nsource = "{source}"\naccount = "{account}"\ncampaign_id = "{CAMPAIGN}"\n'
    head += f'customer_id = "{{{{ event.{customer} }}}}"\n'
    return [
        (
            f'{head}name = "{source} {account}"\nwhen = "{when} and event.{date}"\n'
            f'recall_telephone = "{{{{ event.phone }}}}"\nrecall_date = "{{{{ event.{date} }}}}"\n'
        ),
        f'{head}name = "{source} {account} off"\nwhen = "{when} and not event.{date}"\naction = "cancel"\n',
    ]
