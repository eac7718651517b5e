from __future__ import annotations

from slimc.ir.text import parse_text
from slimc.targets.node_units import folds


def test_what_follows_from_constants_folds() -> None:
    graph = parse_text(
        "graph (%x: f32[4]) -> (%y)\n  %a = constant f32[4] random(0)\n  %b: f32[4] = Neg(%a)\n"
        "  %c: f32[4] = Mul(%b, %a)\n  %y: f32[4] = Add(%c, %x)"
    )
    assert [value for value in "abcyx" if folds(graph, value)] == ["a", "b", "c"]


def test_a_deep_network_is_walked_without_recursion() -> None:
    lines = ["graph (%v0: f32[4]) -> (%v2000)"]
    lines += [f"  %v{i + 1}: f32[4] = Add(%v{i}, %v{i})" for i in range(2000)]
    assert not folds(parse_text("\n".join(lines)), "v2000")
