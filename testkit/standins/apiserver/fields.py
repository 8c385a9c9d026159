"""Which manager owns which field of an object (pure): server-side apply and what every other write does to it.

Lists are values here, as the API server takes them where a schema does not say otherwise; nothing the project writes
holds one.

Source: structured-merge-diff v4, merge/update.go: conflicts are with whoever owns a field of another value; what an
applier no longer applies is removed unless somebody else, applier or updater, owns it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

FieldPath = tuple[str, ...]

_NOBODYS: frozenset[FieldPath] = frozenset(
    [("apiVersion",), ("kind",)]
    + [
        ("metadata", name)
        for name in (
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
        )
    ]
)


@dataclass(frozen=True, order=True)
class Owner:
    """A field manager, and how it writes: ``Apply`` or ``Update``."""

    manager: str
    operation: str


Owners = Mapping[Owner, frozenset[FieldPath]]


class ConflictsError(Exception):
    """An apply would change what others own."""

    def __init__(self, conflicts: Mapping[Owner, frozenset[FieldPath]]) -> None:
        who = [f'conflict with "{o.manager}": .{".".join(p)}' for o, paths in conflicts.items() for p in sorted(paths)]
        super().__init__(f"Apply failed with {len(who)} conflict{'s' if len(who) > 1 else ''}: {', '.join(who)}")


def leaves(content: Mapping[str, Any], at: FieldPath = ()) -> dict[FieldPath, Any]:
    """Every field that can be owned, with its value. An empty map is one, too."""
    found: dict[FieldPath, Any] = {}
    for key, value in content.items():
        path = (*at, key)
        if path in _NOBODYS:
            continue
        if isinstance(value, dict) and value:
            found |= leaves(value, path)
        else:
            found[path] = value
    return found


def applied(
    content: dict[str, Any], owners: Owners, body: Mapping[str, Any], owner: Owner, *, force: bool
) -> tuple[dict[str, Any], Owners]:
    """The object and its owners after an apply.

    Raises:
        ConflictsError: without ``force``, if it would change what others own.
    """
    wanted, live = leaves(body), leaves(content)
    differing = frozenset(path for path, value in wanted.items() if path in live and live[path] != value)
    others = {other: paths for other, paths in owners.items() if other != owner}
    conflicts = {other: paths & differing for other, paths in others.items() if paths & differing}
    if conflicts and not force:
        raise ConflictsError(conflicts)
    others = {other: paths - differing for other, paths in others.items()}
    merged = deepcopy(content)
    for path, value in wanted.items():
        _put(merged, path, value)
    elsewhere = frozenset[FieldPath]().union(*others.values())
    for path in owners.get(owner, frozenset()) - wanted.keys() - elsewhere:
        _remove(merged, path)
    return merged, _without_empty({**others, owner: frozenset(wanted)})


def updated(owners: Owners, before: Mapping[str, Any], after: Mapping[str, Any], owner: Owner) -> Owners:
    """The owners after any other write, whose manager takes over what it changed."""
    old, new = leaves(before), leaves(after)
    changed = frozenset(path for path, value in new.items() if path not in old or old[path] != value)
    gone = old.keys() - new.keys()
    kept = {other: paths - changed - gone for other, paths in owners.items()}
    return _without_empty({**kept, owner: kept.get(owner, frozenset()) | changed})


def managed_fields(owners: Owners, api_version: str) -> list[dict[str, Any]]:
    """As ``metadata.managedFields`` has it."""
    return [
        {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": api_version,
            "time": "2024-01-01T00:00:00Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": _fields_v1(paths),
        }
        for owner, paths in sorted(owners.items())
    ]


def _fields_v1(paths: frozenset[FieldPath]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path in sorted(paths):
        place = tree
        for key in path:
            place = place.setdefault(f"f:{key}", {})
    return tree


def _put(content: dict[str, Any], path: FieldPath, value: object) -> None:
    *parents, last = path
    for key in parents:
        content = content.setdefault(key, {})
    if value == {} and isinstance(content.get(last), dict):
        return
    content[last] = value


def _remove(content: dict[str, Any], path: FieldPath) -> None:
    first, *rest = path
    if not rest:
        content.pop(first, None)
    elif first in content:
        _remove(content[first], tuple(rest))
        if not content[first]:
            del content[first]


def _without_empty(owners: Owners) -> Owners:
    return {owner: paths for owner, paths in owners.items() if paths}
