"""A piece of source that a mutant can name: where it stands, and which names it mentions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a piece of source is."""

    SCOPE = "function or class"
    BODY = "body of a function"
    STATEMENT = "statement"
    CONDITION = "condition"
    CALL = "call"
    ARGUMENT = "argument"
    VALUE = "value"
    ELEMENT = "element of a list"
    RESULT = "returned value"
    CAUGHT = "caught exception"


@dataclass(frozen=True, slots=True)
class Node:
    """`start` to `end` in the text.

    `name` is the dotted name of a scope, of what is called, of the argument or of what the value, or the
    list that holds the element, is assigned to. `mentions` are the identifiers and the constants in it; those in the body of a compound statement are
    not the statement's own. `parts` are the texts of a call's arguments.
    """

    kind: Kind
    start: int
    end: int
    name: str = ""
    mentions: frozenset[str] = frozenset()
    parts: tuple[str, ...] = ()

    def holds(self, other: Node) -> bool:
        """Return whether the other piece lies within this one."""
        return self is not other and self.start <= other.start and other.end <= self.end
