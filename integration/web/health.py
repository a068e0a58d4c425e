"""The views of `/healthz`, `/readyz` and `/metrics`.

`/healthz` does not use the store. The others probe the store with a time-out of PROBE_SECONDS before they
read its state. `/readyz` quotes no value of the configuration files.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import orjson
import redis
from flask import Blueprint, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from redis.exceptions import RedisError

from integration.config.reading import WHOLE_FILE
from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.services.configuration import pending_warning
from integration.web.metrics import registry
from integration.web.problems import problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from integration.domain.errors import Fault
    from integration.services.configuration import Configuration
    from integration.services.container import Services

PROBE_SECONDS = 1.0
AWAY = "the store does not respond"
_MOST_NAMED = 20


def health_blueprint(services: Services) -> Blueprint:
    """Return the blueprint of `/healthz` and `/readyz`, which each application registers."""
    blueprint = Blueprint("health", __name__)
    probe = StoreProbe(services.store.client)

    @blueprint.get("/healthz")
    def alive() -> Response:
        return _json({"status": "ok"})

    @blueprint.get("/readyz")
    def ready() -> Response:
        services.configuration.refresh()
        return readiness(
            store_why=_store_why(services, probe),
            warnings=[*configuration_warnings(services.configuration)],
        )

    return blueprint


def metrics_blueprint(services: Services) -> Blueprint:
    """Return the blueprint of `/metrics`, which the dashboard registers."""
    blueprint = Blueprint("metrics", __name__)
    metrics_registry = registry(services, StoreProbe(services.store.client).answers)

    @blueprint.get("/metrics")
    def metrics() -> Response:
        services.configuration.refresh()
        return Response(generate_latest(metrics_registry), content_type=CONTENT_TYPE_LATEST)

    return blueprint


class StoreProbe:
    """A probe of the store on a separate connection, with time-outs of PROBE_SECONDS."""

    def __init__(self, client: redis.Redis) -> None:
        pool = client.connection_pool
        short = {"socket_timeout": PROBE_SECONDS, "socket_connect_timeout": PROBE_SECONDS}
        options = {**pool.connection_kwargs, **short}
        self._client = redis.Redis(
            connection_pool=redis.ConnectionPool(connection_class=pool.connection_class, **options)
        )

    def answers(self) -> bool:
        """Return True if PING succeeds. It fails while the store loads its data."""
        try:
            return bool(self._client.ping())
        except (RedisError, OSError):
            return False


def readiness(*, store_why: str | None, warnings: Sequence[str]) -> Response:
    """Return the response of `/readyz`: status 200 if the store is ready, otherwise 503.

    `store_why` is the reason why the store is not ready, or None. `warnings` about the configuration files
    do not change the status, because the process still uses a valid configuration.
    """
    store = {"ready": True} if store_why is None else {"ready": False, "why": store_why}
    parts = {"store": store, "warnings": list(warnings)}
    if store_why is None:
        return _json({"status": "ready", **parts})
    # In problem details `status` is a number (RFC 9457).
    return problem(503, detail="not ready: store", headers={"Retry-After": "5"}, more=parts)


def configuration_warnings(configuration: Configuration) -> Iterator[str]:
    """Yield a warning for each reason why the current configuration files are not in use.

    The reasons are faults in the files and a change that waits for approval. A fault is described by its
    file and key, without the value.
    """
    fault, pending = configuration.watch.fault, configuration.pending
    if fault is not None:
        named = "; ".join(map(_named, fault.faults[:_MOST_NAMED]))
        more = len(fault.faults) - _MOST_NAMED
        yield (
            "The changed configuration has faults, so the last valid version stays in use. Faults: "
            f"{named}{f'; and {more} more' if more > 0 else ''}. Run `ringback check` and correct the file."
        )
    if pending is not None:
        yield pending_warning(pending)


def _named(fault: Fault) -> str:
    name = PurePath(fault.file).name
    # `found` of a whole file quotes no value of the file.
    return f"{name} is {fault.found}" if fault.key == WHOLE_FILE else f"{name}: {fault.key}"


def _store_why(services: Services, probe: StoreProbe) -> str | None:
    if not probe.answers():
        return AWAY
    try:
        services.binding.assure_store()
    except StoreAwayError:
        return AWAY
    except StoreUnsafeError:
        return "the store may lose acknowledged recalls, so deliveries are rejected. Run `ringback check`."
    return services.durability.problem


def _json(value: dict[str, Any]) -> Response:
    return Response(orjson.dumps(value), content_type="application/json")
