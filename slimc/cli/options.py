"""Options that several commands share, and how their texts are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

from slimc.errors import SlimcError
from slimc.pipeline.catalogue import Catalogue, catalogue

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)


def calib_option(command: F) -> F:
    """Add `--calib`."""
    return click.option(
        "--calib",
        type=PATH,
        metavar="DIR",
        help="Samples: a folder of .npz files, one feed each, arrays named after the inputs, or "
        "one .npz of stacked samples. Default: made-up samples.",
    )(command)


def plugin_option(command: F) -> F:
    """Add `--plugin`."""
    return click.option(
        "--plugin",
        type=PATH,
        multiple=True,
        metavar="FILE",
        help="A Python file of passes, operators, targets, scores of yours (docs/custom_pass.md).",
    )(command)


def json_option(command: F) -> F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON to stdout.")(command)


def seed_option(command: F) -> F:
    """Add `--seed`."""
    return click.option(
        "--seed", type=int, default=None, help="Seed of all that is random. Default: 0."
    )(command)


def names_with(plugins: Iterable[Path]) -> Catalogue:
    """Return all names, those of plug-in files included."""
    names = catalogue()
    for plugin in plugins:
        names = names.with_file(plugin)
    return names


def pairs(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """Read `name=value` texts."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if not (equals and name and value):
            raise SlimcError(
                "bad-option-value",
                f"'{text}' is not of the form name=value",
                f"option {option}",
                f"for example {option} {example}",
            )
        found[name] = value
    return found


def check_place(path: Path, read: Path, option: str) -> None:
    """Refuse, before any work, to write over the file read or into a folder that is not there."""
    if read.exists() and not path.parent.is_dir():
        raise SlimcError(
            "unwritable",
            f"'{path}' cannot be written: there is no folder '{path.parent}'",
            f"option {option}",
            "make the folder first",
        )
    if path.exists() and read.exists() and path.samefile(read):
        raise SlimcError(
            "input-overwritten",
            f"'{path}' is the file to read",
            f"option {option}",
            "name another file",
        )
