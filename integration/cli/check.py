"""`ringback check` validates configuration, store and tokens; `ringback config accept` accepts a change.

`check` reports all results at once. `--online` makes read-only calls to wolkvox and to the services of
the lookups. It leases each queue for the call, and ends the wait of a source whose lookup succeeds; otherwise
`check` writes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    open_store,
    pass_cli_context,
    redacted_address,
)
from integration.config import environment
from integration.config.environment import running_url
from integration.config.warnings import config_warnings
from integration.domain.errors import ConfigError, Fault, NotFoundError, StoreAwayError, invalid_value
from integration.services.online_check import OnlineCheck, check_lookups, check_queues
from integration.store.audit import COMMAND_LINE, AuditLog
from integration.store.durability import inspect
from integration.store.monitoring.config_changes import ConfigChanges
from integration.store.monitoring.lookup_status import LookupStatusStore

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.store.monitoring.config_changes import PendingChange


@click.command(cls=AsWritten)
@click.option(
    "--online",
    is_flag=True,
    help="Also call wolkvox once per token, which counts towards the daily limit, and test each lookup once.",
)
@config_option
@json_option
@pass_cli_context
def check(context: CliContext, *, online: bool, as_json: bool) -> None:
    """Check configuration, store and tokens.

    Prints each fault with its file, its key and the allowed values. Exits with status 1 if there is a
    fault, the store cannot be used, or an online check fails. Warnings do not change the exit status.

    Examples:
      ringback check
      ringback check --online --config /etc/ringback.toml
    """
    report = _report(context, online=online)
    if as_json:
        output.as_json(report)
    else:
        _print_report(report)
    if not report["good"]:
        raise SystemExit(1)


@click.group("config")
def config_group() -> None:
    """Accept a pending change: `ringback config accept`."""


@config_group.command(cls=AsWritten)
@click.argument("digest", required=False)
@json_option
@pass_cli_context
def accept(context: CliContext, digest: str | None, *, as_json: bool) -> None:
    """Accept a pending change of the configuration for all processes.

    A change is pending if it removes something that is in use: a source, all routes of a source, an account
    with queued recalls, an API key, or all alert rules. The processes use the previous version until the
    change is accepted. Give the DIGEST if several changes are pending, for example because machines have
    different files. `ringback check` lists them.

    Example:
      ringback config accept
    """
    changes = ConfigChanges(context.store)
    pending = {change.digest: change for change in changes.pending(datetime.now(UTC))}
    change = pending.get(digest) if digest else next(iter(pending.values()), None)
    if change is None:
        known = f" Pending: {', '.join(pending)}." if pending else ""
        raise NotFoundError(f"no such change of the configuration is pending.{known} Nothing was accepted.")
    if digest is None and len(pending) > 1:
        raise NotFoundError(
            f"several changes are pending. Give the digest of one of them: {', '.join(pending)}"
        )
    changes.accept(change.digest)
    AuditLog(context.store).note(COMMAND_LINE, "accept configuration", (change.digest,))
    if as_json:
        output.as_json(_pending_fields(change))
    else:
        output.line("The change is accepted. All processes use it within seconds. It removes:")
        for removed in change.removed:
            output.line(f"- {removed}")


def _pending_fields(change: PendingChange) -> dict[str, Any]:
    return {"digest": change.digest, "removes": [str(removed) for removed in change.removed]}


# --- checks ------------------------------------------------------------------------------------


def _report(context: CliContext, *, online: bool) -> dict[str, Any]:
    configuration, faults = _configuration(context)
    store = _store(context, accept_loss=configuration is not None and configuration.store.accept_loss)
    online_checks = _online_checks(context, configuration, store) if online else []
    store_good = store["state"] not in {"refused", "away"}
    return {
        "good": not faults and store_good and all(one.good for one in online_checks),
        "file": str(context.config_path),
        "faults": [{"file": f.file, "key": f.key, "found": f.found, "allowed": f.allowed} for f in faults],
        "warnings": [] if configuration is None else list(config_warnings(configuration)),
        "pending": [_pending_fields(change) for change in _pending_changes(context, store)],
        "has": {} if configuration is None else _contents(configuration),
        "store": store,
        "online": [one.to_fields() for one in online_checks],
    }


def _pending_changes(context: CliContext, store: dict[str, Any]) -> list[PendingChange]:
    if store["state"] not in {"good", "accepted"}:
        return []
    try:
        return ConfigChanges(context.store).pending(datetime.now(UTC))
    except StoreAwayError:
        return []


def _configuration(context: CliContext) -> tuple[Config | None, tuple[Fault, ...]]:
    faults: tuple[Fault, ...] = ()
    config = None
    try:
        config = context.config
    except ConfigError as error:
        faults += error.faults
    try:
        environment.port(context.environ)
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


def _store(context: CliContext, *, accept_loss: bool) -> dict[str, Any]:
    """Return the state of the store (a key of `_STORE_WORDS`), its address, and its problems as texts."""
    folder = environment.data_dir(context.environ)
    url = context.environ.get("REDIS_URL") or running_url(folder)
    if url is None:
        detail = f"REDIS_URL is not set, and no embedded store runs in {folder}. Set it, or run `ringback up`"
        return {"state": "none", "address": None, "detail": detail, "problems": []}
    try:
        address = redacted_address(url)
        found = inspect(open_store(url).client)
    except (ConfigError, ValueError):
        allowed = invalid_value("REDIS_URL", "an invalid address", "redis://, rediss:// or unix://")
        return {"state": "refused", "address": None, "detail": "", "problems": [allowed]}
    except StoreAwayError as error:
        return {"state": "away", "address": address, "detail": str(error), "problems": []}
    state = "good"
    if found.problems:
        state = "accepted" if accept_loss and not found.faults else "refused"
    return {"state": state, "address": address, "detail": str(found), "problems": list(found.problems)}


def _online_checks(context: CliContext, config: Config | None, store: dict[str, Any]) -> list[OnlineCheck]:
    if config is None:
        return [
            OnlineCheck(
                who=(), good=False, detail="not checked: the configuration has faults. Fix them first"
            )
        ]
    if store["state"] in {"away", "refused"}:
        return [
            OnlineCheck(
                who=(),
                good=False,
                detail="not checked: the store cannot be used to lock the queues. Fix it first",
            )
        ]
    if store["state"] == "none":
        output.problem(
            "warning: without a store the queues cannot be locked. Stop all workers that use these tokens."
        )
    usable = None if store["state"] == "none" else context.store
    status = None if usable is None else LookupStatusStore(usable)
    return [*check_queues(config, usable), *check_lookups(config, status)]


# --- output ------------------------------------------------------------------------------------

_STORE_WORDS = {
    "good": "keeps acknowledged data",
    "accepted": "may lose acknowledged data, as [store] accept_loss permits",
    "refused": "REFUSED",
    "away": "CANNOT BE REACHED",
    "none": "none",
}


def _print_report(report: dict[str, Any]) -> None:
    if report["faults"]:
        output.line(f"{report['file']}: {output.counted(len(report['faults']), 'faults')}")
        for fault in report["faults"]:
            output.line(f"- {Fault(**fault)}")
    else:
        has = ", ".join(output.counted(count, name) for name, count in report["has"].items())
        output.line(f"{report['file']}: good ({has})")
    for warning in report["warnings"]:
        output.line(f"  warning: {warning}")
    for change in report["pending"]:
        output.line(
            f"  warning: change {change['digest']} is pending, because it removes entries that are in use: "
            f"{'; '.join(change['removes'])}. Restore the file, or run `ringback config accept`."
        )
    store = report["store"]
    at = f" {store['address']}" if store["address"] else ""
    output.line(
        f"store{at}: {_STORE_WORDS[store['state']]}" + (f" ({store['detail']})" if store["detail"] else "")
    )
    for problem in store["problems"]:
        output.line(f"- {problem}")
    for check in report["online"]:
        who = ", ".join(check["who"]) or "online"
        output.line(f"{who}: {'' if check['good'] else 'FAILED: '}{check['detail']}")
