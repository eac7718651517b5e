from __future__ import annotations

import ast
import re
from pathlib import Path

import slimc
from slimc.errors import SlimcError

ROOT = Path(slimc.__file__).parent


def raised_names() -> set[str]:
    """Collect the first argument of every SlimcError (or subclass) made anywhere in the package."""
    names: set[str] = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "SlimcError":
                assert node.args, f"{path}: SlimcError without a name"
                first = node.args[0]
                assert isinstance(first, ast.Constant), f"{path}:{node.lineno}: computed name"
                names.add(str(first.value))
    return names


def test_every_error_has_a_paragraph_and_every_paragraph_an_error() -> None:
    text = (ROOT.parent / "docs" / "errors.md").read_text()
    documented = re.findall(r"^## `([a-z0-9-]+)`", text, re.MULTILINE)
    assert documented == sorted(documented)
    assert set(documented) == raised_names()


def test_an_error_says_what_where_and_how_to_mend() -> None:
    error = SlimcError("channels-pinned", "'a' cannot lose channels", "axis 1 of 'a'", "keep it")
    assert str(error).splitlines() == [
        "error[channels-pinned]: 'a' cannot lose channels",
        "  where: axis 1 of 'a'",
        "  help:  keep it",
    ]
