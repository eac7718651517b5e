"""Passes as text, both ways: `prune{ratio=0.3,keep=["head/*"]},quant{scheme=int8}`.

A word names a pass or a stage. An option in the braces of a stage goes to the passes of the stage
that have it. The types of options come from the fields of the pass or stage.
"""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from slimc.errors import SlimcError, did_you_mean
from slimc.ir.literal import read_list, read_string
from slimc.ir.scan import Cursor
from slimc.passes.base import Options, Pass, allowed_range
from slimc.passes.stages import Stage

_NAME = re.compile(r"[A-Za-z][\w-]*", re.ASCII)
_QUOTE = re.compile('"')
_BARE = re.compile(r'[^\s",\[\]{}]+')

Stages = Mapping[str, type[Stage] | tuple[type[Pass], ...]]  # plug-ins may name passes alone


class Quoted(str):
    """A text that stood in quotes: it is never taken for a number or `none`."""

    __slots__ = ()


Value = str | list[Any]  # a word, or a list of words


def parse_passes(text: str, passes: Sequence[type[Pass]], stages: Stages) -> tuple[Pass, ...]:
    """Read the text of passes.

    Raises SlimcError: "text-syntax", "unknown-pass", "unknown-option" or "bad-option-value".
    """
    cursor = Cursor(text)
    made: list[Pass] = []
    while not cursor.at_end():
        if made:
            cursor.expect(",")
        name = cursor.expect_match(_NAME, "the name of a pass or stage")
        options = dict(read_list(cursor, "}", _read_option)) if cursor.accept("{") else {}
        made += _make(name, options, passes, stages)
    return tuple(made)


def passes_text(passes: Iterable[Options]) -> str:
    """Write passes and stages as the text that `parse_passes` reads."""
    return ",".join(str(p) for p in passes)


@dataclass(frozen=True)
class OptionHelp:
    """An option for people: its name, type, default as text, help sentence, and range."""

    name: str
    kind: str
    default: str
    help: str
    range: str = ""


def options_of(kind: type[Options]) -> tuple[OptionHelp, ...]:
    """Describe the options of a pass."""
    hints = get_type_hints(kind)
    return tuple(
        OptionHelp(
            f.name,
            kind_text(hints[f.name]),
            _default(f),
            f.metadata.get("help", ""),
            allowed_range(f.metadata.get("bounds", {})),
        )
        for f in dataclasses.fields(kind)
    )


def kind_text(hint: Any) -> str:
    """Write the type of an option: `int`, `list of str`, `l1 | l2`."""
    if get_origin(hint) is Literal:
        return " | ".join(str(v) for v in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join("none" if h is type(None) else kind_text(h) for h in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {kind_text(get_args(hint)[0])}"
    return str(hint.__name__)


def _default(f: dataclasses.Field[Any]) -> str:
    if f.default is dataclasses.MISSING:
        return "(required)"
    if isinstance(f.default, tuple):
        return "[" + ", ".join(str(v) for v in f.default) + "]"
    return (
        str(f.default).lower()
        if f.default is None or isinstance(f.default, bool)
        else str(f.default)
    )


def _read_option(cursor: Cursor) -> tuple[str, Value]:
    name = cursor.expect_match(_NAME, "the name of an option")
    cursor.expect("=")
    return name.replace("-", "_"), _read_value(cursor)


def _read_value(cursor: Cursor) -> Value:
    if cursor.accept("["):
        return read_list(cursor, "]", _read_value)
    if cursor.looking_at(_QUOTE):
        return Quoted(read_string(cursor))
    return cursor.expect_match(_BARE, "a value")


def _make(
    name: str, options: Mapping[str, Value], passes: Sequence[type[Pass]], stages: Stages
) -> list[Pass]:
    by_name = {p.name: p for p in passes}
    if name not in by_name and name not in stages:
        raise SlimcError(
            "unknown-pass",
            f"there is no pass or stage '{name}'",
            help=did_you_mean(name, [*stages, *by_name]),
        )
    entry = stages[name] if name in stages else by_name[name]
    kinds: tuple[type[Options], ...] = entry if isinstance(entry, tuple) else (entry,)
    fields = {f.name: None for kind in kinds for f in dataclasses.fields(kind)}
    for option in options:
        if option not in fields:
            raise SlimcError(
                "unknown-option",
                f"'{name}' has no option '{option}'",
                help=did_you_mean(option, fields),
            )
    return [pass_ for kind in kinds for pass_ in _passes_of(kind, options, name)]


def _passes_of(kind: type[Options], options: Mapping[str, Value], owner: str) -> tuple[Pass, ...]:
    """Return a pass, or those of a stage, with the options that it has. owner: as the user says."""
    hints = get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind) if f.name in options]
    entry = kind(**{name: _typed(owner, name, hints[name], options[name]) for name in names})
    return (entry,) if isinstance(entry, Pass) else entry.parts()


def members_of(stage: type[Stage] | tuple[type[Pass], ...]) -> tuple[type[Pass], ...]:
    """Return the passes of a stage, in order."""
    return stage if isinstance(stage, tuple) else stage.members


def _typed(owner: str, option: str, hint: Any, value: Value) -> Any:
    try:
        return _convert(hint, value)
    except ValueError as wrong:
        shown = f"[{', '.join(map(str, value))}]" if isinstance(value, list) else f"'{value}'"
        help = did_you_mean(str(value), map(str, get_args(hint))) if _is_choice(hint) else ""
        raise SlimcError(
            "bad-option-value",
            f"option '{option}' of '{owner}' takes {kind_text(hint)}, not {shown}",
            help=help or str(wrong),
        ) from None


def _is_choice(hint: Any) -> bool:
    return get_origin(hint) is Literal


def _convert(hint: Any, value: Value) -> Any:
    """Return `value` as the type `hint`; ValueError where it is none."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _convert_to_any(get_args(hint), value)
    if origin is tuple:
        items = value if isinstance(value, list) else [value]
        return tuple(_convert(get_args(hint)[0], item) for item in items)
    if isinstance(value, list):
        raise ValueError("one value is wanted, not a list")
    if origin is Literal:
        for choice in get_args(hint):
            if str(choice) == value:
                return choice
        raise ValueError
    if hint is str:
        return str(value)
    if isinstance(value, Quoted):
        raise ValueError("leave out the quotes")
    if hint is bool:
        if value not in ("true", "false"):
            raise ValueError("write true or false")
        return value == "true"
    return hint(value)


def _convert_to_any(hints: Sequence[Any], value: Value) -> Any:
    if type(None) in hints and value == "none" and not isinstance(value, Quoted):
        return None
    problems: list[str] = []
    for hint in hints:
        if hint is not type(None):
            try:
                return _convert(hint, value)
            except ValueError as wrong:
                problems.append(str(wrong))
    raise ValueError("; ".join(filter(None, problems)))
