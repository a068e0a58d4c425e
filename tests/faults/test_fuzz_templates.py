"""The sandbox of templates against who writes them, and against what events hold: data is never a template."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.delivery import Delivery, Event
from integration.domain.errors import UnmappableError
from integration.mapping.expressions import FILTERS, MAX_TEXT, TemplateFaultError, expression, text
from integration.mapping.expressions.data import MAX_LIST, MAX_MADE
from integration.mapping.expressions.filters import METHODS, TESTS
from integration.mapping.planner import CancelWanted, Parked, RecallWanted, plan_event
from integration.mapping.routes import CompiledRoutes
from integration.services.configuration import watch_config
from support import ENVIRON, two_accounts, write_config
from support.fuzzing import bounded, examples

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)

# Known ways out of Jinja sandboxes, and what people try first: server-side template injection in other
# engines, format strings, dunder walks by dot, index, filter, escape and Unicode look-alikes.
PAYLOADS = [
    "{{ 7*7 }}",
    "{{7*'7'}}",
    "${7*7}",
    "#{7*7}",
    "<%= 7*7 %>",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''|attr('__class__')|attr('__mro__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''['__cla'+'ss__'] }}",
    "{{ ''[['__cla','ss__']|join] }}",
    "{{ ()|map(attribute='__class__')|list }}",
    "{{ [()]|map(attribute='__class__.__base__')|list }}",
    "{{ [[]]|groupby('__class__') }}",
    "{{ [1]|sum(attribute='__class__') }}",
    "{{ [1]|sort(attribute='__class__') }}",
    "{{ [1]|selectattr('__class__') | list }}",
    "{{ [1]|min(attribute='__class__') }}",
    "{{ [1]|unique(attribute='__class__') | list }}",
    "{{ ['x']|join(attribute='__class__') }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os.environ }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ config.items() }}",
    "{{ request.application.__globals__ }}",
    "{{ dict(a=1).__class__ }}",
    "{{ range(10**9)|list }}",
    "{{ '%s'|format(7) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(event) }}",
    "{{ '{0.__class__}'.format_map(event) }}",
    "{{ ('{0.__class__}'|e).format(event) }}",
    "{{ event.a.format }}",
    "{{ event['format'] }}",
    "{{ (event.a|string).format(event) }}",
    "{{ 'a'.join.__self__ }}",
    "{{ event.a.ﬀ }}",
    "{{ event.__ｃlass__ }}",
    "{{ ''.__𝐜lass__ }}",
    "{{ now.__class__ }}",
    "{{ now.__reduce__() }}",
    "{{ now.strftime.__self__ }}",
    "{{ now.tzinfo.from_file }}",
    "{{ delivery.headers.__init__.__globals__ }}",
    "{{ delivery.headers._headers }}",
    "{{ delivery.headers.get('a') }}",
    "{{ vars.__class__ }}",
    "{% print(7*7) %}",
    "{% set x = 7 %}{{ x }}",
    "{% for c in [1,2,3] %}{{ c }}{% endfor %}",
    "{% for c in range(10**9) %}{% endfor %}",
    "{% if ''.__class__ %}x{% endif %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% extends '/etc/passwd' %}",
    "{% raw %}{{ 7*7 }}{% endraw %}",
    "{% block a %}{% endblock %}{{ self.a() }}",
    "{{ 2**2**2**2**2 }}",
    "{{ 9**9**9 }}",
    "{{ 'a'*10**10 }}",
    "{{ [0]*10**10 }}",
    "{{ 10**10**10 }}",
    "{{ 1 << 10**10 }}",
    "{{ event.a.zfill(10**10) }}",
    "{{ event.a|center(10**10) }}",
    "{{ event.a|indent(10**10) }}",
    "{{ event.a|wordwrap(1) }}",
    "{{ event.a|batch(10**10)|list }}",
    "{{ event.a|slice(10**10)|list }}",
    "{{ event.a|replace('', 'x'*10**10) }}",
    "{{ event.a|truncate(10**10) }}",
    "{{ event.a|urlize }}",
    "{{ event|pprint }}",
    "{{ event|tojson }}",
    "{{ event|dictsort }}",
    "{{ event|items }}",
    "{{ event.values() }}",
    "{{ event.items() }}",
    "{{ event.update(event) }}",
    "{{ event.__setitem__('a', 1) }}",
    "{{ caller() }}",
    "{{ loop.cycle }}",
    "{{ varargs }}{{ kwargs }}",
    "{{ event.a() }}",
    "{{ (event.a)(1) }}",
    "{{ [event.a][0]() }}",
    "{{ event.a.strip.__call__() }}",
    "{{ event.a.strip(**{'chars': 'x'}) }}",
    "{{ event.a is callable }}",
    "{{ event.a is filter }}",
    "{{ event.a is sameas event }}",
    "{{ true and ''.__class__ }}",
    "{{ ''.__class__ if true }}",
    "{{ {'__class__': ''}['__class__'].__class__ }}",
    "{{ {event.a: 1}|list }}",
    "{{ ''[0:10].__class__ }}",
    "{{ ''.__class__ ~ '' }}",
    "{# {{ 7*7 }} #}",
    "{{ '\\u007b\\u007b 7*7 }}' }}",
]
EVENT = {
    "a": "x",
    "n": 7,
    "f": 1.5,
    "t": True,
    "null": None,
    "list": ["a", "b", 1],
    "rows": [{"p": "1", "__class__": "its own field"}, {"p": None}],
    "__class__": "its own field",
    "format": "its own field",
}
GIVEN = {"event": EVENT, "now": NOW, "vars": {"w": "v"}, "delivery": {"headers": {"x": "1"}, "source": "s"}}
LEAKS = (
    "<class",
    "<function",
    "<built-in",
    "<bound",
    "object at 0x",
    "<module",
    "<slot",
    "mappingproxy",
    "os.environ",
)


def require_data(made):
    """Fail unless it is data, and none that speaks of Python's objects."""
    if isinstance(made, list | tuple):
        for item in made:
            require_data(item)
    elif isinstance(made, dict):
        require_data([*made, *made.values()])
    else:
        assert made is None or isinstance(made, str | int | float | bool | date), type(made)
        assert not any(leak in str(made) for leak in LEAKS)


def evaluated(source):
    """Give what an expression makes, as far as it compiles and fits."""
    with contextlib.suppress(TemplateFaultError, UnmappableError):
        return expression(source).evaluate(**GIVEN)
    return None


def rendered(source):
    """Give what a text makes, as far as it compiles and fits."""
    with contextlib.suppress(TemplateFaultError, UnmappableError):
        return text(source).render(**GIVEN)
    return None


# --- who writes templates --------------------------------------------------------------------


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_known_way_out_of_a_sandbox_leads_anywhere(payload):
    inner = payload.removeprefix("{{").removesuffix("}}").strip()
    for wrapped in (
        payload,
        f"57{payload}",
        f"{{{{ event.a | default({inner}) }}}}",
        f"{{% if {inner} %}}x{{% endif %}}",
    ):
        with bounded(2.0):
            require_data(rendered(wrapped))
    for wrapped in (
        inner,
        f"event.a == ({inner})",
        f"event.a | replace('x', {inner})",
        f"[{inner}] | map('string') | list",
    ):
        with bounded(2.0):
            require_data(evaluated(wrapped))


DUNDERS = (
    *(
        "__class__",
        "__mro__",
        "__base__",
        "__subclasses__",
        "__init__",
        "__globals__",
        "__builtins__",
        "__dict__",
    ),
    *("__import__", "__getattribute__", "__self__", "__func__", "__code__", "__reduce_ex__", "mro", "format"),
    *(
        "format_map",
        "gi_frame",
        "f_globals",
        "tzinfo",
        "_headers",
        "get",
        "items",
        "keys",
        "pop",
        "environment",
    ),
)
ROOTS = st.sampled_from(
    [
        "event",
        "event.a",
        "event.list",
        "event.rows",
        "now",
        "vars",
        "delivery.headers",
        "''",
        "[]",
        "{}",
        "1",
        "true",
        "none",
    ]
)
STEPS = st.one_of(
    st.sampled_from(DUNDERS).map(".{}".format),
    st.sampled_from(DUNDERS).map("['{}']".format),
    st.sampled_from(DUNDERS).map(".{}()".format),
    st.sampled_from(DUNDERS).map(" | attr('{}')".format),
    st.sampled_from(DUNDERS).map(" | map(attribute='{}') | list".format),
    st.sampled_from([*FILTERS, *METHODS]).map(" | {}".format),
    st.tuples(st.sampled_from([*FILTERS, *METHODS]), st.sampled_from([*FILTERS, *DUNDERS])).map(
        lambda pair: f" | {pair[0]}('{pair[1]}')"
    ),
    st.tuples(
        st.sampled_from([*FILTERS, *METHODS]),
        st.sampled_from(["event", "event.list", "10000000000", "-1", "none"]),
    ).map(lambda pair: f" | {pair[0]}({pair[1]})"),
    st.sampled_from(TESTS).map(" is {}".format),
    st.sampled_from(
        [
            "[0]",
            "[-1]",
            "[::-1]",
            "[0:99999999999]",
            "()",
            ".0",
            " ~ event.a",
            " + event.list",
            " * 99999999999",
        ]
    ),
)


@examples(400)
@given(root=ROOTS, steps=st.lists(STEPS, min_size=1, max_size=5))
def test_no_walk_over_attributes_filters_and_tests_reaches_more_than_data(root, steps):
    source = root
    for step in steps:
        source = f"({source}{step})" if step.startswith(" ") else source + step
    with bounded(2.0):
        require_data(evaluated(source))
        require_data(rendered(f"{{{{ {source} }}}}"))


@examples(200)
@given(source=st.text(max_size=60) | st.lists(st.sampled_from(["{{", "}}", "{%", "%}", "{#", "#}", "event", ".", "a", "|", "if", "endif", "'", '"', "(", ")", "[", "]", "\n", "\0", "-"]), max_size=25).map(" ".join))  # fmt: skip
def test_any_text_is_a_template_or_a_fault_of_the_configuration(source):
    for compile_, run in ((expression, evaluated), (text, rendered)):
        with bounded(2.0):
            with contextlib.suppress(TemplateFaultError):
                compile_(source)
            require_data(run(source))


# --- what events hold ------------------------------------------------------------------------

ROUTES = """
[vars]
team = "{{ 7*7 }}"

[sources.crm]
kind = "json"
verify = "bearer"
secrets = ["env:ZAPIER_KEY"]
events = "body.items"
dedup_key = "{{ event.id }}"
event_time = "{{ event.at }}"

[[routes]]
name = "taken back"
source = "crm"
account = "bogota"
when = "event.gone"
action = "cancel"
campaign_id = "{{ event.campaign }}"
customer_id = "{{ event.customer }}"

[[routes]]
name = "wanted"
source = "crm"
account = "bogota"
when = "event.customer and event.kind != 'other' or event.customer in event.list"
campaign_id = "{{ event.campaign | default(vars.team) }}"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone | default('3001112233') }}"
recall_date = "{{ event.at | default(now) }}"
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compiled")
    return CompiledRoutes.of(watch_config(write_config(folder, two_accounts() + ROUTES), ENVIRON).current)


def planned(compiled, data):
    delivery = Delivery(
        id="dl_1",
        source="crm",
        method="POST",
        url="https://x/hooks/crm",
        headers={},
        body=b"",
        received_at=NOW,
    )
    return plan_event(compiled, delivery, Event(data=data), NOW)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_template_in_an_event_is_a_text_like_any_other(compiled, payload):
    outcome = planned(compiled, {"customer": payload, "campaign": payload})
    assert isinstance(outcome, RecallWanted)
    assert (outcome.request.customer_id, outcome.request.campaign_id) == (payload.strip(), payload.strip())
    taken_back = planned(compiled, {"customer": payload, "campaign": payload, "gone": payload})
    assert isinstance(taken_back, CancelWanted)
    assert taken_back.request.customer_id == payload.strip()
    for field in ("phone", "at"):
        outcome = planned(compiled, {"customer": "c", "campaign": "1", field: payload})
        assert isinstance(outcome, Parked)
        assert "49" not in outcome.found


def test_a_template_in_vars_is_a_text_like_any_other(compiled):
    assert planned(compiled, {"customer": "c"}).request.campaign_id == "{{ 7*7 }}"


@pytest.mark.parametrize("name", sorted(FILTERS))
@pytest.mark.parametrize("payload", ["{{ 7*7 }}", "{0.__class__}", "%(x)s %s", "<script>", "__class__"])
def test_no_filter_makes_a_template_of_its_input(name, payload):
    event = {"v": payload, "rows": [{payload: payload, "p": payload}], "list": [payload]}
    for source in (
        *(f"event.v | {name}", f"event.list | {name}", f"event.rows | {name}", f"event.v | {name}(event.v)"),
        *(
            f"event.rows | {name}(event.v)",
            f"event.list | {name}(event.v, event.v)",
            f"event.rows | {name}('p')",
        ),
    ):
        with contextlib.suppress(TemplateFaultError, UnmappableError):
            made = expression(source).evaluate(event=event)
            require_data(made)
            assert "49" not in str(made)


WORDS = st.sampled_from(PAYLOADS) | st.text(max_size=30)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=10,
)


@examples(200)
@given(event=st.fixed_dictionaries({}, optional=dict.fromkeys(["customer", "campaign", "phone", "at", "gone", "kind", "list", "id"], DATA)) | DATA)  # fmt: skip
def test_whatever_an_event_holds_it_has_an_outcome(compiled, event):
    with bounded(2.0):
        outcome = planned(compiled, event)
    if isinstance(outcome, RecallWanted | CancelWanted):
        sent = outcome.request
        assert sent.customer_id == (
            event["customer"].strip() if isinstance(event["customer"], str) else sent.customer_id
        )
        assert len(sent.customer_id) <= 256
        assert sent.customer_id.isprintable() or not any(
            c in sent.customer_id for c in "\0\n\r\x1b\x85\u2028"
        )


# --- too much --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        " + ".join(["event.rows"] * 60),
        "[" + ", ".join(["event.rows"] * 60) + "] | flatten",
        "event.rows | select('in', event.rows) | list",
        "event.rows | map('zfill', 9999) | list",
        "event.rows | map('map', 'zfill', 9999) | list",
        "[event.short, event.short] | map('map', 'replace', '', event.long) | list",
        "event.rows | unique | sort | reverse | list | join",
        "event.long | list | map('replace', 'y', event.long) | list",
        "event.some | select('in', event.others) | list",
        "event.some | reject('in', event.others) | list",
        "event.nested | map('map', 'zfill', 9000) | list",
        "event.rows in event.rows",
        "event.rows is in [event.rows]",
        "event.wide * event.wide * event.wide * event.wide",
        "event.short | map('round', event.wide) | list",
    ],
)
def test_lists_do_not_grow_and_are_not_gone_over_for_each_other_without_end(source):
    rows = [str(number) for number in range(150_000)]
    halves = {"some": rows[:20_000], "others": rows[20_000:40_000], "nested": [["a"] * 50] * 400}
    event = {**halves, "rows": rows, "short": rows[:200], "long": "y" * (MAX_TEXT - 1), "wide": 2**63}
    with bounded(3.0), contextlib.suppress(UnmappableError):
        made = expression(source).evaluate(event=event)
        assert not isinstance(made, list) or len(made) <= MAX_LIST
        assert len(str(made)) <= 2 * MAX_MADE


def test_a_list_of_as_many_events_as_a_delivery_may_have_is_no_long_list():
    rows = [{"id": number, "tags": ["a", "b"]} for number in range(1000)]
    made = expression("(body.items + body.more) | selectattr('id', 'ge', 0) | list").evaluate(
        body={"items": rows, "more": rows}
    )
    assert len(made) == 2000


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ event.v | date('%d/%m/%Y %I:%M %p') }}", "1" + " " * 1_000_000 + "x"),
        ("{{ event.v | date('%d/%m/%Y %I:%M %p') }}", " a" * 500_000),
        ("{{ event.v | date('%d/%m/%Y') }}", "1/" * 500_000),
        ("{{ event.v | date }}", "2026-03-02" * 100_000),
        ("{{ event.v | day }}", "0" * 1_000_000),
        ("{{ event.v | zone('America/Bogota') }}", "9" * 1_000_000),
        ("{{ '1' | date(event.v) }}", "%d" * 500_000),
        ("{{ now | zone(event.v) }}", "A/" * 500_000),
        ("{{ now.strftime(event.v) }}", "%99999999d" * 1000),
        ("{{ event.v | int }}", "9" * 1_000_000),
        ("{{ event.v | float }}", "9" * 1_000_000),
        ("{{ event.v | title }}", "ß" * 1_000_000),
        ("{{ event.v | split | join }}", " " * 1_000_000),
    ],
)
def test_a_text_of_a_mebibyte_is_refused_or_read_in_little_time(source, value):
    with bounded(2.0), pytest.raises(UnmappableError):
        text(source).render(event={"v": value}, now=NOW)
