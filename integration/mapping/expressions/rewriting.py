"""Rewrite the syntax tree of a checked template, so that most operations become filters of `filters`.

The filters accept absent values and limit the size of results. Arithmetic operators are handled by the
sandbox, `==` and `!=` by Python.
"""

from __future__ import annotations

from jinja2 import nodes
from jinja2.visitor import NodeTransformer


class Rewriter(NodeTransformer):
    """Replaces methods, slices, `~`, `in` and comparisons other than `==` and `!=` by filters."""

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802  (Jinja names it by the node)
        """Replace a method call by a filter."""
        self.generic_visit(node)
        method = node.node
        assert isinstance(method, nodes.Getattr)  # noqa: S101  (Checker lets no other call pass)
        return _filter(method.node, method.attr, node.args, node.kwargs)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802  (as above)
        """Replace a slice by a filter."""
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = [part or nodes.Const(None) for part in (node.arg.start, node.arg.stop, node.arg.step)]
        return _filter(node.node, "[:]", ends)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802  (as above)
        """Make the result absent if there is no `else`."""
        self.generic_visit(node)
        if node.expr2 is None:
            node.expr2 = _filter(nodes.Const(None), "~", [])  # absent
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  (as above)
        """Replace `~` by a filter."""
        self.generic_visit(node)
        return _filter(node.nodes[0], "~", node.nodes[1:])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802  (as above)
        """Replace each comparison of a chain by a filter, except `==` and `!=`."""
        self.generic_visit(node)
        left, compared = node.expr, []
        for operand in node.ops:
            compared.append(_comparison(left, operand))
            left = operand.expr
        whole = compared[0]
        for further in compared[1:]:
            whole = nodes.And(whole, further, lineno=node.lineno)
        return whole


class PlaceholderRewriter(Rewriter):
    """A Rewriter that also makes each placeholder reject absent, null and blank values."""

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802  (as above)
        """Add the filter `placeholder text` to each placeholder."""
        self.generic_visit(node)
        node.nodes = [
            part
            if isinstance(part, nodes.TemplateData)
            else _filter(part, "placeholder text", [nodes.Const(_place(part))])
            for part in node.nodes
        ]
        return node


def only_placeholder(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression of a template that consists of one placeholder and white space, else None."""
    outputs = [node for node in tree.body if isinstance(node, nodes.Output)]
    if len(outputs) != len(tree.body):
        return None
    parts = [
        part
        for output in outputs
        for part in output.nodes
        if not (isinstance(part, nodes.TemplateData) and not part.data.strip())
    ]
    only = parts[0] if len(parts) == 1 else None
    return None if isinstance(only, nodes.TemplateData) else only


def as_placeholder(rewritten: nodes.Expr) -> nodes.Filter:
    """Return the expression with the filter `placeholder`, which rejects missing and blank values."""
    return _filter(rewritten, "placeholder", [nodes.Const(_place(rewritten))])


def _comparison(left: nodes.Expr, operand: nodes.Operand) -> nodes.Expr:
    if operand.op in {"eq", "ne"}:
        return nodes.Compare(left, [operand], lineno=operand.lineno)
    if operand.op == "notin":
        return nodes.Not(_filter(left, "compare in", [operand.expr]), lineno=operand.lineno)
    return _filter(left, f"compare {operand.op}", [operand.expr])


def _filter(
    subject: nodes.Expr, name: str, args: list[nodes.Expr], kwargs: list[nodes.Keyword] | None = None
) -> nodes.Filter:
    return nodes.Filter(subject, name, args, kwargs or [], None, None, lineno=subject.lineno or 1)


def _place(node: nodes.Expr) -> str:
    """Return the path that a placeholder reads, such as `event.phone`, or a text with its line number."""
    if isinstance(node, nodes.Filter) and node.node is not None:
        return _place(node.node)
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_place(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{_place(node.node)}[{node.arg.value!r}]"
    return f"a placeholder in line {node.lineno or 1}"
