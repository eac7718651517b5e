from __future__ import annotations

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import run
from slimc.io.downgrade import downgrade, lowest_opset
from slimc.io.read import from_bytes
from slimc.io.write import to_bytes
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.verify import find_problems

TOLERANCE = 1e-5  # decomposed, several f32 roundings stand for one


def graph(text: str) -> Graph:
    return parse_text(f"graph {text}")


def kinds(made: Graph) -> list[str]:
    return [node.kind for node in made.nodes]


def check(made: Graph, opset: int) -> Graph:
    """Return the graph of that opset; it means the same."""
    lowered = downgrade(made, opset)
    assert not list(find_problems(lowered))
    rng = np.random.default_rng(0)
    feeds = {"x": rng.standard_normal((2, 4, 6)).astype(np.float32)}
    wanted = run(made, feeds)
    got = run(from_bytes(to_bytes(made, opset)), feeds)
    assert all(difference(wanted[o], got[o]) < TOLERANCE for o in made.outputs)
    return lowered


@pytest.mark.parametrize(
    ("opset", "node", "expected"),
    [
        (13, "Mish(%x)", ["Softplus", "Tanh", "Mul"]),
        (13, "HardSwish(%x)", ["HardSigmoid", "Mul"]),
        (17, "Gelu(%x)", ["Cast", "Cast", "Cast", "Sqrt", "Div", "Erf", "Sum", "Mul", "Mul"]),
        (13, "LayerNormalization(%x, %s)", ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add",
                                            "Sqrt", "Reciprocal", "Mul", "Mul"]),
        (17, "RMSNormalization(%x, %s)", ["Mul", "ReduceMean", "Add", "Sqrt", "Reciprocal",
                                          "Mul", "Mul"]),
    ],
)  # fmt: skip
def test_what_an_opset_lacks_is_decomposed(opset: int, node: str, expected: list[str]) -> None:
    made = graph(f"""(%x: f32[N,4,6]) -> (%y)
  %s = constant f32[6] random(1)
  %y: f32[N,4,6] = {node} @one
""")
    lowered = check(made, opset)
    if "Gelu" not in node:  # its constants follow the type by Casts, or not
        assert kinds(lowered) == expected
    assert all(n.name.startswith("one.") for n in lowered.nodes)


def test_all_results_of_a_layer_norm() -> None:
    made = graph("""(%x: f32[2,4,6]) -> (%y, %m, %i)
  %s = constant f32[4,6] random(1)
  %b = constant f32[4,6] random(2)
  %y: f32[2,4,6], %m: f32[2,1,1], %i: f32[2,1,1] = LayerNormalization(%x, %s, %b) {axis=1}
""")  # fmt: skip
    check(made, 13)


def test_axes_become_attributes_again() -> None:
    made = graph("""(%x: f32[N,4,6]) -> (%y)
  %a = constant i64[2] [1, -1]
  %y: f32[N,1,1] = ReduceMean(%x, %a)
""")
    lowered = check(made, 13)
    assert lowered.nodes[0].attrs == {"axes": (1, -1)}
    assert not lowered.constants
    assert lowered.nodes[0].inputs == ("x",)


def test_a_reduction_by_computed_axes_is_spelled_out_or_refused() -> None:
    text = """(%x: f32[2,4,6], %a: i64[1]) -> (%y)
  %y: f32[...] = {op}(%x, %a)
"""
    spelled = downgrade(graph(text.format(op="ReduceL2")), 13)
    assert "ReduceSum" in kinds(spelled)
    with pytest.raises(SlimcError, match="opset-cannot-express") as caught:
        downgrade(graph(text.format(op="ReduceMax")), 13)
    assert "'y' (ReduceMax), opset 13" in caught.value.where


def test_shapes_from_a_start_are_cut_out() -> None:
    made = graph("(%x: f32[N,4,6]) -> (%y)\n  %y: i64[2] = Shape(%x) {start=1}")
    assert kinds(check(made, 13)) == ["Shape", "Slice"]


def test_uneven_splits_get_sizes() -> None:
    even = graph("""(%x: f32[2,4,6]) -> (%a, %b)
  %a: f32[2,4,3], %b: f32[2,4,3] = Split(%x) {axis=-1, num_outputs=2}
""")
    assert check(even, 13).nodes[0].inputs == ("x",)
    uneven = graph("""(%x: f32[2,4,6]) -> (%a, %b, %c, %d)
  %a: f32[2,4,2], %b: f32[2,4,2], %c: f32[2,4,2], %d: f32[2,4,0] = Split(%x) {axis=2, num_outputs=4}
""")
    sizes = check(uneven, 13).array("a.split")
    assert sizes is not None
    assert sizes.tolist() == [2, 2, 2, 0]


def test_pads_of_chosen_axes_are_spread() -> None:
    made = graph("""(%x: f32[N,4,6]) -> (%y)
  %p = constant i64[2] [1, 2]
  %a = constant i64[1] [-2]
  %y: f32[N,7,6] = Pad(%x, %p, _, %a)
""")
    lowered = check(made, 13)
    assert lowered.nodes[0].inputs == ("x", "y.pads")


def test_resizes_of_chosen_axes_are_spread() -> None:
    made = graph("""(%x: f32[2,4,6]) -> (%y, %z)
  %c = constant f32[1] [2]
  %s = constant i64[2] [3, 8]
  %y: f32[2,4,12] = Resize(%x, _, %c) {axes=[2], coordinate_transformation_mode="asymmetric"}
  %z: f32[3,8,6] = Resize(%x, _, _, %s) {axes=[0, 1], coordinate_transformation_mode="asymmetric"}
""")
    lowered = check(made, 13)
    assert all("axes" not in node.attrs for node in lowered.nodes)


def test_group_norms_are_expanded() -> None:
    made = graph("""(%x: f32[N,4,6]) -> (%y)
  %s = constant f32[4] random(1)
  %y: f32[N,4,6] = GroupNormalization(%x, %s, %s) {num_groups=2}
""")
    check(made, 18)
    check(made, 13)
    assert lowest_opset(made, 17) == 21


def test_bodies_are_brought_down_too() -> None:
    made = graph("""(%x: f32[2,4,6]) -> (%y)
  %c = constant bool[] true
  %y: f32[...] = If(%c)
    then_branch = graph () -> (%r)
      %a = constant i64[1] [1]
      %r: f32[2,1,6] = ReduceMax(%x, %a)
    else_branch = graph () -> (%s)
      %s: f32[2,4,6] = Mish(%x)
""")
    lowered = check(made, 13)
    assert [n.op for b in lowered.nodes[0].bodies for n in b.nodes] == [
        "Softplus", "Tanh", "Mul", "ReduceMax",
    ]  # fmt: skip


def test_defaults_that_are_spelled_out_do_no_harm() -> None:
    made = graph("""(%x: f32[2,4,6]) -> (%y)
  %t = constant i64[2] [2, -1]
  %y: f32[2,24] = Reshape(%x, %t) {allowzero=0}
""")
    assert not check(made, 13).nodes[0].attrs


@pytest.mark.parametrize(
    ("node", "opset", "reason"),
    [
        ("Trilu(%x)", 13, "the operator came with opset 14"),
        ("DeformConv(%x, %x, %x)", 17, "the operator came with opset 19"),
        ("Elu(%h)", 21, "of type bf16[2] came with a later opset"),
        ("Mod(%x, %x)", 27, "came with opset 28"),
        ("Reshape(%x, %d) {allowzero=1}", 13, "allowzero=1"),
        ("Resize(%x, _, _, %d) {keep_aspect_ratio_policy=\"not_larger\"}", 17, "aspect ratio"),
        ("Attention(%x, %x, %x) {left_window_size=3}", 24, "'left_window_size'"),
    ],
)  # fmt: skip
def test_what_cannot_be_expressed_is_refused_by_name(node: str, opset: int, reason: str) -> None:
    text = f"(%x: f32[2,4,6], %h: bf16[2], %d: i64[3]) -> (%y)\n  %y = {node} @culprit"
    with pytest.raises(SlimcError, match="opset-cannot-express") as caught:
        downgrade(graph(text), opset, functions=False)
    assert reason in caught.value.message
    assert "'culprit'" in caught.value.where


def test_unknown_operators_are_left_alone() -> None:
    text = "(%x: f32[2]) -> (%y)\n  %z = Crop(%x) {scale=[1, 2]}\n  %y = mine.Op(%z)"
    assert kinds(downgrade(graph(text), 13)) == ["Crop", "mine.Op"]
