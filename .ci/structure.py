"""Prints how the code is laid out, and fails where it is over the limits.

Limits: entries in a folder, lines of a file, lines of a function, public class names that stand twice.
Folders of data, templates and tests are exempt from the first.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
PACKAGES = ("integration", "workers")
TESTS = ("tests", "bench")

MOST_ENTRIES = 15
MOST_ENTRIES_OF_ROOT = 18
MOST_LINES = 500
MOST_FUNCTION_LINES = 60
SHOWN = 5

DATA_FOLDERS = frozenset({"lua", "static", "templates", "translations", "vendor", "es", "pt_BR", "presets"})


def entries(folder: Path) -> list[str]:
    """Return the names of a folder's modules and packages, without dunder files and caches."""
    return [each.name for each in folder.iterdir() if not each.name.startswith(("__", "."))]


def folders() -> Iterator[Path]:
    """Yield every folder of code, but those of data."""
    for package in PACKAGES:
        for folder in (ROOT / package, *(ROOT / package).rglob("*/")):
            if not DATA_FOLDERS & set(folder.relative_to(ROOT).parts) and "__pycache__" not in folder.parts:
                yield folder


def modules(*packages: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each module, relative to the project, with its text."""
    for package in packages:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")


def functions(path: str, text: str) -> Iterator[tuple[int, str]]:
    """Yield the length in lines and the place of each function."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1, f"{path}:{node.lineno} {node.name}"


def public_classes(path: str, text: str) -> Iterator[tuple[str, str]]:
    """Yield the name and the place of each public class of a module."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"{path}:{node.lineno}"


def main() -> int:
    """Print the figures. Return 1 if one is over its limit, else 0."""
    faults: list[str] = []
    sys.stdout.write("Entries of folders\n")
    for count, folder in sorted(((len(entries(each)), each) for each in folders()), reverse=True):
        name = str(folder.relative_to(ROOT))
        most = MOST_ENTRIES_OF_ROOT if name == "integration" else MOST_ENTRIES
        sys.stdout.write(f"  {count:3}  {name}\n")
        if count > most:
            faults.append(f"{name} has {count} entries; at most {most}. Group some of them in a package.")
    code = list(modules(*PACKAGES))
    files = sorted(((len(text.splitlines()), path) for path, text in code), reverse=True)
    long_tests = [(len(text.splitlines()), path) for path, text in modules(*TESTS)]
    sys.stdout.write("Longest files\n")
    for lines, path in files[:SHOWN]:
        sys.stdout.write(f"  {lines:4}  {path}\n")
    faults += [
        f"{path} has {lines} lines; at most {MOST_LINES}. Split it by subject."
        for lines, path in (*files, *long_tests)
        if lines > MOST_LINES
    ]
    longest = sorted((each for path, text in code for each in functions(path, text)), reverse=True)
    sys.stdout.write("Longest functions\n")
    for lines, place in longest[:SHOWN]:
        sys.stdout.write(f"  {lines:4}  {place}\n")
    faults += [
        f"{place} has {lines} lines; at most {MOST_FUNCTION_LINES}."
        for lines, place in longest
        if lines > MOST_FUNCTION_LINES
    ]
    places: dict[str, list[str]] = defaultdict(list)
    for path, text in code:
        for name, place in public_classes(path, text):
            places[name].append(place)
    twice = {name: found for name, found in places.items() if len(found) > 1}
    sys.stdout.write(f"Public classes: {len(places)}, of one name: {len(twice)}\n")
    faults += [f"class {name} stands in {' and '.join(found)}; rename one." for name, found in twice.items()]
    for fault in faults:
        sys.stdout.write(f"structure: {fault}\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
