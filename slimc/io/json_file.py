"""JSON of strangers: of bounded size, and whatever is wrong with it is a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

MAX_BYTES = 256 << 20  # the largest that slimc writes: calibrated ranges of a million values

# What taking a stranger's JSON apart raises: what is not there, of another type, or beyond floats.
BROKEN = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


def read_text(path: Path, most_bytes: int = MAX_BYTES) -> str:
    """Read the text of a file. Raises ValueError, which says what is wrong, and OSError."""
    if path.stat().st_size > most_bytes:
        raise ValueError(f"it has more than {most_bytes >> 20} MiB")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("the file cannot be read: it is no text") from error


def read_json(path: Path, most_bytes: int = MAX_BYTES) -> Any:
    """Read a JSON file. Raises ValueError, which says what is wrong, and OSError."""
    return parse_json(read_text(path, most_bytes))


def parse_json(text: str) -> Any:
    """Parse JSON; NaN and infinities are none. Raises ValueError, which says what is wrong."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("it is no JSON: it is nested too deep") from error
    except ValueError as error:
        raise ValueError(f"it is no JSON: {error}") from error


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def told(error: BaseException) -> str:
    """Say what is wrong with the contents of a JSON file, by what taking them apart raised."""
    if isinstance(error, KeyError):
        return f"'{error.args[0]}' is missing"
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)
