"""Tables of text, as TOML holds them, <-> the dataclasses that a target is made of.

A table says what differs from a value that there is: tables are merged key by key, `false` takes a
key (or an optional part) away, lists take the place of what there was. A set may be a table, too,
of what is added and removed.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from slimc.analysis.latency import Speed
from slimc.errors import SlimcError, did_you_mean
from slimc.io.records import RecordError, plain, shown
from slimc.ir.types import DType
from slimc.targets import grids
from slimc.targets.target import Grid, TargetRule

_GRIDS: Mapping[str, Grid] = {
    name.lower().replace("_", "-"): one
    for name, one in vars(grids).items()
    if isinstance(one, Grid)
}
_ABSENT = "absent"  # an attribute that is not there, in `only`
_DTYPES = {one.text: one for one in DType}
_ADD, _REMOVE = "add", "remove"
_COMPUTED = {Speed: ("measured",)}  # fields that are not written by hand


@dataclass(frozen=True)
class Place:
    """Where a value stands: the file, and the keys that lead to it."""

    file: str
    keys: tuple[str, ...] = ()

    def __truediv__(self, key: object) -> Place:
        return Place(self.file, (*self.keys, str(key)))

    def wrong(self, message: str, help: str = "") -> SlimcError:
        """Return the error for what stands here."""
        where = f"'{'.'.join(self.keys)}' in " if self.keys else ""
        return SlimcError("bad-target", message, f"{where}target file '{self.file}'", help)


def merged(hint: Any, value: Any, base: Any, place: Place) -> Any:
    """Return `base`, of type `hint`, with what a value of TOML says. Error: bad-target.

    base: MISSING where there is none.
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is False and bool not in parts:
            return None
        (inner,) = (part for part in parts if part is not type(None))
        return merged(inner, value, MISSING if base is None else base, place)
    if origin is Literal:
        if value not in parts:
            raise place.wrong(f"{value!r} is none of its values", did_you_mean(str(value), parts))
        return value
    if hint is DType:
        return _chosen(_DTYPES, value, "an element type", place)
    if hint is Grid and isinstance(value, str):
        return _chosen(_GRIDS, value, "a grid", place)
    if is_dataclass(hint):
        return _dataclass(hint, value, base, place)
    if origin is Mapping:
        return _mapping(parts[1], value, base, place)
    if origin is frozenset:
        return _set(value, base, place)
    if origin is tuple:
        return _tuple(parts, value, place)
    return _plain(hint, value, place)


def _chosen(known: Mapping[str, Any], value: Any, what: str, place: Place) -> Any:
    if not isinstance(value, str) or value not in known:
        raise place.wrong(f"{value!r} is not {what}", did_you_mean(str(value), known))
    return known[value]


def _dataclass(kind: Any, value: Any, base: Any, place: Place) -> Any:
    if not isinstance(value, dict):
        raise place.wrong(f"expected a table, found {shown(value)}")
    hints = get_type_hints(kind)
    settable = [f for f in fields(kind) if f.name not in _COMPUTED.get(kind, ())]
    _check_keys(value, [f.name for f in settable], place)
    made: dict[str, Any] = {}
    for one in fields(kind):
        before = getattr(base, one.name, MISSING)
        if one.name in value:
            made[one.name] = merged(hints[one.name], value[one.name], before, place / one.name)
        elif before is not MISSING:
            made[one.name] = before
        elif one.default is MISSING and one.default_factory is MISSING:
            if type(None) not in get_args(hints[one.name]):
                raise place.wrong(f"it lacks '{one.name}', and the base has none to take")
            made[one.name] = None
    return kind(**made)


def _check_keys(value: Mapping[str, Any], known: list[str], place: Place) -> None:
    for key in value:
        if key not in known:
            raise (place / key).wrong("there is no such key", did_you_mean(key, known))


def _mapping(hint: Any, value: Any, base: Any, place: Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place.wrong(f"expected a table, found {shown(value)}")
    before = {} if base is MISSING else dict(base)
    for key, one in value.items():
        if one is False:
            if key not in before:
                raise (place / key).wrong("there is none to take away", did_you_mean(key, before))
            del before[key]
        else:
            before[key] = merged(hint, one, before.get(key, MISSING), place / key)
    return before


def _set(value: Any, base: Any, place: Place) -> frozenset[str]:
    before = frozenset() if base is MISSING else base
    if not isinstance(value, dict):
        return frozenset(_tuple((str, ...), value, place))
    _check_keys(value, [_ADD, _REMOVE], place)
    added = _tuple((str, ...), value.get(_ADD, []), place / _ADD)
    removed = _tuple((str, ...), value.get(_REMOVE, []), place / _REMOVE)
    for one in removed:
        if one not in before:
            raise (place / _REMOVE).wrong(f"there is no '{one}'", did_you_mean(one, sorted(before)))
    return frozenset((before | set(added)) - set(removed))


def _tuple(parts: tuple[Any, ...], value: Any, place: Place) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise place.wrong(f"expected a list, found {shown(value)}")
    if parts[-1] is not ...:
        if len(value) != len(parts):
            raise place.wrong(f"expected {len(parts)} values, found {len(value)}")
        kinds = parts
    else:
        kinds = (parts[0],) * len(value)
    return tuple(
        merged(kind, one, MISSING, place / i)
        for i, (kind, one) in enumerate(zip(kinds, value, strict=True))
    )


def _plain(hint: Any, value: Any, place: Place) -> Any:
    if hint is object:  # the value of an attribute
        if isinstance(value, list):
            return tuple(_plain(hint, one, place) for one in value)
        return None if value == _ABSENT else value
    try:
        return plain(value, hint)
    except RecordError as wrong:
        raise place.wrong(str(wrong)) from wrong


def as_table(value: Any) -> Any:
    """Return a target, or a part of one, in the form that `merged` reads, and JSON writes.

    Rules and functions, which no table holds, are told by name, or as whether there is one.
    """
    if isinstance(value, TargetRule):
        facts = {"code": value.code, "name": value.name, "summary": value.summary}
        return {**facts, "fix": value.fix is not None}
    if isinstance(value, DType):
        return value.text
    if is_dataclass(value):
        skipped = _COMPUTED.get(type(value), ())  # type: ignore[arg-type]
        return {
            f.name: as_table(getattr(value, f.name)) for f in fields(value) if f.name not in skipped
        }
    if isinstance(value, Mapping):
        return {str(key): as_table(one) for key, one in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_ABSENT if one is None else as_table(one) for one in value]
    if value is None or callable(value):
        return value is not None
    return value
