"""The pieces of a Python module."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from .node import Kind, Node

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
_OPERATORS = {ast.Not: "not", ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in"}


def nodes_of(text: str) -> list[Node]:
    """Return the pieces of a module. Raise SyntaxError."""
    return list(_PythonReader(text).nodes(ast.parse(text), ""))


class _PythonReader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [0]
        for line in text.encode().splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._bytes = text.encode()
        self._assigned: dict[ast.AST, str] = {}

    def nodes(self, node: ast.AST, scope: str) -> Iterator[Node]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            scope = f"{scope}.{node.name}" if scope else node.name
            yield self._node(Kind.SCOPE, node, name=scope)
            first = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            yield self._node(Kind.BODY, first[0], until=node.body[-1], name=scope)
        if isinstance(node, ast.stmt):
            yield self._node(Kind.STATEMENT, node, mentions=_own_mentions(node))
        yield from self._pieces(node)
        if isinstance(node, ast.JoinedStr):
            return  # before 3.12, what is in an f-string has no place of its own
        for child in ast.iter_child_nodes(node):
            yield from self.nodes(child, scope)

    def _pieces(self, node: ast.AST) -> Iterator[Node]:
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.Assert(test=test):
                yield self._node(Kind.CONDITION, test)
            case ast.BoolOp(values=operands) | ast.comprehension(ifs=operands):
                yield from (self._node(Kind.CONDITION, operand) for operand in operands)
            case ast.Call():
                yield from self._call(node)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                name = self._assigned.get(node, "")
                yield from (self._node(Kind.ELEMENT, each, name=name) for each in elements)
            case ast.Return(value=ast.expr() as value):
                yield self._node(Kind.RESULT, value)
            case ast.ExceptHandler(type=ast.expr() as caught):
                yield self._node(Kind.CAUGHT, caught)
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign() | ast.NamedExpr():
                yield from self._assignment(node)

    def _call(self, call: ast.Call) -> Iterator[Node]:
        name = ast.unparse(call.func)
        yield self._node(Kind.CALL, call, name=name, parts=self._parts(call))
        for place, each in enumerate(call.args):
            yield self._node(Kind.ARGUMENT, each, name=f"{name} {place}")
        for keyword in call.keywords:
            yield self._node(Kind.ARGUMENT, keyword.value, name=f"{name} {keyword.arg}")

    def _assignment(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr) -> Iterator[Node]:
        if node.value is None:
            return
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            self._assigned[node.value] = ast.unparse(target)
            yield self._node(Kind.VALUE, node.value, name=ast.unparse(target))

    def _parts(self, call: ast.Call) -> tuple[str, ...]:
        return tuple(self._source(each) for each in [*call.args, *call.keywords])

    def _source(self, node: ast.AST) -> str:
        return self._bytes[self._at(node.lineno, node.col_offset) : self._end(node)].decode()

    def _node(
        self,
        kind: Kind,
        node: ast.AST,
        *,
        until: ast.AST | None = None,
        name: str = "",
        mentions: frozenset[str] | None = None,
        parts: tuple[str, ...] = (),
    ) -> Node:
        start = self._at(node.lineno, node.col_offset)
        end = self._end(until or node)
        found = mentions_of(node) if mentions is None else mentions
        return Node(kind, self._place(start), self._place(end), name, found, parts)

    def _at(self, line: int, column: int) -> int:
        return self._lines[line - 1] + column

    def _end(self, node: ast.AST) -> int:
        return self._at(node.end_lineno, node.end_col_offset)

    def _place(self, byte: int) -> int:
        return len(self._bytes[:byte].decode())


def mentions_of(node: ast.AST) -> frozenset[str]:
    """Return the identifiers and constants in a piece, and operators that are words."""
    return frozenset(found for each in ast.walk(node) for found in _names(each))


def _own_mentions(statement: ast.stmt) -> frozenset[str]:
    heads = (
        child
        for field, value in ast.iter_fields(statement)
        if field not in _BLOCKS
        for child in (value if isinstance(value, list) else [value])
        if isinstance(child, ast.AST)
    )
    own = (statement.name,) if isinstance(statement, ast.FunctionDef | ast.ClassDef) else ()
    return frozenset(own).union(*map(mentions_of, heads))


def _names(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
            yield name
        case ast.keyword(arg=str() as name):
            yield name
        case ast.Constant(value=value):
            yield str(value)
        case ast.Not() | ast.Is() | ast.IsNot() | ast.In() | ast.NotIn():
            yield _OPERATORS[type(node)]
