"""Checks whether the settings of a Valkey or Redis server protect acknowledged data.

The check writes nothing. A setting that the server does not disclose counts as unsafe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.store.scripting.layout import FIELDS, layout_fault
from integration.store.scripting.protocol import PREFIX

if TYPE_CHECKING:
    import redis

OLDEST = (6, 2)

_CONFIRM_MS = 200
_SETTINGS = ("appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory-policy")


@dataclass(frozen=True, slots=True)
class StoreReport:
    """The facts about a store, and its problems.

    A fact is None if the server does not disclose it. `version` is the server's own version,
    `redis_version` the Redis version with which it is compatible. `aof`, `fsync`, `fsync_pauses` and
    `eviction` are the settings `appendonly`, `appendfsync`, `no-appendfsync-on-rewrite` and
    `maxmemory-policy`. `log_counts` is True if a restart would load the append-only file as it is now;
    servers before Valkey 7.2 and Redis 7.2, replicas, and servers without the file do not disclose it.
    `log_is_rewritten` is True while a rewrite of the file is known to run or to be scheduled,
    `rewrite_failed` if the latest rewrite is known to have failed. `settings_changes` is the number of
    `CONFIG SET` commands; servers before Redis 7.0 do not disclose it. `faults` always make the store
    unacceptable, `risks` unless `accept_loss` is set.
    """

    name: str
    version: str | None
    redis_version: tuple[int, ...] | None
    role: str | None
    aof: bool | None
    fsync: str | None
    fsync_pauses: bool | None
    eviction: str | None
    log_counts: bool | None = None
    log_is_rewritten: bool = False
    rewrite_failed: bool = False
    settings_changes: int | None = None
    faults: tuple[str, ...] = ()
    risks: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """Return the descriptions of all problems, faults first."""
        return self.faults + self.risks

    def __str__(self) -> str:
        """Return the facts as one line."""
        switch = {True: "on", False: "off", None: "unknown"}
        return (
            f"{self.name} {self.version or 'of unknown version'}, AOF {switch[self.aof]}, "
            f"fsync {self.fsync or 'unknown'}, eviction {self.eviction or 'unknown'}, "
            f"role {self.role or 'unknown'}"
        )


def inspect(client: redis.Redis) -> StoreReport:
    """Return the facts of a store.

    Raise StoreAwayError if it does not answer, rejects the login, or is still loading its data.
    """
    try:
        info = _info(client)
        config = _config(client)
        layout = _layout(client)
        log_counts = _log_counts(client)
    except AuthenticationError as error:
        raise StoreAwayError("the store rejected the user or password; correct them in REDIS_URL") from error
    except BusyLoadingError as error:
        raise StoreAwayError("the store is still loading its data; wait until it has finished") from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        reason = f"the store does not answer ({type(error).__name__}); check the server and REDIS_URL"
        raise StoreAwayError(reason) from error
    return replace(_report_of(info, config, layout), log_counts=log_counts)


def assure(client: redis.Redis, *, accept_loss: bool) -> StoreReport:
    """Return the report of an acceptable store. `accept_loss` permits risks, but no faults.

    Raise StoreUnsafeError with the problems that are not permitted, or StoreAwayError.
    """
    report = inspect(client)
    require_acceptable(report, accept_loss=accept_loss)
    return report


def require_acceptable(report: StoreReport, *, accept_loss: bool) -> None:
    """Raise StoreUnsafeError if a store has problems. `accept_loss` permits risks, but no faults."""
    problems = report.faults if accept_loss else report.problems
    if problems:
        hint = "" if report.faults else "\nIf losing data is acceptable, set accept_loss = true in [store]"
        raise StoreUnsafeError(
            "\n".join(
                (
                    "Ringback refuses this store, because it does not meet the requirements:",
                    *(f"- {words}" for words in problems),
                )
            )
            + hint
        )


# --- reading the facts ------------------------------------------------------------------------


def _info(client: redis.Redis) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for section in ("server", "persistence", "memory", "replication", "commandstats"):
        try:
            facts |= client.info(section)
        except (RedisConnectionError, RedisTimeoutError):
            raise
        except RedisError:
            continue
    return facts


def _config(client: redis.Redis) -> dict[str, str] | None:
    """Return the relevant settings as text, or None if the server rejects CONFIG GET."""
    answer: dict[str, str] = {}
    for name in _SETTINGS:
        try:
            found = client.config_get(name)
        except (RedisConnectionError, RedisTimeoutError):
            raise
        except (ResponseError, RedisError):
            # A user without the permission gets NOPERM, a managed host answers "unknown command".
            return None
        answer |= {_text(key): _text(value) for key, value in found.items()}
    return answer


def _layout(client: redis.Redis) -> str | None:
    """Return why this version must not use the store's layout, or None if it may."""
    values = client.hmget(f"{PREFIX}store", list(FIELDS))
    facts = {name: _text(value) for name, value in zip(FIELDS, values, strict=True) if value is not None}
    is_older = _text(client.type(f"{PREFIX}meta")) == "hash" or bool(client.exists(f"{PREFIX}accounts"))
    return layout_fault(facts, is_older=is_older)


def _log_counts(client: redis.Redis) -> bool | None:
    """Return True if current writes are in the log that a restart loads, False if not, None if unknown.

    After `CONFIG SET appendonly yes` the server confirms no write until the first rewrite of the log has
    ended. During any later rewrite it confirms at once.
    """
    try:
        answer = client.waitaof(1, 0, _CONFIRM_MS)
    except (RedisConnectionError, RedisTimeoutError):
        raise
    except RedisError:
        # An older server, a user without the permission, a replica, or a server without a log.
        return None
    return bool(answer[0]) if answer else None


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# --- evaluation -------------------------------------------------------------------------------


def _report_of(info: dict[str, Any], config: dict[str, str] | None, layout: str | None) -> StoreReport:
    settings = config or {}
    facts: dict[str, Any] = {
        "name": _name(info),
        "version": _optional_text(info.get("valkey_version") or info.get("redis_version")),
        "redis_version": _version(_optional_text(info.get("redis_version"))),
        "role": _optional_text(info.get("role")),
        "aof": _aof(settings, info),
        "fsync": settings.get("appendfsync"),
        "fsync_pauses": _yes(settings.get("no-appendfsync-on-rewrite")),
        "log_is_rewritten": 1 in (info.get("aof_rewrite_in_progress"), info.get("aof_rewrite_scheduled")),
        "rewrite_failed": _text(info.get("aof_last_bgrewrite_status", "ok")) != "ok",
        "settings_changes": info.get("cmdstat_config|set", {}).get("calls"),
        "eviction": settings.get("maxmemory-policy") or _optional_text(info.get("maxmemory_policy")),
    }
    plain = StoreReport(**facts)
    return StoreReport(**facts, faults=_faults(plain, layout), risks=_risks(plain))


def _name(info: dict[str, Any]) -> str:
    # Valkey has valkey_version and keeps redis_version for old clients. Redis has no server_name.
    if "valkey_version" in info:
        return "Valkey"
    return _text(info.get("server_name") or "Redis")


def _optional_text(value: object) -> str | None:
    return None if value is None else _text(value)


def _version(text: str | None) -> tuple[int, ...] | None:
    parts = [] if text is None else text.split(".")
    return tuple(int(part) for part in parts if part.isdecimal()) or None


def _yes(text: str | None) -> bool | None:
    return None if text is None else text == "yes"


def _aof(config: dict[str, str], info: dict[str, Any]) -> bool | None:
    if "appendonly" in config:
        return config["appendonly"] == "yes"
    if "aof_enabled" in info:
        return _text(info["aof_enabled"]) == "1"
    return None


def _faults(report: StoreReport, layout: str | None) -> tuple[str, ...]:
    faults = []
    oldest = ".".join(map(str, OLDEST))
    if report.redis_version is None:
        faults.append(
            f"version is not reported. Use a server that is compatible with Redis {oldest} or later"
        )
    elif report.redis_version < OLDEST:
        faults.append(
            f"version is {report.version}. Use a server that is compatible with Redis {oldest} or later"
        )
    if report.role not in {None, "master"}:
        faults.append(
            f"role is replica ({report.role}). Use the address of the primary, which accepts writes"
        )
    return tuple(faults) if layout is None else (*faults, layout)


def _risks(report: StoreReport) -> tuple[str, ...]:
    aof = None if report.aof is None else {True: "yes", False: "no"}[report.aof]
    pauses = None if report.fsync_pauses is None else {True: "yes", False: "no"}[report.fsync_pauses]
    rows = (
        ("appendonly", aof, "yes", "a restart loses acknowledged recalls"),
        ("appendfsync", report.fsync, "always", "a power failure loses the latest acknowledged recalls"),
        ("no-appendfsync-on-rewrite", pauses, "no", "writes are not synced while the log is rewritten"),
        ("maxmemory-policy", report.eviction, "noeviction", "a full store deletes recalls"),
    )
    return tuple(
        f"{setting} is {found or 'not reported'}. Set it to {allowed}; otherwise {why}"
        for setting, found, allowed, why in rows
        if found != allowed
    )
