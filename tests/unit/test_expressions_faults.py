"""Faults of the configuration: what does not compile, and what the message says."""

from __future__ import annotations

import pytest

from integration.mapping.expressions import (
    MAX_SOURCE,
    TemplateFaultError,
    expression,
    text,
)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("evnt.a", "'evnt'"),
        ("event.a ==", "line 1"),
        ("event.a event.b", "more than one"),
        ("", "no content"),
        ("   ", "no content"),
        ("event.a | uper", "'uper'"),
        ("event.a is text", "'text'"),
        ("event.a.frobnicate()", "'frobnicate'"),
        ("x" * (MAX_SOURCE + 1), "characters"),
        ("(" * 1500 + "event.a" + ")" * 1500, "nested"),
        ("not " * 900 + "event.a", "nested"),
    ],
)
def test_an_expression_that_does_not_compile_says_why(source, words):
    with pytest.raises(TemplateFaultError, match=words):
        expression(source)


@pytest.mark.parametrize("source", ["{{ event.a", "{{ event.a }} {% endif %}", "{{ }}", "", "{{ nope }}"])
def test_a_text_that_does_not_compile_is_a_value_error(source):
    with pytest.raises(ValueError, match="Use "):
        text(source)


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(TemplateFaultError) as caught:
        text("{{ evento.a }}")
    assert caught.value.allowed.endswith('Did you mean "event"?')


def test_only_the_names_that_are_allowed_may_be_read():
    with pytest.raises(TemplateFaultError):
        expression("contact.x", frozenset({"event"}))


def test_a_name_that_is_not_given_is_an_error_of_the_caller():
    with pytest.raises(ValueError, match="names without a value: contact"):
        expression("contact.x").evaluate(event={})


def test_the_words_of_vars_that_have_no_default_are_known():
    made = text(
        "{{ vars.a }}{{ vars['b'] }}{{ vars.c | default('x') }}{% if vars.d is defined %}{{ vars.d }}{% endif %}"
    )
    assert made.variables == {"a", "b"}
    assert expression("event.vars.x == vars.y and vars[event.z]").variables == {"y"}


def test_the_same_source_is_compiled_once():
    assert text("{{ event.once }}") is text("{{ event.once }}")
    assert expression("event.once") is expression("event.once")
