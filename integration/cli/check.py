"""`ringback check`: whether configuration and store are good, and with --online whether wolkvox answers.

Reports everything at once, the good as well. Writes nothing; with `--online` it makes real calls that
only read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    open_store,
    pass_session,
    shown_address,
)
from integration.config import environment
from integration.config.environment import running_url
from integration.config.warnings import config_warnings
from integration.domain.errors import ConfigError, Fault, StoreAwayError
from integration.services.online_check import OnlineCheck, ask_lookups, ask_queues
from integration.store.durability import inspect

if TYPE_CHECKING:
    from integration.config.models import Config


@click.command(cls=AsWritten)
@click.option(
    "--online", is_flag=True, help="Also make one real call per token; it costs one of the day's calls."
)
@config_option
@json_option
@pass_session
def check(session: CliContext, *, online: bool, as_json: bool) -> None:
    """Find what is wrong in configuration, store and tokens.

    Names file, key, what was found and what is allowed. Exit 0 when all is good; warnings are no fault.

    Examples:
      ringback check
      ringback check --online --config /etc/ringback.toml
    """
    report = _report(session, online=online)
    if as_json:
        output.as_json(report)
    else:
        _tell(report)
    if not report["good"]:
        raise SystemExit(1)


# --- looking -----------------------------------------------------------------------------------


def _report(session: CliContext, *, online: bool) -> dict[str, Any]:
    config, faults = _configuration(session)
    store = _store(session, accept_loss=config is not None and config.store.accept_loss)
    asked = _asked(session, config, store) if online else []
    store_good = store["state"] not in {"refused", "away"}
    return {
        "good": not faults and store_good and all(one.good for one in asked),
        "file": str(session.config_path),
        "faults": [{"file": f.file, "key": f.key, "found": f.found, "allowed": f.allowed} for f in faults],
        "warnings": [] if config is None else list(config_warnings(config)),
        "has": {} if config is None else _contents(config),
        "store": store,
        "online": [one.shown() for one in asked],
    }


def _configuration(session: CliContext) -> tuple[Config | None, tuple[Fault, ...]]:
    faults: tuple[Fault, ...] = ()
    config = None
    try:
        config = session.config
    except ConfigError as error:
        faults += error.faults
    try:
        environment.port(session.environ)
    except ConfigError as error:
        faults += error.faults
    return config, faults


def _contents(config: Config) -> dict[str, int]:
    return {
        "accounts": len(config.accounts),
        "sources": len(config.sources),
        "routes": len(config.routes),
        "api keys": len(config.api_keys),
    }


def _store(session: CliContext, *, accept_loss: bool) -> dict[str, Any]:
    """Describe the store: `state` is good, accepted, refused, away or none; `problems` in plain words."""
    folder = environment.data_dir(session.environ)
    url = session.environ.get("REDIS_URL") or running_url(folder)
    if url is None:
        told = f"no REDIS_URL, and no embedded store runs in {folder}: `ringback up` starts one"
        return {"state": "none", "address": None, "told": told, "problems": []}
    try:
        address = shown_address(url)
        found = inspect(open_store(url).client)
    except (ConfigError, ValueError):
        allowed = "REDIS_URL: found an address that cannot be read; allowed: redis://, rediss:// or unix://"
        return {"state": "refused", "address": None, "told": "", "problems": [allowed]}
    except StoreAwayError as error:
        return {"state": "away", "address": address, "told": str(error), "problems": []}
    state = "good"
    if found.problems:
        state = "accepted" if accept_loss and not found.faults else "refused"
    return {"state": state, "address": address, "told": str(found), "problems": list(found.problems)}


def _asked(session: CliContext, config: Config | None, store: dict[str, Any]) -> list[OnlineCheck]:
    if config is None:
        return [OnlineCheck(who=(), good=False, told="nobody was asked: the configuration comes first")]
    if store["state"] in {"away", "refused"}:
        return [
            OnlineCheck(who=(), good=False, told="nobody was asked: without the store no queue can be held")
        ]
    if store["state"] == "none":
        output.problem(
            "no store is here to hold the queues in: make sure that no worker elsewhere uses these tokens now"
        )
    queues = ask_queues(config, None if store["state"] == "none" else session.store)
    return [*queues, *ask_lookups(config)]


# --- telling -----------------------------------------------------------------------------------

_STORE_WORDS = {
    "good": "keeps what it takes",
    "accepted": "may lose what it takes, which [store] accept_loss allows",
    "refused": "REFUSED",
    "away": "CANNOT BE REACHED",
    "none": "not there yet",
}


def _tell(report: dict[str, Any]) -> None:
    if report["faults"]:
        output.line(f"{report['file']}: {output.counted(len(report['faults']), 'faults')}")
        for fault in report["faults"]:
            output.line(f"- {Fault(**fault)}")
    else:
        has = ", ".join(output.counted(count, name) for name, count in report["has"].items())
        output.line(f"{report['file']}: good ({has})")
    for warning in report["warnings"]:
        output.line(f"  warning: {warning}")
    store = report["store"]
    at = f" {store['address']}" if store["address"] else ""
    output.line(
        f"store{at}: {_STORE_WORDS[store['state']]}" + (f" ({store['told']})" if store["told"] else "")
    )
    for problem in store["problems"]:
        output.line(f"- {problem}")
    for asked in report["online"]:
        who = ", ".join(asked["who"]) or "online"
        output.line(f"{who}: {'' if asked['good'] else 'FAILED: '}{asked['told']}")
