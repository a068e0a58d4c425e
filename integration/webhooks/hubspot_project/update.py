"""Merge generated files of a project with edited ones, and keep the edits (three-way merge). Pure.

`base` is the previously generated version, `new` the version generated now, and `current` the edited
version.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Files = dict[str, dict[str, Any]]

_ABSENT: Final = object()
# The keys that identify an item of a list, in subscriptions, options and clients.
_IDENTITY: Final = ("subscriptionType", "objectType", "propertyName", "client", "value")
_SUBSCRIPTION_LISTS: Final = ("crmObjects", "legacyCrmObjects")


def updated_files(
    base: Mapping[str, Any], new: Mapping[str, Any], current: Mapping[str, Any]
) -> tuple[Files, Files]:
    """Return the files to write, and the `base` of the next update.

    Edited and added values stay. Deleted files and values are not generated again. Values that are no
    longer generated are removed, unless they were edited. A subscription that no route needs any more
    becomes inactive, because HubSpot rejects an upload in which a subscription is missing.
    """
    generated = _with_inactive(base, new)
    files = {
        path: content if path not in current else _merged(base.get(path, _ABSENT), content, current[path])
        for path, content in generated.items()
        if path in current or path not in base
    }
    return files, generated


def _with_inactive(base: Mapping[str, Any], new: Mapping[str, Any]) -> Files:
    """Return the new files. Subscriptions that only the base has are added as inactive ones."""
    files = {path: json.loads(json.dumps(content)) for path, content in new.items()}
    for path, content in base.items():
        old = content.get("config", {}).get("subscriptions")
        if old is None:
            continue
        emptied = {**content["config"], "subscriptions": {name: [] for name in old}}
        lists = files.setdefault(path, {**content, "config": emptied})["config"]["subscriptions"]
        for name in _SUBSCRIPTION_LISTS:
            known = {_identity(item) for item in lists[name]}
            lists[name] += [{**item, "active": False} for item in old[name] if _identity(item) not in known]
    return files


def _merged(base: Any, new: Any, current: Any) -> Any:
    if isinstance(new, dict) and isinstance(current, dict):
        return _merged_tables(base if isinstance(base, dict) else {}, new, current)
    if isinstance(new, list) and isinstance(current, list):
        old = _by_identity(base if isinstance(base, list) else [])
        return list(_merged_tables(old, _by_identity(new), _by_identity(current)).values())
    return new if current == base else current


def _merged_tables(base: dict[str, Any], new: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    kept = {
        key: _merged(base.get(key, _ABSENT), new[key], value) if key in new else value
        for key, value in current.items()
        if key in new or value != base.get(key, _ABSENT)
    }
    added = {key: value for key, value in new.items() if key not in current and key not in base}
    return kept | added


def _by_identity(items: list[Any]) -> dict[str, Any]:
    """Return the items of a list by identity. A number distinguishes items with the same identity."""
    found: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for item in items:
        identity = _identity(item)
        counts[identity] += 1
        found[f"{counts[identity]} {identity}"] = item
    return found


def _identity(item: Any) -> str:
    """Return a text that identifies an item of a list.

    It has the name and the values of _IDENTITY, or the whole item if it has none of them.
    """
    if isinstance(item, dict):
        definition = item.get("typeDefinition")
        named = definition.get("name") if isinstance(definition, dict) else None
        values = (named, *(item.get(key) for key in _IDENTITY))
        if any(value is not None for value in values):
            return json.dumps(values)
    return json.dumps(item, sort_keys=True)
