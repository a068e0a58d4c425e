"""Mutants have their places in the code. That each is noticed is shown by `make mutants`, which takes minutes."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter

import pytest

from faults.mutants import MUTANTS
from faults.mutants.code import Code, PlaceError
from faults.mutants.mutant import ROOT, path_of
from faults.mutants.report import REPORT


def names_in(path, text):
    """Return the names that code of either language reads by themselves, not as part of something."""
    if path.suffix == ".py":
        return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    return set(re.findall(r"(?<![.\w'\"])[A-Za-z_]\w*", text))


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_mutant_has_its_place_in_the_code_and_uses_names_that_are_there(mutant):
    """A name that is not there would make the tests fail for another reason than the guard that is gone."""
    for edit in mutant.edits:
        path, text = edit.changed(ROOT)
        there = set().union(*(names_in(each, each.read_text("utf-8")) for each in ROOT.glob(edit.file)))
        assert names_in(path, text) - there <= {*dir(builtins), "tostring"}


PYTHON = """
LIMIT = 5
NAMES = ["one", "two"]

class Box:
    def put(self, thing, *, loud=False):
        \"\"\"Put it in.\"\"\"
        if thing is None or len(thing) > LIMIT:
            raise ValueError
        if not loud:
            self.note(thing, level="low")
        try:
            return self.keep(thing)
        except KeyError:
            return None
"""

LUA = """
local LIMIT = 5 -- if LIMIT then

function Box.put(l, thing)
  if thing == nil or #thing > LIMIT then return 'refused' end
  for _, each in ipairs({thing}) do Box.note(l, each, 'low') end
  local first, second = thing, Box.keep(l, thing)
  return first and {kept = second}
end
"""


@pytest.fixture
def put(tmp_path):
    """Return a function that applies an edit to the two files and gives the one that it changed."""
    (tmp_path / "box.py").write_text(PYTHON)
    (tmp_path / "box.lua").write_text(LUA)
    return lambda edit: edit.changed(tmp_path)[1]


PY, SCRIPT = Code("*.py"), Code("*.lua")


@pytest.mark.parametrize(
    ("edit", "before", "after"),
    [
        (PY.condition("put", "LIMIT"), "len(thing) > LIMIT", "False"),
        (PY.condition("Box.put", "LIMIT", "is"), "thing is None or len(thing) > LIMIT", "False"),
        (PY.condition("put", "loud", to="True"), "not loud", "True"),
        (PY.condition("put", "thing", "-LIMIT"), "thing is None", "False"),
        (PY.statement("put", "ValueError"), "raise ValueError", "pass"),
        (PY.statement("put", "note"), 'self.note(thing, level="low")', "pass"),
        (PY.call("put", "keep", to="{0}"), "self.keep(thing)", "thing"),
        (PY.argument("put", "note", "level", to="None"), '"low"', "None"),
        (PY.argument("put", "note", 0, to="0"), "note(thing,", "note(0,"),
        (PY.result("put", "keep", to="{it} or 1"), "self.keep(thing)", "self.keep(thing) or 1"),
        (PY.value("", "LIMIT", to="9"), "= 5", "= 9"),
        (PY.element("", "one", of="NAMES"), '["one",', "[*(),"),
        (PY.caught("put"), "KeyError", "ZeroDivisionError"),
        (SCRIPT.condition("Box.put", "LIMIT"), "#thing > LIMIT", "false"),
        (SCRIPT.statement("Box.put", "refused"), "return 'refused'", ""),
        (SCRIPT.statement("Box.put", "note"), "Box.note(l, each, 'low')", ""),
        (SCRIPT.call("Box.put", "ipairs", to="{0}"), "ipairs({thing})", "{thing}"),
        (SCRIPT.argument("Box.put", "Box.note", 2, to="''"), "'low'", "''"),
        (SCRIPT.value("Box.put", "second", to="nil"), "Box.keep(l, thing)", "nil"),
        (SCRIPT.value("", "LIMIT", to="9"), "= 5", "= 9"),
        (SCRIPT.result("Box.put", "first", to="nil"), "first and {kept = second}", "nil"),
    ],
    ids=str,
)
def test_an_edit_changes_its_place_and_nothing_else(edit, before, after, put):
    text = PYTHON if edit.file == PY.file else LUA
    assert text.count(before) == 1
    assert put(edit) == text.replace(before, after)


def test_a_body_is_replaced_behind_its_docstring(put):
    assert put(PY.body("put", "return 1")).endswith('"""Put it in."""\n        return 1\n')


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (PY.condition("put", "nobody"), "not found"),
        (PY.condition("nowhere", "LIMIT"), "not found"),
        (PY.condition("put"), "found 3 times"),
        (PY.value("", "LIMIT", to="5"), "nothing changes"),
        (SCRIPT.condition("Box.put", "nobody"), "not found"),
        (SCRIPT.call("Box.put", "Box.lend", to="nil"), "not found"),
    ],
)
def test_a_place_that_is_not_there_once_is_an_error(edit, why, put):
    with pytest.raises(PlaceError, match=why):
        put(edit)


@pytest.mark.parametrize(
    "edit", [PY.condition("put", "loud", to="if"), SCRIPT.condition("Box.put", "LIMIT", to="then")]
)
def test_what_can_no_longer_be_read_is_an_error(edit, put):
    with pytest.raises(SyntaxError):
        put(edit)


def test_every_mutant_names_tests_that_there_are():
    for mutant in MUTANTS:
        assert mutant.tests, mutant.guard
        for test in mutant.tests:
            file, _, name = test.partition("::")
            text = (ROOT / path_of(file)).read_text("utf-8")
            function = name.partition("[")[0]
            assert not name or f"def {function}(" in text, (mutant.guard, test)


def test_no_guard_is_named_twice():
    assert [name for name, count in Counter(m.guard for m in MUTANTS).items() if count > 1] == []


def test_the_page_names_mutants_that_there_are_and_tests_that_there_are():
    rows = dict(
        re.findall(r"^\| ([^|]+) \| [^|]+ \| `([^`|]+)` \|$", REPORT.read_text("utf-8"), re.MULTILINE)
    )
    assert len(rows) >= 60
    assert set(rows) <= {mutant.guard for mutant in MUTANTS}, "make mutants writes docs/mutants.md anew"
    for guard, test in rows.items():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path_of(file)).read_text("utf-8"), (guard, test)
