"""Values of JSON or YAML -> dataclasses, by cattrs; whatever is wrong is one error that says where.

Types are strict, unknown keys are refused, numbers are finite and of 64 bits, and a container of
many wrong items is read as far as the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from math import isfinite
from typing import Any, Literal, NoReturn, TypeVar, get_args, get_origin

from cattrs import (
    AttributeValidationNote,
    BaseValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn

from slimc.errors import did_you_mean
from slimc.io.json_file import parse_json

Record = TypeVar("Record")
Hook = Callable[[Any, Any], Any]

_LARGEST = 2**63  # whole numbers of JSON, YAML and TOML that every reader takes
_SHOWN = 40  # characters of a wrong value
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


class RecordError(ValueError):
    """What is wrong: the keys that lead to it, what was expected, and what was found."""

    def __init__(self, message: str, help: str = "") -> None:
        super().__init__(message)
        self.help = help


def structure(value: Any, kind: type[Record], from_texts: bool = False) -> Record:
    """Return a parsed value as a dataclass. Raises RecordError.

    from_texts: whole numbers are texts, as `read_yaml` gives them.
    """
    try:
        return (_TEXTS if from_texts else _TYPED).structure(value, kind)
    except (BaseValidationError, ValueError) as error:
        raise _located(error) from error


def parse_record(text: str, kind: type[Record], format: str) -> Record:
    """Read a dataclass from JSON that says of which format it is. Raises RecordError."""
    try:
        value = parse_json(text)
    except ValueError as error:
        raise RecordError(str(error)) from error
    named = value.pop("format", None) if isinstance(value, dict) else None
    if named != format:
        found = shown(named) if isinstance(value, dict) else shown(value)
        raise RecordError(f"found format {found}, expected '{format}'")
    return structure(value, kind)


def plain(value: Any, kind: type[Any]) -> Any:
    """Return a value of type bool, int, float or str; a whole number is a float too."""
    if kind is float and type(value) is int and abs(value) < _LARGEST:
        return float(value)
    sound = type(value) is kind
    if sound and kind in (int, float):
        sound = abs(value) < _LARGEST if kind is int else isfinite(value)
    return value if sound else refuse(_WORDS.get(kind, kind.__name__), value)


def refuse(expected: str, value: Any) -> NoReturn:
    """Raise RecordError for a value of another type."""
    raise RecordError(f"expected {expected}, found {shown(value)}")


def shown(value: Any) -> str:
    """Write a wrong value, a table and a list in a word."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "a number of more than 64 bits"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _located(error: Exception) -> RecordError:
    """Return the first error inside, with the keys that lead to it."""
    place = ""
    while isinstance(error, BaseValidationError):
        inner = error.exceptions
        unknown = (e for e in inner if isinstance(e, ForbiddenExtraKeysError))
        error = next(unknown, inner[0])
        for note in getattr(error, "__notes__", ()):
            if isinstance(note, AttributeValidationNote):
                place += f".{note.name}"
            elif isinstance(note, IterableValidationNote):
                place += f"[{note.index!r:.{_SHOWN}}]"
    message, help = str(error), getattr(error, "help", "")
    if isinstance(error, ForbiddenExtraKeysError):
        key = min(map(str, error.extra_fields))
        place, message = f"{place}.{key:.{_SHOWN}}", "there is no such key"
        help = did_you_mean(key, [f.name for f in fields(error.cl)])
    elif isinstance(error, KeyError):
        message = "it is missing"
    place = place.removeprefix(".")
    return RecordError(f"{place}: {message}" if place else message, help)


def _items(pairs: Iterable[tuple[Any, Any, Hook]], kind: Any, part: Any) -> list[Any]:
    """Structure the items of a container, up to the first wrong one."""
    made: list[Any] = []
    for key, value, hook in pairs:
        try:
            made.append(hook(value, part))
        except Exception as error:
            error.add_note(IterableValidationNote(f"item {key}", key, part))
            raise IterableValidationError("an item is wrong", [error], kind) from error
    return made


def _tuple_hook(kind: Any, converter: Converter) -> Hook:
    parts = get_args(kind)
    is_open = parts[-1] is ...
    hooks = [converter.get_structure_hook(part) for part in parts if part is not ...]

    def tuple_of(value: Any, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            refuse("a list", value)
        if not is_open and len(value) != len(parts):
            raise RecordError(f"expected {len(parts)} values, found {len(value)}")
        each = hooks * len(value) if is_open else hooks
        return tuple(_items(zip(range(len(value)), value, each, strict=True), kind, parts[0]))

    return tuple_of


def _mapping_hook(kind: Any, converter: Converter) -> Hook:
    part = get_args(kind)[1]
    hook = converter.get_structure_hook(part)

    def mapping_of(value: Any, _: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            refuse("a table", value)
        items = _items(((key, item, hook) for key, item in value.items()), kind, part)
        return dict(zip(value, items, strict=True))

    return mapping_of


def _dataclass_hook(kind: Any, converter: Converter) -> Hook:
    inner = make_dict_structure_fn(kind, converter, _cattrs_forbid_extra_keys=True)

    def record_of(value: Any, _: Any) -> Any:
        return inner(value, kind) if isinstance(value, dict) else refuse("a table", value)

    return record_of


def _literal(value: Any, kind: Any) -> Any:
    choices = get_args(kind)
    if value not in choices:
        help = did_you_mean(str(value), map(str, choices))
        raise RecordError(f"{shown(value)} is none of its values", help)
    return value


def _whole_number(value: Any, _: Any) -> int:
    try:
        return int(plain(value, str))
    except ValueError:
        return refuse("a whole number", value)


def _converter() -> Converter:
    made = Converter(detailed_validation=True)
    for kind in _WORDS:
        made.register_structure_hook(kind, plain)
    made.register_structure_hook_func(partial(_has_origin, Literal), _literal)
    made.register_structure_hook_factory(is_dataclass)(_dataclass_hook)
    made.register_structure_hook_factory(partial(_has_origin, tuple))(_tuple_hook)
    made.register_structure_hook_factory(partial(_has_origin, Mapping))(_mapping_hook)
    return made


def _has_origin(origin: Any, kind: Any) -> bool:
    return get_origin(kind) is origin


_TYPED, _TEXTS = _converter(), _converter()
_TEXTS.register_structure_hook(int, _whole_number)
