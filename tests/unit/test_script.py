"""The script of the store: whatever a command may call is made in a run for that command."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from integration.store.scripting.protocol import SCRIPT

_GUARD = re.compile(r"^if is_command\((.*?)\) then$(.*?)^end$", re.MULTILINE | re.DOTALL)
_FUNCTION = re.compile(r"^( *)(?:local )?function ([\w.]+)\(.*?(?:^\1end$| end$)", re.MULTILINE | re.DOTALL)
_MENTION = re.compile(r"\b[A-Z][a-z]+\.[a-z_]+\b|\b[a-z_]+(?=\()")


@dataclass(frozen=True)
class Function:
    name: str
    text: str
    commands: frozenset[str] | None
    """The commands for which it is made; None for all."""


def functions():
    found = []

    def add(text, commands):
        found.extend(Function(match[2], match[0], commands) for match in _FUNCTION.finditer(text))

    code = re.sub(r"--[^\n]*", "", SCRIPT)
    for guard in _GUARD.finditer(code):
        add(guard[2], frozenset(re.findall(r"'(\w+)'", guard[1])))
    add(_GUARD.sub("", code), None)
    return found


FUNCTIONS = functions()
NAMES = {function.name for function in FUNCTIONS}
COMMANDS = sorted(name.removeprefix("COMMANDS.") for name in NAMES if name.startswith("COMMANDS."))


def missing(command):
    """Return the functions that a run for a command may reach and that are not made in it."""
    made = {f.name: f for f in FUNCTIONS if f.commands is None or command in f.commands}
    start = f"COMMANDS.{command}"
    reached, left = set(), [start, "History.meet", *(name for name in made if name.startswith("PushResult."))]
    while left:
        name = left.pop()
        if name in reached or name not in NAMES:
            continue
        reached.add(name)
        if name in made:
            left += _MENTION.findall(made[name].text)
    return reached - set(made)


def test_the_commands_are_found():
    assert len(COMMANDS) > 30
    assert {"admit", "acquire", "finish", "search", "purge"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_command_may_call_is_made_for_it(command):
    assert missing(command) == set()


def test_a_function_that_is_not_made_is_noticed(monkeypatch):
    narrowed = [
        Function(f.name, f.text, frozenset({"finish"})) if f.name == "Queue.acquire" else f for f in FUNCTIONS
    ]
    monkeypatch.setattr(__name__ + ".FUNCTIONS", narrowed)
    assert missing("acquire") == {"Queue.acquire"}
