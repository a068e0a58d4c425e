"""The pieces of a file of the Lua script: a reader of as much Lua as that takes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .node import Kind, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<space>\s+|--\[\[.*?\]\]|--[^\n]*)
    |(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\[\[.*?\]\])
    |(?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:e[+-]?\d+)?)
    |(?P<name>[A-Za-z_]\w*)
    |(?P<sign>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^#<>=(){}\[\];:,.])""",
    re.VERBOSE | re.DOTALL,
)
_ENDS = frozenset({"end", "else", "elseif", "until", ""})
_BETWEEN = frozenset({"+", "-", "*", "/", "%", "^", "..", "==", "~=", "<", ">", "<=", ">="})
_BEFORE = frozenset({"-", "#"})
_VALUES = frozenset({"nil", "true", "false"})
_WORDS = frozenset(
    {*_ENDS, *_VALUES, "and", "break", "do", "for", "function", "if", "in", "local", "not", "or", "repeat"}
    | {"return", "then", "while"}
)


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int


def nodes_of(text: str) -> list[Node]:
    """Return the pieces of a file. Raise SyntaxError."""
    reader = _LuaReader(text)
    reader.block()
    reader.expect("")
    return reader.nodes


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise SyntaxError(f"not Lua as it is read here: {text[at : at + 30]!r}")
        if found.lastgroup != "space":
            yield _Token(str(found.lastgroup), found[0], at, found.end())
        at = found.end()
    yield _Token("end", "", at, at)


class _LuaReader:
    """Reads statements and expressions from left to right, and notes the pieces that it passes."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(_tokens(text))
        self._at = 0
        self.nodes: list[Node] = []

    # --- tokens ----------------------------------------------------------------------------------

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self, *texts: str) -> bool:
        found = self._next.text in texts and self._next.kind != "text"
        if found:
            self._at += 1
        return found

    def expect(self, text: str) -> None:
        """Go on behind a word or sign. Raise SyntaxError if it is not there."""
        if not self._skip(text):
            line = self._text.count("\n", 0, self._next.start) + 1
            raise SyntaxError(f"line {line}: {text!r} expected, found {self._next.text!r}")

    def _note(self, kind: Kind, since: int, name: str = "", parts: tuple[str, ...] = ()) -> None:
        """Note the piece from token `since` to the one before the next."""
        tokens = self._tokens[since : self._at]
        words = (token.text for token in tokens if token.kind in {"name", "text", "number"})
        mentions = frozenset(word.strip("'\"") for word in words if word not in _WORDS or word == "not")
        self.nodes.append(Node(kind, tokens[0].start, tokens[-1].end, name, mentions, parts))

    def _text_of(self, since: int) -> str:
        return self._text[self._tokens[since].start : self._tokens[self._at - 1].end]

    # --- statements ------------------------------------------------------------------------------

    def block(self) -> None:
        """Read statements up to the end of their block."""
        while self._next.text not in _ENDS or self._next.kind == "text":
            self._statement()

    def _statement(self) -> None:
        since = self._at
        word = self._next.text
        if word in _COMPOUND:
            self._at += 1
            head = _COMPOUND[word](self)
        else:
            self._simple(word)
            head = self._at
        self._skip(";")
        self._note_statement(since, head)

    def _note_statement(self, since: int, head: int) -> None:
        """Note a statement whose own words end before token `head`."""
        end = self._at
        self._at = head
        self._note(Kind.STATEMENT, since)
        self._at = end
        self.nodes[-1] = _ending_at(self.nodes[-1], self._tokens[end - 1].end)

    def _if(self) -> int:
        self._condition()
        self.expect("then")
        head = self._at
        self.block()
        while self._skip("elseif"):
            self._condition()
            self.expect("then")
            self.block()
        if self._skip("else"):
            self.block()
        self.expect("end")
        return head

    def _while(self) -> int:
        self._condition()
        return self._do()

    def _for(self) -> int:
        self._names()
        if not self._skip("="):
            self.expect("in")
        self._expressions()
        return self._do()

    def _do(self) -> int:
        self.expect("do")
        return self._rest_of_block()

    def _rest_of_block(self) -> int:
        head = self._at
        self.block()
        self.expect("end")
        return head

    def _repeat(self) -> int:
        head = self._at
        self.block()
        self.expect("until")
        self._condition()
        return head

    def _function(self) -> int:
        return self._function_body(self._dotted(), self._at - 1)

    def _local(self) -> int:
        if self._skip("function"):
            return self._function_body(self._take().text, self._at - 2)
        names = self._names()
        if self._skip("="):
            self._values(names)
        return self._at

    def _return(self) -> int:
        since = self._at
        if self._next.text not in _ENDS and self._next.text != ";":
            self._expressions()
            self._note(Kind.RESULT, since)
        return self._at

    def _simple(self, word: str) -> None:
        if word == "break":
            self._at += 1
            return
        names = self._targets()
        if self._skip("="):
            self._values(names)

    def _targets(self) -> list[str]:
        found = []
        while True:
            since = self._at
            self._operand()
            found.append(self._text_of(since))
            if not self._skip(","):
                return found

    def _values(self, names: list[str]) -> None:
        since = self._at
        places = self._expressions()
        if len(names) == 1:
            self._note(Kind.VALUE, since, names[0])
            return
        end = self._at
        for name, (first, last) in zip(names, places, strict=False):
            self._at = last
            self._note(Kind.VALUE, first, name)
        self._at = end

    def _names(self) -> list[str]:
        found = [self._take().text]
        while self._skip(","):
            found.append(self._take().text)
        return found

    def _dotted(self) -> str:
        name = self._take().text
        while self._skip(".", ":"):
            name += f".{self._take().text}"
        return name

    def _function_body(self, name: str, since: int) -> int:
        self.expect("(")
        while not self._skip(")"):
            self._at += 1
        head = self._at
        self.block()
        if name and self._at > head:
            self._note(Kind.BODY, head, name)
        self.expect("end")
        if name:
            self._note(Kind.SCOPE, since, name)
        return head

    # --- expressions -----------------------------------------------------------------------------

    def _condition(self) -> None:
        since = self._at
        self._expression()
        self._note(Kind.CONDITION, since)

    def _expressions(self) -> list[tuple[int, int]]:
        """Read a list; return the tokens at which each one begins and ends."""
        found = []
        while True:
            since = self._at
            self._expression()
            found.append((since, self._at))
            if not self._skip(","):
                return found

    def _expression(self) -> None:
        self._joined("or", lambda: self._joined("and", self._compared))

    def _joined(self, word, part) -> None:
        since = self._at
        part()
        if self._next.text != word:
            return
        self._note(Kind.CONDITION, since)
        while self._skip(word):
            since = self._at
            part()
            self._note(Kind.CONDITION, since)

    def _compared(self) -> None:
        self._operand()
        while self._next.text in _BETWEEN and self._next.kind == "sign":
            self._at += 1
            self._operand()

    def _operand(self) -> None:
        while (self._next.text in _BEFORE and self._next.kind == "sign") or self._next.text == "not":
            self._at += 1
        token = self._take()
        since = self._at - 1
        if token.text == "(" and token.kind == "sign":
            self._expression()
            self.expect(")")
        elif token.text == "{" and token.kind == "sign":
            self._table()
            return
        elif token.text == "function":
            self._function_body("", since)
            return
        elif token.kind in {"text", "number"} or token.text in _VALUES or token.text == "...":
            return
        elif token.kind != "name" or token.text in _WORDS:
            self._at -= 1
            self.expect("an expression")
        self._suffixes(since)

    def _suffixes(self, since: int) -> None:
        while True:
            name = self._text_of(since)
            if self._skip(".", ":"):
                self._at += 1
            elif self._skip("["):
                self._expression()
                self.expect("]")
            elif self._next.text == "(" and self._next.kind == "sign":
                self._at += 1
                places = [] if self._next.text == ")" else self._expressions()
                self.expect(")")
                self._note_call(since, name, places)
            else:
                return

    def _note_call(self, since: int, name: str, places: list[tuple[int, int]]) -> None:
        end = self._at
        parts = []
        for place, (first, last) in enumerate(places):
            self._at = last
            parts.append(self._text_of(first))
            self._note(Kind.ARGUMENT, first, f"{name} {place}")
        self._at = end
        self._note(Kind.CALL, since, name, tuple(parts))

    def _table(self) -> None:
        while not self._skip("}"):
            since = self._at
            if self._skip("["):
                self._expression()
                self.expect("]")
                self.expect("=")
            elif self._next.kind == "name" and self._tokens[self._at + 1].text == "=":
                self._at += 2
            first = self._at
            self._expression()
            if first > since:
                self._note(Kind.VALUE, first, self._tokens[since].text)
            self._skip(",", ";")


_COMPOUND = {
    "if": _LuaReader._if,
    "while": _LuaReader._while,
    "for": _LuaReader._for,
    "do": _LuaReader._rest_of_block,
    "repeat": _LuaReader._repeat,
    "function": _LuaReader._function,
    "local": _LuaReader._local,
    "return": _LuaReader._return,
}


def _ending_at(node: Node, end: int) -> Node:
    return Node(node.kind, node.start, end, node.name, node.mentions, node.parts)
