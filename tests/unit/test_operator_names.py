"""Operators are named in ops/ and targets/; elsewhere rows are asked, so that a row is enough."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import slimc
from slimc.ops import OPS

ROOT = Path(slimc.__file__).parent
FOLDERS = ("analysis", "rewrite", "calib", "execute", "fit", "passes", "pipeline", "report", "cli")
FILES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.parent.name != "oracles"  # they read the graphs that runtimes make, in their words
]
KINDS = frozenset(OPS.kinds)

# What names operators all the same: which, and why no row could say it.
ALLOWED = {
    "passes/canonical/fold_scale.py": (
        "Add Div Pow ReduceMean Sqrt",
        "how a normalisation is spelt out where onnxruntime finds it",
    ),
    "passes/canonical/fuse_activations.py": ("Div Mul", "what Gelu is spelt with"),
    "passes/canonical/fuse_layer_norm.py": ("ReduceMean", "what LayerNormalization is spelt with"),
    "passes/canonical/inline_branches.py": ("If", "it is about If"),
    "passes/canonical/merge_arithmetic.py": ("Add Sub", "it is about sums of sums"),
    "passes/canonical/simplify_shapes.py": ("Reshape", "it is about the target of a Reshape"),
    "passes/lower/lower_float16.py": ("Cast", "it counts the nodes that it makes"),
}
_WORD = re.compile(r"[\w.]+")
_CHOICE = re.compile(r"([\w.]+)(?:\|[\w.]+)+")  # A|B(...) in a pattern


def _kinds(*parts: ast.AST) -> Iterator[str]:
    """Yield the kinds that stand in the texts of expressions."""
    for part in parts:
        for node in ast.walk(part):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from KINDS.intersection(_WORD.findall(node.value))


def named(tree: ast.AST) -> set[str]:
    """Return the kinds that code compares with, lists, or offers as a choice in a pattern.

    A kind that is an argument alone is none of these: a node to make, or a node of the match.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            found.update(_kinds(node.left, *node.comparators))
        elif isinstance(node, ast.MatchValue):
            found.update(_kinds(node.value))
        elif isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            found.update(_listed(node.elts))
        elif isinstance(node, ast.Dict):
            found.update(_listed([key for key in node.keys if key is not None]))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            found.update(_listed([node.value]))
        elif isinstance(node, ast.Attribute) and node.attr == "split":
            found.update(_kinds(node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            for choice in _CHOICE.finditer(node.value):
                found.update(KINDS.intersection(choice[0].split("|")))
    return found


def _listed(items: list[ast.expr]) -> Iterator[str]:
    """Yield the items of a collection that holds kinds and nothing else."""
    texts = [item.value for item in items if isinstance(item, ast.Constant)]
    if len(texts) == len(items) and all(text in KINDS for text in texts):
        yield from texts


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_operators_are_asked_not_named(path: Path) -> None:
    own = path.relative_to(ROOT).as_posix()
    allowed, why = ALLOWED.get(own, ("", ""))
    found = named(ast.parse(path.read_text()))
    assert not found - set(allowed.split()), "ask the row: see ops/groups.py"
    assert found >= set(allowed.split()), f"not named any more: {why}"


@pytest.mark.parametrize(
    "code",
    [
        "node.op == 'Conv'",
        "node.kind in ('Conv', 'Gemm')",
        "KINDS = {'Conv', 'Gemm'}",
        "KINDS = frozenset(['Conv', 'Gemm'])",
        "KINDS = {'Conv': 1, 'Gemm': 2}",
        "KINDS = 'Conv Gemm'.split()",
        "KINDS = 'Conv|Gemm'",
        "KIND = 'Conv'",
        "Rule('c:Conv|Gemm(x, w)', make)",
        "Rule(f'{label}:Conv|Gemm(x, {w})', make)",
        "match node.op:\n  case 'Conv' | 'Gemm':\n    pass",
    ],
)
def test_every_way_to_list_operators_is_found(code: str) -> None:
    assert "Conv" in named(ast.parse(code))


def test_nodes_to_make_and_patterns_of_one_operator_are_free() -> None:
    code = "Made('Mul', (x, y)); Rule('Mul{x, 1}', one); m.node('Pad'); editor.add('Cast', ['x'])"
    assert not named(ast.parse(code))
