from __future__ import annotations

import ast
import re
from pathlib import Path

import slimc
from slimc.errors import MAX_LISTED, SlimcError, did_you_mean

ROOT = Path(slimc.__file__).parent


def raised_names() -> set[str]:
    """Collect the names given to SlimcError, also through functions that return one."""
    names: set[str] = set()
    trees = {path: list(ast.walk(ast.parse(path.read_text()))) for path in ROOT.rglob("*.py")}
    own = {
        path: {n.name for n in nodes if isinstance(n, ast.FunctionDef) and _takes_a_name(n)}
        for path, nodes in trees.items()
    }
    public = {name for makers in own.values() for name in makers if not name.startswith("_")}
    for path, nodes in trees.items():
        makers = {"SlimcError", "PromiseError"} | public | own[path]
        for node in nodes:
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in makers:
                first = node.args[0]
                if isinstance(first, ast.Constant):
                    names.add(str(first.value))
                else:
                    assert ast.unparse(first) in ("name", "error.name"), f"{path}:{node.lineno}"
    return names


def _takes_a_name(function: ast.FunctionDef) -> bool:
    returned = function.returns
    makes = isinstance(returned, ast.Name) and returned.id == "SlimcError"
    return makes and bool(function.args.args) and function.args.args[0].arg == "name"


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


def test_the_nearest_name_comes_first_and_of_many_names_a_screen_full() -> None:
    assert did_you_mean("hed", ["head", "neck"]) == "did you mean 'head'? known: head, neck"
    assert did_you_mean("x", []) == "there are none"
    many = did_you_mean("stage", [f"conv{i}" for i in range(MAX_LISTED + 5)])
    assert many.endswith(f"conv{MAX_LISTED - 1} and 5 more")
