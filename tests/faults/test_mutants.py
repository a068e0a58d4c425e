"""Mutants still fit the code. That each is noticed is shown by `make mutants`, which takes minutes."""

from __future__ import annotations

import re
import shutil
from collections import Counter

import pytest

from faults.mutants import MUTANTS
from faults.mutants.mutant import ROOT, Edit, StaleError, path_of
from faults.mutants.table import TABLE


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.guard)
def test_every_mutant_fits_the_code_once(mutant, tmp_path):
    for path in {path for edit in mutant.edits for path in ROOT.glob(edit.file)}:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    for edit in mutant.edits:
        edit.apply(tmp_path)


@pytest.mark.parametrize("before", ["nowhere to be found", "def "])
def test_a_mutant_whose_text_is_not_there_once_is_an_error(before, tmp_path):
    (tmp_path / "code.py").write_text("def one(): ...\ndef two(): ...\n")
    with pytest.raises(StaleError):
        Edit("code.py", before, "").apply(tmp_path)


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
    rows = dict(re.findall(r"^\| ([^|]+) \| [^|]+ \| `([^`|]+)` \|$", TABLE.read_text("utf-8"), re.MULTILINE))
    assert len(rows) >= 60
    assert set(rows) <= {mutant.guard for mutant in MUTANTS}, "make mutants writes docs/mutants.md anew"
    for guard, test in rows.items():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path_of(file)).read_text("utf-8"), (guard, test)
