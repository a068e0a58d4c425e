"""A complete sandbox, in threads of this process or as a process."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self, cast

from integration.local.sandbox.rules import Rule
from integration.local.sandbox.server import Server
from integration.local.sandbox.state import MOST_CALLS, SandboxState
from integration.local.sandbox.wolkvox import Settings, Wolkvox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Sandbox:
    """A wolkvox sandbox in threads of this process. It is a context manager.

    `port=0` selects a free port. `rules` have the format of `POST /sandbox/rules`. `settings` may be changed
    while the sandbox runs.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        settings: Settings | None = None,
        rules: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        self.settings = settings or Settings()
        self.state = SandboxState()
        for rule in rules:
            self.add_rule(**rule)
        self._server = Server((host, port), self.state, Wolkvox(self.settings, self.state))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True
        )

    @property
    def port(self) -> int:
        """The port on which the sandbox listens."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """The base URL, for an account's `base_url`."""
        host = str(self._server.server_address[0])
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}"  # noqa: S104  (compared only)

    def start(self) -> Self:
        """Start serving. Connections that were made before are served now."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop the sandbox and abort calls in progress."""
        self._server.end()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_rule(self, **rule: Any) -> int:
        """Append a rule and return its id. Raise pydantic.ValidationError if it is invalid."""
        return cast("int", self.state.place([Rule.model_validate(rule)])[0]["id"])

    def clear_rules(self) -> None:
        """Remove all rules."""
        self.state.remove(None)

    def rules(self) -> list[dict[str, Any]]:
        """Return the active rules with their counts."""
        return self.state.rules()

    def calls(self, *, after: int = 0, limit: int = MOST_CALLS) -> list[dict[str, Any]]:
        """Return at most `limit` calls with a sequence number above `after`, oldest first."""
        return self.state.calls(after=after, limit=limit)

    def recalls(self) -> list[dict[str, Any]]:
        """Return the recorded callbacks: the latest for each token, campaign and customer."""
        return self.state.recalls()

    def stats(self) -> dict[str, Any]:
        """Return the counts of `SandboxState.stats`."""
        return self.state.stats()


def serve(
    port: int,
    host: str = "127.0.0.1",
    *,
    settings: Settings | None = None,
    rules: Iterable[Mapping[str, Any]] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Run a sandbox until SIGTERM or Ctrl-C. Call this function from the main thread.

    `announce` is called with the sandbox's URL when it accepts requests. Raise OSError if the address
    cannot be used, and pydantic.ValidationError if a rule is invalid.
    """
    ended = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        with Sandbox(host, port, settings=settings, rules=rules) as sandbox:
            announce(sandbox.url)
            ended.wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
