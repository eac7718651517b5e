from __future__ import annotations

import numpy as np

from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.execute import ort
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.prune.mask_axes import mask_axes
from slimc.passes.prune.slice_axes import Sliced, slice_axes

SHARED = """
graph (%x: f32[1,3,4,4]) -> (%y)
  %wa = constant f32[4,3,1,1] random(0)
  %wb = constant f32[4,4,1,1] random(1)
  %wc = constant f32[2,4,1,1] random(2)
  %bias = constant f32[4] random(3)
  %a = Conv(%x, %wa, %bias) @a
  %b = Conv(%a, %wb, %bias) @b
  %y = Conv(%b, %wc) @c
"""


def sliced(text: str, **lost: tuple[int, ...]) -> Sliced:
    """Remove the units at these positions from the families of these names."""
    graph = parse_text(text)
    coupling = couple(graph, OPS, infer(graph, OPS))
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        removed[family.units[list(lost.get(family.name, ()))]] = True
    return slice_axes(coupling, removed, "test")


def test_a_shared_constant_is_copied_where_its_readers_differ() -> None:
    made = sliced(SHARED, a=(0,), b=(1,))
    assert "bias" not in made.graph.constants
    assert made.origin["bias.a"] == made.origin["bias.b"] == "bias"
    assert made.kept["bias.a"] == ((1, 2, 3),)


def test_a_shared_constant_stays_one_where_its_readers_agree() -> None:
    made = sliced(SHARED, a=(0,), b=(0,))
    assert made.graph.constants["bias"].shape == (3,)
    assert made.origin["bias"] == "bias"


def test_a_reader_that_keeps_all_keeps_the_constant_itself() -> None:
    made = sliced(SHARED, a=(0,))
    assert made.graph.constants["bias"].shape == (4,)
    assert made.graph.constants["bias.a"].shape == (3,)


def test_types_follow() -> None:
    made = sliced(SHARED, a=(0, 1), b=(3,))
    assert str(made.graph.types["a"]) == "f32[1,2,4,4]"
    assert str(made.graph.types["b"]) == "f32[1,3,4,4]"


def test_a_product_of_activations_is_masked_by_a_factor() -> None:
    text = """
    graph (%x: f32[1,5,6]) -> (%y)
      %wq = constant f32[6,4] random(0)
      %wk = constant f32[6,4] random(1)
      %q = MatMul(%x, %wq) @q
      %k = MatMul(%x, %wk) @k
      %t = Transpose(%k) {perm=[0, 2, 1]} @t
      %y = MatMul(%q, %t) @scores
    """
    graph = parse_text(text)
    coupling = couple(graph, OPS, infer(graph, OPS))
    (family,) = [f for f in families(coupling) if f.width == 4]
    removed = np.zeros(len(coupling.pinned), bool)
    removed[family.units[:2]] = True
    masked = mask_axes(coupling, removed, "test")
    assert masked is not None
    assert [n.op for n in masked.nodes].count("Mul") == 1
    feeds = {"x": np.random.default_rng(0).normal(0, 1, (1, 5, 6)).astype(np.float32)}
    made = slice_axes(coupling, removed, "test").graph
    np.testing.assert_allclose(
        ort.run(made, feeds)["y"], ort.run(masked, feeds)["y"], rtol=1e-5, atol=1e-5
    )
