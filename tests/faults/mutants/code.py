"""Where a guard stands and what it becomes: by names and structure, never by how the source is written.

    code("integration/webhooks/verification.py").condition("check_fresh", "TOLERANCE")

is the one condition in the function `check_fresh` that mentions `TOLERANCE`, and it becomes false. Of pieces
within each other the innermost counts. In `to`, `{it}` is the piece itself; of a call, `{name}` is what is
called and `{0}` its first argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from . import lua_source, python_source
from .node import Kind

if TYPE_CHECKING:
    from pathlib import Path

    from .node import Node


class PlaceError(Exception):
    """A place is not there, or is there several times: its guard was moved, doubled or rewritten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One piece of a file under the repository becomes `to`.

    `file` may be a pattern: the piece is then in one of the files. `scope` names the function or class that
    holds it, "" the whole file. `mentions` are identifiers or constants that the piece holds; those with a "-"
    before them it does not hold.
    """

    file: str
    scope: str
    kind: Kind
    name: str = ""
    mentions: frozenset[str] = frozenset()
    to: str

    def apply(self, root: Path) -> None:
        """Change the file. Raise PlaceError, SyntaxError."""
        path, text = self.changed(root)
        path.write_text(text, "utf-8")

    def changed(self, root: Path) -> tuple[Path, str]:
        """Return the file and what it would hold. Raise PlaceError, SyntaxError."""
        found = [
            (path, node)
            for path in sorted(root.glob(self.file))
            for node in _innermost(self._candidates(path))
        ]
        if len(found) != 1:
            raise PlaceError(f"place {f'found {len(found)} times' if found else 'not found'}: {self}")
        path, node = found[0]
        text = path.read_text("utf-8")
        changed = text[: node.start] + self._instead(node, text) + text[node.end :]
        if changed == text:
            raise PlaceError(f"nothing changes: {self}")
        _nodes_of(changed, path.suffix)
        return path, changed

    def __str__(self) -> str:
        mentions = f" that mentions {', '.join(sorted(self.mentions))}" if self.mentions else ""
        where = f"{self.file} {self.scope}".strip()
        return f"{self.kind.value} {self.name}{mentions} in {where}".replace("  ", " ")

    def _candidates(self, path: Path) -> list[Node]:
        nodes = _nodes_of(path.read_text("utf-8"), path.suffix)
        scopes = [node for node in nodes if node.kind is Kind.SCOPE and _ends_in(node.name, self.scope)]
        return [
            node
            for node in nodes
            if node.kind is self.kind
            and _ends_in(node.name, self.name)
            and all(
                (each in node.mentions) if each[:1] != "-" else (each[1:] not in node.mentions)
                for each in self.mentions
            )
            and (not self.scope or any(scope.holds(node) for scope in scopes))
        ]

    def _instead(self, node: Node, text: str) -> str:
        instead = self.to.replace("{it}", text[node.start : node.end]).replace("{name}", node.name)
        for place, part in enumerate(node.parts):
            instead = instead.replace(f"{{{place}}}", part)
        return instead


def _ends_in(name: str, wanted: str) -> bool:
    return not wanted or name == wanted or name.endswith(f".{wanted}")


def _innermost(nodes: list[Node]) -> list[Node]:
    return [node for node in nodes if not any(node.holds(other) for other in nodes)]


@lru_cache(maxsize=256)
def _nodes_of(text: str, suffix: str) -> list[Node]:
    return (lua_source if suffix == ".lua" else python_source).nodes_of(text)


@dataclass(frozen=True, slots=True)
class Code:
    """A file, or the files of a pattern, whose guards are taken out."""

    file: str

    @property
    def _nothing(self) -> str:
        return "" if self.file.endswith(".lua") else "pass"

    @property
    def _false(self) -> str:
        return "false" if self.file.endswith(".lua") else "False"

    def statement(self, scope: str, *mentions: str, to: str | None = None) -> Edit:
        """Drop a statement. A compound one is found by what stands before its body, and goes with it."""
        instead = self._nothing if to is None else to
        return self._edit(scope, Kind.STATEMENT, mentions=mentions, to=instead)

    def condition(self, scope: str, *mentions: str, to: str | None = None) -> Edit:
        """Decide a condition, or one part of an `and` or `or`: false if nothing else is said."""
        instead = self._false if to is None else to
        return self._edit(scope, Kind.CONDITION, mentions=mentions, to=instead)

    def value(self, scope: str, name: str, *mentions: str, to: str) -> Edit:
        """Assign another value to a name."""
        return self._edit(scope, Kind.VALUE, name, mentions=mentions, to=to)

    def call(self, scope: str, name: str, *mentions: str, to: str) -> Edit:
        """Put something else in the place of a call."""
        return self._edit(scope, Kind.CALL, name, mentions=mentions, to=to)

    def argument(self, scope: str, call: str, which: str | int, *mentions: str, to: str) -> Edit:
        """Call with another argument; `which` is its keyword or its place, from 0."""
        return self._edit(scope, Kind.ARGUMENT, f"{call} {which}", mentions=mentions, to=to)

    def element(self, scope: str, *mentions: str, of: str = "", to: str = "*()") -> Edit:
        """Drop an element of a list, tuple or set; `of` is what that is assigned to."""
        return self._edit(scope, Kind.ELEMENT, of, mentions=mentions, to=to)

    def result(self, scope: str, *mentions: str, to: str) -> Edit:
        """Return another value."""
        return self._edit(scope, Kind.RESULT, mentions=mentions, to=to)

    def body(self, scope: str, to: str) -> Edit:
        """Let a function do something else."""
        return self._edit("", Kind.BODY, scope, to=to)

    def caught(self, scope: str, *mentions: str, to: str = "ZeroDivisionError") -> Edit:
        """Catch another exception, which never comes."""
        return self._edit(scope, Kind.CAUGHT, mentions=mentions, to=to)

    def _edit(
        self, scope: str, kind: Kind, name: str = "", *, to: str, mentions: tuple[str, ...] = ()
    ) -> Edit:
        return Edit(file=self.file, scope=scope, kind=kind, name=name, mentions=frozenset(mentions), to=to)
