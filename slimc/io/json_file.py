"""JSON files from users: bounded in size, and every fault is a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 256 << 20  # the largest file that slimc writes: ranges of a million values

# Exceptions from reading malformed JSON: missing keys, wrong types, numbers out of range.
MALFORMED = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def read_text(path: Path, most_bytes: int = MAX_BYTES) -> str:
    """Read a text file. Raises ValueError, which says what is wrong, and OSError."""
    if path.stat().st_size > most_bytes:
        raise ValueError(f"it has more than {most_bytes >> 20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("the file is not UTF-8 text") from error


def read_json(path: Path, most_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file. Raises ValueError, which says what is wrong, and OSError."""
    return parse_json(read_text(path, most_bytes))


def parse_json(text: str) -> Any:
    """Parse JSON without NaN and infinities. Raises ValueError, which says what is wrong."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is not JSON: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def describe_error(error: BaseException) -> str:
    """Describe an error that reading the contents of a JSON file raised."""
    if isinstance(error, KeyError):
        return f"'{error.args[0]}' is missing"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
