"""Runs `ringback` commands for tests, inside this process, with the tests' own environment."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from click.testing import CliRunner, Result

from integration.cli.main import main
from support import ENVIRON

if TYPE_CHECKING:
    from pathlib import Path

# What decides where a command looks; unset unless a test says otherwise.
OURS = ("REDIS_URL", "BROKER_URL", "PORT", "RINGBACK_CONFIG", "RINGBACK_DATA_DIR", "LOG_LEVEL")


@dataclass
class Ringback:
    """`ringback ARGS` with a configuration and, where given, a store."""

    config: Path
    environ: dict[str, str] = field(default_factory=dict)

    def __call__(self, *args: str, standard_input: bytes | None = None, **environ: str) -> Result:
        ours = {**dict.fromkeys(OURS), "RINGBACK_CONFIG": str(self.config)}
        ours["RINGBACK_DATA_DIR"] = str(self.config.parent / "data")
        env = {**ours, **ENVIRON, **self.environ, **environ}
        return CliRunner().invoke(main, args, env=env, input=standard_input)

    def json(self, *args: str, status: int = 0, **environ: str) -> Any:
        """What the command prints with --json, after a look at its exit status."""
        done = self(*args, "--json", **environ)
        assert done.exit_code == status, done.output
        return json.loads(done.stdout)
