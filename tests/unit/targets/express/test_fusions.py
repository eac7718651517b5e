"""What onnxruntime fuses in a file, it fuses in the file that a lossless compile writes too."""

from __future__ import annotations

from collections import Counter

import pytest
from optimized import optimized_ops

import slimc
from slimc.ir.text import parse_text

START = """graph (%x: f32[b,s,16]) -> (%y)
  %w = constant f32[16,16] random(0)
  %v = constant f32[16,16] random(1)
  %k = constant f32[16] random(2)
  %t = constant f32[16] random(3, 0.5..1.5)
  %root2 = constant f32[] 1.4142135
  %half = constant f32[] 0.5
  %one = constant f32[] 1
  %two = constant f32[] 2
  %three = constant f32[] 3
  %cubic = constant f32[] 0.044715
  %rootpi = constant f32[] 0.7978846
  %quick = constant f32[] 1.702
  %eps = constant f32[] 1e-06
  %last = constant i64[1] [-1]
  %p = MatMul(%x, %w)
"""
END = "\n  %o = MatMul(%z, %v)\n  %y = Add(%o, %k)"
ERF = """
  %a = Div(%h, %root2)
  %b = Erf(%a)
  %c = Add(%b, %one)
  %d = Mul(%h, %c)
  %z = Mul(%d, %half)"""
TANH = """
  %a = Pow(%h, %three)
  %b = Mul(%a, %cubic)
  %c = Add(%h, %b)
  %d = Mul(%c, %rootpi)
  %e = Tanh(%d)
  %f = Add(%e, %one)
  %g = Mul(%h, %half)
  %z = Mul(%g, %f)"""
SQUARES = """
  %a = Pow(%d, %two)
  %b = ReduceMean(%a, %last)
  %c = Add(%b, %eps)
  %e = Sqrt(%c)
  %f = Div(%d, %e)
  %g = Mul(%f, %t)"""
BIASED = "  %h = Add(%p, %k)"
CASES = {
    "Gelu": "  %h = Identity(%p)" + ERF,
    "BiasGelu": BIASED + ERF,
    "FastGelu": BIASED + TANH,
    "QuickGelu": BIASED + "\n  %a = Mul(%h, %quick)\n  %b = Sigmoid(%a)\n  %z = Mul(%h, %b)",
    "QuickGelu of 1": BIASED + "\n  %b = Sigmoid(%h)\n  %z = Mul(%h, %b)",
    "SimplifiedLayerNormalization": "  %d = Add(%p, %k)" + SQUARES + "\n  %z = Identity(%g)",
    "LayerNormalization": BIASED
    + "\n  %m = ReduceMean(%h, %last)\n  %d = Sub(%h, %m)"
    + SQUARES
    + "\n  %z = Add(%g, %k)",
    "SkipLayerNormalization": BIASED
    + "\n  %a = Add(%h, %x)\n  %z = LayerNormalization(%a, %t, %k)",
}


def fused(graph: slimc.Graph) -> Counter[str]:
    """Count the activations and normalisations that run as one kernel."""
    ops = optimized_ops(graph)
    return Counter(
        {kind.split(".")[-1]: n for kind, n in ops.items() if "Gelu" in kind or "Norm" in kind}
    )


@pytest.mark.parametrize("target", ["generic-onnx", "cpu-avx2"])
@pytest.mark.parametrize("case", CASES)
def test_a_lossless_compile_keeps_fusions(case: str, target: str) -> None:
    graph = parse_text(START + CASES[case] + END)
    before = fused(graph)
    assert before[case.split(" ")[0]] == 1
    made = slimc.compile(graph, "", target).graph
    assert fused(made) == before


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("Gelu(%p)", "Gelu"),
        ('Gelu(%p) {approximate="tanh"}', "FastGelu"),
        ("RMSNormalization(%p, %t)", "SimplifiedLayerNormalization"),
    ],
)
def test_what_replaces_a_newer_operator_is_fused(call: str, kind: str) -> None:
    graph = parse_text(f"{START}  %z = {call}{END}")
    made = slimc.compile(graph, "", "generic-onnx").graph
    assert fused(made)[kind] == 1
