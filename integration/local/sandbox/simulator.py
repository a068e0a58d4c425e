"""A whole sandbox: in threads of this process, or as a process of its own."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any, Self, cast

from integration.local.sandbox.rules import Rule
from integration.local.sandbox.server import Server
from integration.local.sandbox.state import CALLS_KEPT, SandboxState
from integration.local.sandbox.wolkvox import Settings, Wolkvox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class Sandbox:
    """A wolkvox of one's own, in threads of this process; a context manager.

    `port` 0 takes a free one. `rules` are as for `POST /sandbox/rules`. Settings may be changed while
    it runs, through `settings`.
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
        self.book = SandboxState()
        for rule in rules:
            self.add_rule(**rule)
        self._server = Server((host, port), self.book, Wolkvox(self.settings, self.book))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sandbox", daemon=True
        )

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        """Its address, as an account's `base_url`."""
        host = str(self._server.server_address[0])
        return f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{self.port}"  # noqa: S104  (compared only)

    def start(self) -> Self:
        """Begin to answer; until then connections wait."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """End; calls still worked on are given up."""
        self._server.end()
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_rule(self, **rule: Any) -> int:
        """Place a rule behind the others; gives its id. Raises pydantic's ValidationError."""
        return cast("int", self.book.place([Rule.model_validate(rule)])[0]["id"])

    def clear_rules(self) -> None:
        """Take all rules away."""
        self.book.remove(None)

    def rules(self) -> list[dict[str, Any]]:
        """Give the rules, with how many calls each has seen and befallen."""
        return self.book.rules()

    def calls(self, *, after: int = 0, limit: int = CALLS_KEPT) -> list[dict[str, Any]]:
        """Give the calls received after that number, oldest first."""
        return self.book.calls(after=after, limit=limit)

    def recalls(self) -> list[dict[str, Any]]:
        """Give the callbacks on record: the last word per token, campaign and customer."""
        return self.book.recalls()

    def stats(self) -> dict[str, Any]:
        """Give the counts: calls, codes, and the most that were in flight per token, with every overlap."""
        return self.book.stats()


def serve(
    port: int,
    host: str = "127.0.0.1",
    *,
    settings: Settings | None = None,
    rules: Iterable[Mapping[str, Any]] = (),
    announce: Callable[[str], None] = print,
) -> None:
    """Run a sandbox until SIGTERM or Ctrl-C; `announce` is told its address once it answers.

    For a process's main thread. Raises OSError when the port is taken.
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
