"""Compile expressions and templates of the configuration, and evaluate them for events.

Errors of the configuration are TemplateFaultError. Errors of an event are UnmappableError. LookupNeeded
means that a record must be looked up first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.runtime import Context

from integration.domain.errors import UnmappableError
from integration.mapping.expressions.checker import Checker, TemplateFaultError
from integration.mapping.expressions.data import Absent, as_text, bounded
from integration.mapping.expressions.environment import ENVIRONMENT
from integration.mapping.expressions.rewriting import (
    PlaceholderRewriter,
    Rewriter,
    as_placeholder,
    only_placeholder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

LOOKUP_NAMES = frozenset({"contact", "record"})
NAMES = LOOKUP_NAMES | {"event", "vars", "delivery", "now", "body"}
MAX_SOURCE = 4_000  # characters of a template
_RUN_TIME_ERRORS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
    AttributeError,
    OSError,  # ZoneInfo raises it for a name that is a folder of the zone data
)


class TemplateContext:
    """The names that templates can read and their values, prepared once for all templates of an event."""

    __slots__ = ("context", "names")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        # Equivalent to `Template.new_context` without globals and blocks, in a fifth of the time.
        self.context = Context(ENVIRONMENT, dict(names), None, _NO_BLOCKS)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    `names` are the top-level names that it reads. `variables` are the keys of `vars` that it reads
    without a default.
    """

    source: str
    names: frozenset[str]
    variables: frozenset[str]
    _run: Callable[[Context], Any]

    def evaluate(self, **names: Any) -> Any:
        """Return the expression's value, or None if it is absent.

        Raise UnmappableError with the field `expression` if it cannot be evaluated for this event. Raise
        LookupNeeded if it reads a record that is not looked up yet, and ValueError if a name that it
        reads is missing from `names`.
        """
        return self.evaluated(TemplateContext(names))

    def evaluated(self, context: TemplateContext) -> Any:
        """Return the expression's value as `evaluate` does, from a prepared context."""
        value = _guarded("expression", self.names, self._run, context)
        return None if isinstance(value, Absent) else value


@dataclass(frozen=True, slots=True)
class Text:
    """A compiled template. `names` and `variables` have the same meaning as in Expression."""

    source: str
    names: frozenset[str]
    variables: frozenset[str]
    _run: Callable[[Context], Any]

    def value(self, context: TemplateContext) -> str | int | float | date:
        """Return the rendered text, or the typed value of a template that is a single placeholder.

        Raise the same errors as `render`.
        """
        value: str | float | date = _guarded("template", self.names, self._run, context)
        return value

    def render(self, **names: Any) -> str:
        """Return the rendered text.

        Raise UnmappableError with the field `template` if the template cannot be evaluated, if the value
        of a placeholder is absent, null, blank, or not a text, number or date, and if the text is blank
        or longer than MAX_TEXT. Raise LookupNeeded and ValueError as `Expression.evaluate` does.
        """
        return as_text(self.value(TemplateContext(names)))


@lru_cache(maxsize=8192)
def expression(source: str, allowed: frozenset[str] = NAMES) -> Expression:
    """Return the compiled form of a Jinja expression such as `event.a == 'x'`.

    `allowed` are the top-level names that it may use. Raise TemplateFaultError if it is invalid.
    """
    with _CompileFaults(source):
        parser = Parser(ENVIRONMENT, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError("more than one expression", parser.stream.current.lineno)
        read = Checker(allowed).reads_of(tree)
        return Expression(source, *read, _compile_expression(Rewriter().visit(tree)))


@lru_cache(maxsize=8192)
def text(source: str, allowed: frozenset[str] = NAMES) -> Text:
    """Return the compiled form of a Jinja template such as `57{{ event.phone | digits }}`.

    `allowed` are the top-level names that it may use. Raise TemplateFaultError if it is invalid.
    """
    with _CompileFaults(source):
        tree = ENVIRONMENT.parse(source)
        read = Checker(allowed).reads_of(tree)
        placeholder = only_placeholder(tree)
        if placeholder is not None:
            return Text(source, *read, _compile_expression(as_placeholder(Rewriter().visit(placeholder))))
        return Text(source, *read, _compile_text(PlaceholderRewriter().visit(tree)))


def _guarded(
    field: str, needed: frozenset[str], run: Callable[[Context], Any], context: TemplateContext
) -> Any:
    if not needed <= context.names.keys():
        raise ValueError(f"names without a value: {', '.join(sorted(needed - context.names.keys()))}")
    try:
        return run(context.context)
    except UnmappableError as error:
        if error.field == field:
            raise
        raise UnmappableError(field, error.found, error.allowed) from error
    except _RUN_TIME_ERRORS as error:
        # The messages of these errors quote values, so only the type is reported.
        raise UnmappableError(
            field,
            f"an expression that failed ({type(error).__name__})",
            "values that its filters and operators accept",
        ) from None


class _CompileFaults:
    """Context manager that converts the compile errors of Jinja and Python to TemplateFaultError.

    The constructor raises TemplateFaultError for a source that is blank or longer than MAX_SOURCE.
    """

    def __init__(self, source: str) -> None:
        if not source.strip():
            raise TemplateFaultError("no content", "a template that is not empty")
        if len(source) > MAX_SOURCE:
            raise TemplateFaultError(f"{len(source)} characters", f"at most {MAX_SOURCE} characters")

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TemplateSyntaxError):
            raise TemplateFaultError(
                f"a syntax error: {error.message} (line {error.lineno})",
                "valid Jinja syntax",
            ) from error
        if isinstance(error, RecursionError | MemoryError | SyntaxError | OverflowError):
            raise TemplateFaultError(
                "brackets or operators that are nested too deeply", "a simpler template"
            ) from error


def _compile_expression(tree: nodes.Expr) -> Callable[[Context], Any]:
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), tree, lineno=1)]
    template = _from_tree(nodes.Template(body, lineno=1))

    def run(context: Context) -> Any:
        for _ in template.root_render_func(context):
            pass
        return context.vars.pop("result")

    return run


def _compile_text(tree: nodes.Template) -> Callable[[Context], str]:
    template = _from_tree(tree)

    def run(context: Context) -> str:
        rendered = bounded("".join(template.root_render_func(context)))
        if not rendered.strip():
            raise UnmappableError("template", "a blank text", "a value")
        return rendered

    return run


_NO_BLOCKS: dict[str, Any] = {}


def _from_tree(tree: nodes.Template) -> Template:
    tree.set_environment(ENVIRONMENT)
    return ENVIRONMENT.from_string(tree)
