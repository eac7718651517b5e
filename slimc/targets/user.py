"""A user's own target: a TOML file that says what differs from another target."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

from slimc.errors import SlimcError, did_you_mean
from slimc.io.json_file import read_text
from slimc.io.schemas import find_schema
from slimc.ir.graph import OPSET
from slimc.ir.types import DType
from slimc.ops import OPS
from slimc.targets.target import Grid, Quantize, Target, TargetRule
from slimc.targets.toml import Place, merged

SUFFIX = ".toml"
_FROM_BASE = ("suit", "misfit", "companions")  # functions, which a table cannot hold
_OWN = ("base", "name", "rules")
_DEEPEST = 8  # files that follow from one another
_MAX_BYTES = 1 << 20
# Keys -> the least of what they may say.
_LEAST: Mapping[str, int] = {"align_integer": 1, "align_float": 1, "ir_version": 3, "capability": 0}
_COUNTS = ("min_channels", "min_each", "max_window", "row_multiple")

Known = Callable[[str], Target]


def read_target(path: Path, known: Known, depth: int = 0) -> Target:
    """Read a target from a file; `known` finds its base by name. Error: bad-target.

    A base that ends in .toml is a file, beside this one unless its path is absolute.
    """
    place = Place(str(path))
    table = _parsed(path, place)
    base_name = table.get("base")
    if not isinstance(base_name, str):
        raise (place / "base").wrong(
            "it names no target to start from", 'for example base = "generic-onnx"'
        )
    if depth == _DEEPEST:
        raise (place / "base").wrong(f"{depth} files start from one another: is it a circle?")
    if base_name.endswith(SUFFIX):
        base_name = str(path.parent / base_name)
        base = read_target(Path(base_name), known, depth + 1)
    else:
        base = _known(base_name, known, place / "base")
    made = replace(_merged(table, base, place), base=base_name, chosen="")
    made = replace(made, name=_name(table, path, place))
    if "summary" not in table:
        made = replace(made, summary=f"{base.summary}; changed by {path.name}")
    _check(made, base, place)
    return made


def target_files(path: Path) -> tuple[Path, ...]:
    """Return a target's file and those that it starts from, as far as they can be read."""
    files = [path]
    while files[-1].suffix == SUFFIX and len(files) <= _DEEPEST:
        try:
            base = _parsed(files[-1], Place(str(files[-1]))).get("base")
        except SlimcError:  # whoever reads the target tells
            break
        if not isinstance(base, str) or not base.endswith(SUFFIX):
            break
        files.append(files[-1].parent / base)
    return tuple(files)


def _known(name: str, known: Known, place: Place) -> Target:
    try:
        return known(name)
    except SlimcError as unknown:
        raise place.wrong(unknown.message, unknown.help) from unknown


def _parsed(path: Path, place: Place) -> dict[str, Any]:
    if not path.is_file():
        raise place.wrong("there is no such file")
    try:
        text = read_text(path, _MAX_BYTES)
    except (ValueError, OSError) as wrong:
        raise place.wrong(str(wrong)) from wrong
    try:
        return tomllib.loads(text)
    except ValueError as wrong:  # TOMLDecodeError, or a number of thousands of digits
        message = str(wrong)
        raise place.wrong(f"it is no TOML: {message[:1].lower()}{message[1:]}") from wrong
    except RecursionError as wrong:
        raise place.wrong("it is no TOML: it is nested too deep") from wrong


def _name(table: dict[str, Any], path: Path, place: Place) -> str:
    name = table.get("name", path.stem)
    if not isinstance(name, str) or not name:
        raise (place / "name").wrong("expected a text")
    if not name.isprintable() or {*name} & {"/", "\\"}:
        help = "it becomes a part of file names"
        raise (place / "name").wrong(f"{name!r} holds signs that no name may have", help)
    return name


def _merged(table: dict[str, Any], base: Target, place: Place) -> Target:
    hints = get_type_hints(Target)
    settable = [k for k in hints if k not in (*_FROM_BASE, "chosen", "source", "base", "rules")]
    made: dict[str, Any] = {}
    for key, value in table.items():
        if key in _OWN:
            continue
        if key in _FROM_BASE:
            help = "a Python file with a TARGET may change it (docs/targets.md)"
            raise (place / key).wrong("it comes from the base", help)
        if key not in settable:
            raise (place / key).wrong("there is no such key", did_you_mean(key, [*settable, *_OWN]))
        made[key] = merged(hints[key], value, getattr(base, key), place / key)
    if "rules" in table:
        made["rules"] = _rules(table["rules"], base, place / "rules")
    return replace(base, **made)


def _rules(value: Any, base: Target, place: Place) -> tuple[TargetRule, ...]:
    """Return the rules of the base without those that are to be left out."""
    if not isinstance(value, dict) or set(value) != {"remove"}:
        raise place.wrong("rules are those of the base", 'to leave some out: remove = ["NAME"]')
    names = [rule.name for rule in base.rules]
    removed = merged(tuple[str, ...], value["remove"], (), place / "remove")
    for name in removed:
        if name not in names:
            raise (place / "remove").wrong(f"there is no rule '{name}'", did_you_mean(name, names))
    return tuple(rule for rule in base.rules if rule.name not in removed)


def _check(target: Target, base: Target, place: Place) -> None:
    """Refuse what cannot be meant. Error: bad-target."""
    if not 1 <= target.opset <= target.opset_max <= OPSET:
        message = f"opsets {target.opset} to {target.opset_max} are not within 1 to {OPSET}"
        raise (place / "opset").wrong(message)
    _check_numbers(target, place)
    if target.version and not target.release:
        raise (place / "version").wrong(f"'{target.version}' is no version such as 10.3")
    for dtype in target.floats:
        if not dtype.is_float:
            raise (place / "floats").wrong(f"{dtype.text} is no type of floats")
    if target.prefer not in target.floats:
        raise (place / "prefer").wrong(f"{target.prefer.text} is none of its floats")
    if target.placement is None and any(_static(target, scheme) for scheme in target.schemes):
        raise (place / "placement").wrong("schemes with ranges fixed ahead need Q and DQ somewhere")
    for scheme, rows in target.schemes.items():
        for kind, wish in rows.items():
            here = place / "schemes" / scheme / kind
            if OPS.get(kind) is None:
                raise here.wrong("there is no such operator", did_you_mean(kind, OPS.kinds))
            _check_wish(wish, here)
    for key in ("forbids", "decompose"):
        for kind in set(getattr(target, key)) - set(getattr(base, key)):
            if "." not in kind and find_schema(kind, OPSET) is None:
                help = did_you_mean(kind, OPS.kinds)
                raise (place / key / kind).wrong("there is no such operator of ONNX", help)


def _check_numbers(target: Target, place: Place) -> None:
    for key, least in _LEAST.items():
        if getattr(target, key) < least:
            message = f"expected {least} or more, found {getattr(target, key)}"
            raise (place / key).wrong(message)
    if target.ir_version > target.ir_version_max:
        message = f"it is above ir_version_max, {target.ir_version_max}"
        raise (place / "ir_version").wrong(message)
    speed = target.speed
    for key in ("macs", "bytes", "integer"):
        if getattr(speed, key) <= 0:
            raise (place / "speed" / key).wrong("expected a number above 0")
    if speed.node_seconds < 0:
        raise (place / "speed" / "node_seconds").wrong("expected a number of 0 or more")


def _static(target: Target, scheme: str) -> bool:
    return any(wish.activations is not None for wish in target.schemes[scheme].values())


def _check_wish(wish: Quantize, place: Place) -> None:
    for key in _COUNTS:
        if getattr(wish, key) < 0:
            raise (place / key).wrong(f"expected 0 or more, found {getattr(wish, key)}")
    if wish.result is not None and wish.result[0] >= wish.result[1]:
        raise (place / "result").wrong("it ends before it begins")
    for key, grid in (("activations", wish.activations), ("weights", wish.weights)):
        if grid is not None:
            _check_grid(grid, place / key)


def _check_grid(grid: Grid, place: Place) -> None:
    if not grid.dtype.is_integer and grid.dtype is not DType.F8E4M3FN:
        raise place.wrong(f"{grid.dtype.text} is no type of integers, and none of 8-bit floats")
    low, high = grid.dtype.span
    if not low <= grid.low < grid.high <= high:
        message = f"{grid.low}..{grid.high} are no integers of {grid.dtype.text}"
        raise place.wrong(message, f"it holds {low}..{high}")
    if grid.symmetric and grid.low >= 0:
        raise place.wrong(f"{grid.low}..{grid.high} around 0 hold no negative numbers")
    if grid.block < 0 or grid.least < 0:
        raise place.wrong("block and least are 0 or more")
