"""Expressions and texts of the configuration, in Jinja's language, compiled once and run in a small sandbox.

A template reads items of the data it is given and nothing else: no attribute of a Python object is
ever reached, no function called, nothing looped over, so time and size are bounded by the template
and the data. Absent, null and blank never become text. Errors describe what was found, never quote it.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, wraps
from types import MappingProxyType
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError, TemplateSyntaxError
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS as JINJA_TESTS
from jinja2.visitor import NodeTransformer

from integration.errors import UnmappableError
from integration.schedule import format_fault, in_zone, parse_day, parse_format, parse_moment

NAMES = frozenset({"event", "vars", "delivery", "now", "contact", "body"})
MAX_SOURCE = 4_000  # characters of a template
MAX_TEXT = 10_000  # characters that a template, or a step inside it, may make
_EXACT_FLOAT = 2**53  # above it a float no longer says which whole number was sent
_MAX_DIGITS = 40


class TemplateFaultError(ValueError):
    """A template or expression does not compile: `found` and `allowed` go into the configuration's fault."""

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"found {found}; allowed: {allowed}")
        self.found = found
        self.allowed = allowed


class LookupNeeded(Exception):  # noqa: N818  (a signal: nothing is wrong, the record must be read first)
    """A template touched `contact`, which has not been looked up yet."""


class _NotLookedUp:
    """Stands for a contact that is not read yet; any use of it raises LookupNeeded."""

    __slots__ = ()

    def _touch(self, *_: object) -> NoReturn:
        raise LookupNeeded

    __bool__ = __str__ = __len__ = __iter__ = __contains__ = __getitem__ = _touch
    __lt__ = __le__ = __gt__ = __ge__ = _touch

    def __eq__(self, other: object) -> bool:
        raise LookupNeeded

    def __hash__(self) -> int:
        raise LookupNeeded

    def __repr__(self) -> str:
        return "NOT_LOOKED_UP"


NOT_LOOKED_UP = _NotLookedUp()


class Absent(Undefined):
    """A field that is not there: falsy, equal to nothing, not even to itself; neither greater nor less."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def _never(self, *_: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never  # type: ignore[assignment]  # Undefined's own ones raise

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        raise UnmappableError("template", "an absent field", "a value")


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression.

    `names` are the top-level names that it reads, `words` the entries of `vars` that it cannot do without.
    """

    source: str
    names: frozenset[str]
    words: frozenset[str]
    _run: Callable[[Mapping[str, Any]], Any]

    def evaluate(self, **names: Any) -> Any:
        """Give the expression's value; None when it is absent.

        Raises UnmappableError with the field `expression` when it cannot be worked out for this event,
        LookupNeeded when it touches a contact that is not looked up yet, and ValueError when a name
        that it reads is not given.
        """
        value = _guarded("expression", self.names, self._run, names)
        return None if isinstance(value, Absent) else value


@dataclass(frozen=True, slots=True)
class Text:
    """A compiled text with holes; `names` and `words` as for an Expression."""

    source: str
    names: frozenset[str]
    words: frozenset[str]
    _run: Callable[[Mapping[str, Any]], Any]

    def value(self, **names: Any) -> str | int | float | date:
        """Give what the text makes; where it is one hole and nothing else, that value with its type.

        Raises as `render` does.
        """
        value: str | float | date = _guarded("template", self.names, self._run, names)
        return value

    def render(self, **names: Any) -> str:
        """Give the text with its holes filled.

        Raises UnmappableError with the field `template` when a hole is absent, null, blank, or not a
        text, number or date; LookupNeeded and ValueError as `Expression.evaluate` does.
        """
        return as_text(self.value(**names))


@lru_cache(maxsize=8192)
def expression(source: str, allowed: frozenset[str] = NAMES) -> Expression:
    """Compile a Jinja expression such as `event.a == 'x'`; `allowed` are the top-level names it may use.

    Raises TemplateFaultError, a ValueError.
    """
    with _CompileFaults(source):
        parser = Parser(_ENVIRONMENT, source, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise TemplateSyntaxError("more than one expression", parser.stream.current.lineno)
        read = _Checker(allowed).reads_of(tree)
        return Expression(source, *read, _compile_expression(_Rewriter().visit(tree)))


@lru_cache(maxsize=8192)
def text(source: str, allowed: frozenset[str] = NAMES) -> Text:
    """Compile a text with Jinja holes such as `57{{ event.phone | digits }}`.

    Raises TemplateFaultError, a ValueError.
    """
    with _CompileFaults(source):
        tree = _ENVIRONMENT.parse(source)
        read = _Checker(allowed).reads_of(tree)
        hole = _only_hole(tree)
        if hole is not None:
            return Text(source, *read, _compile_expression(_hole(_Rewriter().visit(hole))))
        return Text(source, *read, _compile_text(_HoleRewriter().visit(tree)))


def as_text(value: object) -> str:
    """Write a text, number or date as text; raises UnmappableError for anything else, and for too much of it.

    A whole float is written as a whole number: JSON readers make floats of `12345.0`.
    """
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else _refuse_text(f"a text of {len(value)} characters")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**_MAX_DIGITS else _refuse_text("a number with too many digits")
    if isinstance(value, float):
        return _float_as_text(value)
    return _refuse_text(kind(value))


def kind(value: object) -> str:
    """Name what a value is, in the words of JSON, without saying what it holds."""
    if is_missing(value):
        return "null" if value is None else "an absent field"
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return "something that is not data"


def is_missing(value: object) -> bool:
    """Tell whether a value is absent or null; raises LookupNeeded for a contact that is not looked up."""
    if value is NOT_LOOKED_UP:
        raise LookupNeeded
    return value is None or isinstance(value, Undefined)


_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "true or false"),
    ((str,), "a text"),
    ((int, float), "a number"),
    ((datetime,), "a moment"),
    ((date,), "a date"),
    ((Mapping,), "an object"),
    ((list, tuple, range), "a list"),
)


def _float_as_text(value: float) -> str:
    if value.is_integer():
        return str(int(value)) if abs(value) < _EXACT_FLOAT else _refuse_text("a number too big to be exact")
    written = repr(value)
    return written if re.fullmatch(r"-?\d+\.\d+", written) else _refuse_text("a number out of range")


def _refuse_text(found: str) -> NoReturn:
    raise UnmappableError("template", found, f"a text, number or date of at most {MAX_TEXT} characters")


# --- running ---------------------------------------------------------------------------------

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


def _guarded(
    field: str, needed: frozenset[str], run: Callable[[Mapping[str, Any]], Any], names: Mapping[str, Any]
) -> Any:
    if not needed <= names.keys():
        raise ValueError(f"not given: {', '.join(sorted(needed - names.keys()))}")
    try:
        return run(names)
    except UnmappableError as error:
        if error.field == field:
            raise
        raise UnmappableError(field, error.found, error.allowed) from error
    except _RUN_TIME_ERRORS as error:
        # Their messages quote values; the type says enough.
        raise UnmappableError(
            field, f"values that do not fit ({type(error).__name__})", "values of the kinds used together"
        ) from None


class _Environment(ImmutableSandboxedEnvironment):
    """A dot reads an item of a mapping, an index an item of a list, and nothing else is ever read."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Read a field: an item of a mapping, or a part of a date."""
        if is_missing(obj):
            return obj if isinstance(obj, Absent) else Absent(name=attribute)
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else Absent(name=attribute)
        if isinstance(obj, date) and attribute in _DATE_PARTS:
            return getattr(obj, attribute, None)
        return Absent(name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Read an item of a mapping, list or text by its key or place."""
        if isinstance(argument, str):
            return self.getattr(obj, argument)
        if is_missing(obj) or is_missing(argument):
            return Absent()
        try:
            return obj[argument] if isinstance(obj, Mapping | list | tuple | str) else Absent()
        except LookupError:
            return Absent()

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002  (Jinja's)
        """Calculate with numbers; `+` also joins texts and lists. Absent stays absent."""
        if is_missing(left) or is_missing(right):
            return Absent()
        if _is_number(left) and _is_number(right):
            return self.binop_table[operator](left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return _bounded(left + right)
        if operator == "+" and isinstance(left, list) and isinstance(right, list):
            return left + right
        raise TypeError(operator)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:  # noqa: ARG002  (Jinja's)
        """Give a number its sign. Absent stays absent."""
        if is_missing(arg):
            return Absent()
        if not _is_number(arg):
            raise TypeError(operator)
        return self.unop_table[operator](arg)


_DATE_PARTS = frozenset({"year", "month", "day", "hour", "minute", "second"})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounded(made: str) -> str:
    return made if len(made) <= MAX_TEXT else _refuse_text(f"a text of {len(made)} characters")


# --- filters ---------------------------------------------------------------------------------


def _propagating(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a filter give absent for anything absent or null that it is given, and no lazy lists."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for given in (*args[first:], *kwargs.values()):
            if is_missing(given):
                return Absent()
        made = function(*args, **kwargs)
        if isinstance(made, Iterator):
            return [None if isinstance(item, Undefined) else item for item in made]
        return made

    return guarded


def _text_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(value: object, *args: Any, **kwargs: Any) -> Any:
        made = function(as_text(value), *args, **kwargs)
        return _bounded(made) if isinstance(made, str) else made

    return _propagating(applied)


def _default(value: object, fallback: object = "", boolean: object = False) -> object:  # noqa: FBT002  (Jinja's)
    """Give `fallback` for what is absent, null or blank; with `boolean`, for 0, false and empty lists too."""
    unset = is_missing(value) or (isinstance(value, str) and not value.strip())
    return fallback if unset or (boolean and not value) else value


def _replace(value: str, old: str, new: str, count: int = -1) -> str:
    old, new = as_text(old), as_text(new)
    if len(value) + value.count(old) * len(new) > MAX_TEXT:
        _refuse_text("a text that grows too long")
    return value.replace(old, new, count)


def _zfill(value: str, width: int) -> str:
    return value.zfill(min(width, MAX_TEXT))


def _digits(value: str) -> str:
    """Keep the digits, written as ASCII."""
    return "".join(str(int(c)) for c in value if c.isdecimal())


def _slice(value: Any, start: int | None, stop: int | None, step: int | None) -> Any:
    if is_missing(value):
        return Absent()
    if not isinstance(value, str | list | tuple):
        raise TypeError("slice")
    return value[start:stop:step]


def _join(value: Any, separator: str = "", attribute: Any = None) -> Any:
    parts = list(value)
    if attribute is not None:
        parts = [_ENVIRONMENT.getitem(part, attribute) for part in parts]
    if any(is_missing(part) for part in parts):
        return Absent()
    return _bounded(as_text(separator).join(as_text(part) for part in parts))


def _flatten(value: Any) -> list[Any]:
    """Make one list of a list of lists."""
    return [inner for part in value for inner in (part if isinstance(part, list | tuple) else (part,))]


def _int(value: object) -> int:
    return int(float(as_text(value))) if isinstance(value, float) else int(as_text(value).strip())


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(0, min(precision, _MAX_DIGITS)))


def _float(value: object) -> float:
    return float(as_text(value))


def _concat(*parts: Any) -> Any:
    return _bounded("".join(as_text(part) for part in parts))


def _date(value: object, form: str | None = None) -> datetime | date:
    if form is None:
        return parse_moment(value)
    if format_fault(form) is not None:  # a format that the template got from elsewhere
        raise UnmappableError("recall_date", "a format that cannot be used", "a strptime format")
    return parse_format(value, form)


def _in_named_zone(value: object, name: str) -> datetime:
    """Put a moment on the clock of a zone; one without a zone is read on that clock."""
    moment = parse_moment(value)
    if not isinstance(moment, datetime):
        raise UnmappableError("recall_date", "a date alone", "a moment with a time of day")
    return in_zone(moment, ZoneInfo(name))


def _plus(value: object, *, minutes: float = 0, hours: float = 0, days: float = 0) -> datetime | date:
    """Move a moment: days go by the calendar of its zone, minutes and hours are time that passes."""
    moment = parse_moment(value)
    later = timedelta(minutes=minutes, hours=hours)
    if not isinstance(moment, datetime):
        if later:
            raise UnmappableError("recall_date", "a date alone", "a moment with a time of day")
        return moment + timedelta(days=days)
    moment += timedelta(days=days)
    zone = moment.tzinfo
    return (moment.astimezone(UTC) + later).astimezone(zone) if zone else moment + later


def _strftime(value: object, form: str) -> str:
    moment = parse_moment(value)
    return moment.strftime(form)


def _ordered(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if is_missing(left) or is_missing(right):
            return False
        return bool(test(left, right))

    return compare


def _contains(left: Any, right: Any) -> bool:
    if is_missing(left) or is_missing(right):
        return False
    return left in right


def _hole_value(value: object, place: str) -> str | float | date:
    """Let pass what may stand in a hole: a text that is not blank, a number, a date."""
    if is_missing(value):
        raise UnmappableError(
            "template", f"{place}, which is {'null' if value is None else 'absent'}", "a value"
        )
    if isinstance(value, str) and not value.strip():
        raise UnmappableError("template", f"{place}, which is blank", "a value")
    try:
        as_text(value)
    except UnmappableError as error:
        raise UnmappableError("template", f"{place}, which is {error.found}", error.allowed) from None
    return value  # type: ignore[return-value]  # as_text refuses all other types


def _hole_text(value: object, place: str) -> str:
    return as_text(_hole_value(value, place))


_TEXT_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "string": str,
        "upper": str.upper,
        "lower": str.lower,
        "capitalize": str.capitalize,
        "title": str.title,
        "trim": str.strip,
        "strip": str.strip,
        "lstrip": str.lstrip,
        "rstrip": str.rstrip,
        "replace": _replace,
        "split": str.split,
        "startswith": str.startswith,
        "endswith": str.endswith,
        "removeprefix": str.removeprefix,
        "removesuffix": str.removesuffix,
        "isdigit": str.isdigit,
        "zfill": _zfill,
        "digits": _digits,
    }
)
_VALUE_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "date": _date,
        "day": parse_day,
        "zone": _in_named_zone,
        "plus": _plus,
        "strftime": _strftime,
        "join": _join,
        "flatten": _flatten,
        "int": _int,
        "float": _float,
        "round": _round,
    }
)
_JINJA_FILTERS = (
    "abs", "count", "first", "last", "length", "list", "map", "max", "min", "reject", "rejectattr",
    "reverse", "select", "selectattr", "sort", "unique",
)  # fmt: skip
_OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "~": _propagating(_concat),
        "[:]": _slice,
        "hole": _hole_value,
        "hole text": _hole_text,
        "compare lt": _ordered(operator.lt),
        "compare lteq": _ordered(operator.le),
        "compare gt": _ordered(operator.gt),
        "compare gteq": _ordered(operator.ge),
        "compare in": _contains,
    }
)
_METHODS = frozenset({*_TEXT_FILTERS, "strftime"} - {"string", "trim", "digits"})
_TESTS = (
    "boolean", "defined", "divisibleby", "eq", "==", "equalto", "even", "false", "float", "ge", ">=", "gt",
    ">", "greaterthan", "in", "integer", "iterable", "le", "<=", "lessthan", "lower", "lt", "<", "mapping",
    "ne", "!=", "none", "number", "odd", "sequence", "string", "true", "undefined", "upper",
)  # fmt: skip
_TESTS_OF_ABSENT = frozenset({"defined", "undefined", "none", "ne", "!="})


def _jinja_test(name: str) -> Callable[..., Any]:
    return JINJA_TESTS[name]  # type: ignore[return-value]  # their table has no types


def _test(name: str) -> Callable[..., Any]:
    function = _jinja_test(name)

    @wraps(function)
    def guarded(value: Any, *args: Any) -> bool:
        if is_missing(value) and name not in _TESTS_OF_ABSENT:
            return value is None and name in {"eq", "==", "equalto"} and args == (None,)
        return bool(function(value, *args))

    return guarded


def _environment() -> _Environment:
    environment = _Environment(undefined=Absent, autoescape=False, cache_size=0, optimized=False)
    environment.globals.clear()
    environment.filters = {
        **{name: _propagating(JINJA_FILTERS[name]) for name in _JINJA_FILTERS},
        **{name: _text_filter(function) for name, function in _TEXT_FILTERS.items()},
        **{name: _propagating(function) for name, function in _VALUE_FILTERS.items()},
        **_OPERATIONS,
        "default": _default,
        "d": _default,
    }
    environment.tests = {name: _test(name) for name in _TESTS}
    return environment


FILTERS = tuple(sorted({*_JINJA_FILTERS, *_TEXT_FILTERS, *_VALUE_FILTERS, "default", "d"}))
_ENVIRONMENT = _environment()


# --- compiling -------------------------------------------------------------------------------

_ALLOWED_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Name, nodes.Const, nodes.List,
    nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.Filter, nodes.Test, nodes.Call, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.CondExpr, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
    nodes.Neg, nodes.Pos,
)  # fmt: skip


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


class _Checker:
    """Refuses whatever a template has no business with, before it is compiled."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._names: set[str] = set()
        self._words: set[str] = set()
        self._spare_words: set[str] = set()

    def reads_of(self, tree: nodes.Node) -> tuple[frozenset[str], frozenset[str]]:
        """Give the top-level names that are read, and the words of `vars` that have no default."""
        self._check(tree)
        return frozenset(self._names), frozenset(self._words - self._spare_words)

    def _check(self, node: nodes.Node) -> None:
        if not isinstance(node, _ALLOWED_NODES):
            raise TemplateFaultError(
                f"{type(node).__name__.lower()} in line {node.lineno}", "holes, filters, tests, {% if %}"
            )
        check = self._CHECKS.get(type(node))
        if check is not None:
            check(self, node)
        for child in node.iter_child_nodes():
            self._check(child)

    def _check_name(self, node: Any) -> None:
        if node.name not in self._allowed:
            _unknown("the name", node.name, self._allowed)
        self._names.add(node.name)

    def _check_field(self, node: Any) -> None:
        self._words.update(_word_of(node))

    def _check_filter(self, node: Any) -> None:
        if node.name not in FILTERS:
            _unknown("the filter", node.name, FILTERS)
        self._check_arguments(node)
        if node.name in {"default", "d"}:
            self._spare_words.update(_word_of(node.node))
        if node.name == "map" and node.args:
            self._check_mapped_filter(node.args[0])
        if node.name == "date" and node.args:
            self._check_format(node.args[0])
        if node.name == "zone" and node.args:
            self._check_zone(node.args[0])

    def _check_test(self, node: Any) -> None:
        if node.name not in _TESTS:
            _unknown("the test", node.name, _TESTS)
        self._check_arguments(node)
        if node.name in {"defined", "undefined"}:
            self._spare_words.update(_word_of(node.node))

    def _check_call(self, node: Any) -> None:
        if not isinstance(node.node, nodes.Getattr):
            raise TemplateFaultError(
                f"a call in line {node.lineno}", "filters, such as {{ event.x | digits }}"
            )
        if node.node.attr not in _METHODS:
            _unknown("the method", node.node.attr, _METHODS)
        self._check_arguments(node)

    def _check_arguments(self, node: Any) -> None:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateFaultError(f"* or ** in line {node.lineno}", "arguments one by one")

    def _check_mapped_filter(self, name: nodes.Expr) -> None:
        if not isinstance(name, nodes.Const) or name.value not in FILTERS:
            raise TemplateFaultError("map with an unknown filter", f"one of {', '.join(FILTERS)}")

    def _check_format(self, form: nodes.Expr) -> None:
        fault = (
            format_fault(form.value)
            if isinstance(form, nodes.Const) and isinstance(form.value, str)
            else None
        )
        if fault is not None:
            raise TemplateFaultError(fault, "a strptime format such as %d/%m/%Y %H:%M")

    def _check_zone(self, name: nodes.Expr) -> None:
        if not isinstance(name, nodes.Const):
            return
        try:
            ZoneInfo(name.value)
        except (LookupError, ValueError, TypeError, OSError) as error:
            raise TemplateFaultError(
                "zone with an unknown name", "an IANA name such as America/Bogota"
            ) from error

    _CHECKS: Mapping[type, Callable[..., None]] = MappingProxyType(
        {
            nodes.Name: _check_name,
            nodes.Getattr: _check_field,
            nodes.Getitem: _check_field,
            nodes.Filter: _check_filter,
            nodes.Test: _check_test,
            nodes.Call: _check_call,
        }
    )


def _word_of(node: nodes.Node) -> frozenset[str]:
    """Give the word in `vars.word` or `vars['word']`, as a set; an empty one for all other nodes."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem) or not isinstance(node.node, nodes.Name):
        return frozenset()
    key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
    return frozenset({key}) if node.node.name == "vars" and isinstance(key, str) else frozenset()


def _unknown(what: str, name: str, known: Any) -> NoReturn:
    words = sorted(known)
    near = difflib.get_close_matches(name, words, n=1)
    hint = f"{near[0]} (nearest), or " if near else ""
    raise TemplateFaultError(f"{what} {name!r}", f"{hint}one of {', '.join(words)}")


class _Rewriter(NodeTransformer):
    """Makes filters of what Jinja would do to Python objects directly: methods, slices, `~`, `<`, `in`."""

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802  (Jinja names it by the node)
        self.generic_visit(node)
        method = node.node
        assert isinstance(method, nodes.Getattr)  # noqa: S101  (_Checker lets no other call pass)
        return _filter(method.node, method.attr, node.args, node.kwargs)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802  (as above)
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = [part or nodes.Const(None) for part in (node.arg.start, node.arg.stop, node.arg.step)]
        return _filter(node.node, "[:]", ends)

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802  (as above)
        self.generic_visit(node)
        if node.expr2 is None:
            node.expr2 = _filter(nodes.Const(None), "~", [])  # absent
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802  (as above)
        self.generic_visit(node)
        return _filter(node.nodes[0], "~", node.nodes[1:])

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802  (as above)
        self.generic_visit(node)
        left, compared = node.expr, []
        for operand in node.ops:
            compared.append(_comparison(left, operand))
            left = operand.expr
        whole = compared[0]
        for further in compared[1:]:
            whole = nodes.And(whole, further, lineno=node.lineno)
        return whole


class _HoleRewriter(_Rewriter):
    """Also lets each hole of a text decide for itself whether what it holds will do."""

    def visit_Output(self, node: nodes.Output) -> nodes.Node:  # noqa: N802  (as above)
        self.generic_visit(node)
        node.nodes = [
            part
            if isinstance(part, nodes.TemplateData)
            else _filter(part, "hole text", [nodes.Const(_place(part))])
            for part in node.nodes
        ]
        return node


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


def _hole(rewritten: nodes.Expr) -> nodes.Filter:
    return _filter(rewritten, "hole", [nodes.Const(_place(rewritten))])


def _place(node: nodes.Expr) -> str:
    """Spell the path that a hole reads, as far as it is one."""
    if isinstance(node, nodes.Filter) and node.node is not None:
        return _place(node.node)
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_place(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return f"{_place(node.node)}[{node.arg.value!r}]"
    return f"a hole in line {node.lineno or 1}"


def _only_hole(tree: nodes.Template) -> nodes.Expr | None:
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


def _compile_expression(tree: nodes.Expr) -> Callable[[Mapping[str, Any]], Any]:
    body: list[nodes.Node] = [nodes.Assign(nodes.Name("result", "store"), tree, lineno=1)]
    template = _from_tree(nodes.Template(body, lineno=1))

    def run(names: Mapping[str, Any]) -> Any:
        context = template.new_context(dict(names))
        for _ in template.root_render_func(context):
            pass
        return context.vars["result"]

    return run


def _compile_text(tree: nodes.Template) -> Callable[[Mapping[str, Any]], str]:
    template = _from_tree(tree)

    def run(names: Mapping[str, Any]) -> str:
        made = _bounded("".join(template.root_render_func(template.new_context(dict(names)))))
        if not made.strip():
            raise UnmappableError("template", "a text without content", "a value")
        return made

    return run


def _from_tree(tree: nodes.Template) -> Template:
    tree.set_environment(_ENVIRONMENT)
    return _ENVIRONMENT.from_string(tree)
