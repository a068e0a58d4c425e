"""Expressions and texts of the configuration: compiled once, run for every event.

What is wrong with the configuration is a TemplateFaultError, what is wrong with an event an UnmappableError;
LookupNeeded is neither.
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
from integration.mapping.expressions.rewriting import HoleRewriter, Rewriter, as_hole, only_hole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date

NAMES = frozenset({"event", "vars", "delivery", "now", "contact", "body"})
MAX_SOURCE = 4_000  # characters of a template
_RUN_TIME_ERRORS = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    RecursionError,
    AttributeError,
    OSError,  # a zone's name that is a folder of the zone data
)


class TemplateContext:
    """The values of the names that templates read, made ready once for all templates that read them."""

    __slots__ = ("context", "names")

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        # As `Template.new_context` makes it where there are no globals and blocks, for a fifth of the time.
        self.context = Context(ENVIRONMENT, dict(names), None, _NO_BLOCKS)


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    `names` are the top-level names that it reads, `words` the entries of `vars` that it cannot do without.
    """

    source: str
    names: frozenset[str]
    words: frozenset[str]
    _run: Callable[[Context], Any]

    def evaluate(self, **names: Any) -> Any:
        """Give the expression's value; None when it is absent.

        Raises UnmappableError with the field `expression` when it cannot be worked out for this event,
        LookupNeeded when it touches a contact that is not looked up yet, and ValueError when a name
        that it reads is not given.
        """
        return self.evaluated(TemplateContext(names))

    def evaluated(self, told: TemplateContext) -> Any:
        """Do as `evaluate`, with names that are ready."""
        value = _guarded("expression", self.names, self._run, told)
        return None if isinstance(value, Absent) else value


@dataclass(frozen=True, slots=True)
class Text:
    """A compiled text with holes; `names` and `words` as for an Expression."""

    source: str
    names: frozenset[str]
    words: frozenset[str]
    _run: Callable[[Context], Any]

    def value(self, told: TemplateContext) -> str | int | float | date:
        """Give what the text makes; where it is one hole and nothing else, that value with its type.

        Raises as `render` does.
        """
        value: str | float | date = _guarded("template", self.names, self._run, told)
        return value

    def render(self, **names: Any) -> str:
        """Give the text with its holes filled.

        Raises UnmappableError with the field `template` when a hole is absent, null, blank, or not a
        text, number or date; LookupNeeded and ValueError as `Expression.evaluate` does.
        """
        return as_text(self.value(TemplateContext(names)))


@lru_cache(maxsize=8192)
def expression(source: str, allowed: frozenset[str] = NAMES) -> Expression:
    """Compile a Jinja expression such as `event.a == 'x'`; `allowed` are the top-level names it may use.

    Raises TemplateFaultError, a ValueError.
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
    """Compile a text with Jinja holes such as `57{{ event.phone | digits }}`.

    Raises TemplateFaultError, a ValueError.
    """
    with _CompileFaults(source):
        tree = ENVIRONMENT.parse(source)
        read = Checker(allowed).reads_of(tree)
        hole = only_hole(tree)
        if hole is not None:
            return Text(source, *read, _compile_expression(as_hole(Rewriter().visit(hole))))
        return Text(source, *read, _compile_text(HoleRewriter().visit(tree)))


def _guarded(field: str, needed: frozenset[str], run: Callable[[Context], Any], told: TemplateContext) -> Any:
    if not needed <= told.names.keys():
        raise ValueError(f"not given: {', '.join(sorted(needed - told.names.keys()))}")
    try:
        return run(told.context)
    except UnmappableError as error:
        if error.field == field:
            raise
        raise UnmappableError(field, error.found, error.allowed) from error
    except _RUN_TIME_ERRORS as error:
        # Their messages quote values; the type says enough.
        raise UnmappableError(
            field, f"values that do not fit ({type(error).__name__})", "values of the kinds used together"
        ) from None


class _CompileFaults:
    """Turns what Jinja and Python say about a source into one TemplateFaultError."""

    def __init__(self, source: str) -> None:
        if not source.strip():
            raise TemplateFaultError("an empty text", "a text that is not empty")
        if len(source) > MAX_SOURCE:
            raise TemplateFaultError(f"{len(source)} characters", f"at most {MAX_SOURCE}")

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TemplateSyntaxError):
            raise TemplateFaultError(
                f"{error.message} (line {error.lineno})", "Jinja that compiles"
            ) from error
        if isinstance(error, RecursionError | MemoryError | SyntaxError | OverflowError):
            raise TemplateFaultError("brackets or operators nested too deep", "something simpler") from error


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
        made = bounded("".join(template.root_render_func(context)))
        if not made.strip():
            raise UnmappableError("template", "a text without content", "a value")
        return made

    return run


_NO_BLOCKS: dict[str, Any] = {}


def _from_tree(tree: nodes.Template) -> Template:
    tree.set_environment(ENVIRONMENT)
    return ENVIRONMENT.from_string(tree)
