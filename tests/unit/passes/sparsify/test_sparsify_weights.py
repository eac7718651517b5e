from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import slimc
from slimc.analysis.shapes import infer, retype
from slimc.calib.data import Data
from slimc.calib.sample_errors import sample_errors
from slimc.errors import SlimcError
from slimc.io.read import read
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.base import PassResult
from slimc.passes.context import Context
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.sparsify.sparsify_weights import SparsifyWeights
from slimc.targets.onnxruntime.devices import CPU_VNNI
from slimc.targets.rules.sparsity import sparse_weights
from slimc.targets.tensorrt.devices import JETSON_ORIN

NET = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[16,3,3,3] random(0)
  %wb = constant f32[32,16,3,3] random(1)
  %bb = constant f32[32] random(2)
  %wd = constant f32[32,1,3,3] random(3)
  %wc = constant f32[16,32,1,1] random(4)
  %wf = constant f32[16,5] random(5)
  %a = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @first
  %ra = Relu(%a) @ra
  %b = Conv(%ra, %wb, %bb) {pads=[1, 1, 1, 1]} @wide
  %rb = Relu(%b) @rb
  %d = Conv(%rb, %wd) {group=32, pads=[1, 1, 1, 1]} @depthwise
  %c = Conv(%d, %wc) @pointwise
  %s = Add(%c, %ra) @sum
  %m = GlobalAveragePool(%s) @pool
  %v = Flatten(%m) @flat
  %y = MatMul(%v, %wf) @product
"""
SPARSE = {"wide": "wb", "pointwise": "wc", "product": "wf"}
FEW = "sparsify{min_channels=4,align=4}"


def feeds(count: int, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    fields = 1 + rng.standard_normal((count, 3, 8, 8)).cumsum(axis=2) / 4
    return [{"x": one[None].astype(np.float32)} for one in fields]


def context(graph: Graph, count: int = 60) -> Context:
    return Context(OPS, JETSON_ORIN, Data.from_feeds(feeds(count), graph))


def run(one: SparsifyWeights, text: str = NET) -> tuple[Graph, PassResult]:
    graph = retype(parse_text(text), OPS)
    return graph, one.run(graph, context(graph))


def sparse(graph: Graph) -> set[str]:
    """Return the names of contractions whose weights are 2:4 as kernels get them."""
    found = sparse_weights(graph, OPS, infer(graph, OPS))
    return {one.node.name for one in found if one.is_sparse and one.groups == 1}


def error(graph: Graph, made: Graph) -> float:
    """Return the error of the outputs on samples that no pass has seen, as a geometric mean."""
    return float(np.exp(np.log(sample_errors(graph, [made], feeds(200, seed=9))[0]).mean()))


def test_outputs_are_nearer_than_with_the_largest_weights_on_unseen_samples() -> None:
    graph, made = run(SparsifyWeights(min_channels=4))
    _, largest = run(SparsifyWeights(min_channels=4, score="magnitude"))
    assert sparse(made.graph) == sparse(largest.graph) == set(SPARSE)
    assert error(graph, made.graph) < 0.2 * error(graph, largest.graph)
    assert made.facts["sparse"] == 3
    assert made.facts["gain_db"] > 3
    assert made.remarks[0].message.endswith("closer than by magnitude on held-out samples")


def test_every_contraction_is_told() -> None:
    _, made = run(SparsifyWeights(min_channels=8))
    told = {remark.node: remark.message for remark in made.remarks if remark.node}
    assert told["wide"].startswith("two of every four weights are kept by ")
    assert told["first"] == "stays dense: its 3 input channels are not a multiple of 16"
    assert told["depthwise"] == "stays dense: grouped kernels are dense, and it has 32 groups"
    assert "16 input and 5 output channels" in told["product"]


def test_dense_layers_behind_are_refitted() -> None:
    graph, made = run(SparsifyWeights(min_channels=8, keep=("pointwise",)))
    assert {row["node"] for row in made.facts["layers"]} >= {"wide", "pointwise"}
    assert sparse(made.graph) == {"wide"}
    new, old = (one.constants["wc"].array for one in (made.graph, graph))
    assert not np.array_equal(new, old)


def test_the_largest_stay_where_there_are_no_samples() -> None:
    graph = retype(parse_text(NET), OPS)
    ctx = replace(context(graph), data=Data.synthesize(graph, {"N": 1}, 0, 4))
    made = SparsifyWeights(min_channels=4).run(graph, ctx)
    assert made.remarks[0].message == "no samples: the largest weights are kept"
    _, largest = run(SparsifyWeights(min_channels=4, score="magnitude"))
    for name in SPARSE.values():
        np.testing.assert_array_equal(
            made.graph.constants[name].array, largest.graph.constants[name].array
        )


def test_the_largest_stay_where_nothing_is_surely_nearer() -> None:
    graph = retype(
        parse_text("""
graph (%x: f32[N,16]) -> (%y)
  %w = constant f32[16,16] random(0)
  %y = MatMul(%x, %w) @product
"""),
        OPS,
    )
    rng = np.random.default_rng(0)
    rows = [{"x": rng.standard_normal((1, 16)).astype(np.float32)} for _ in range(60)]
    ctx = replace(context(parse_text(NET)), data=Data.from_feeds(rows, graph))
    made = SparsifyWeights(min_channels=16).run(graph, ctx)
    largest = SparsifyWeights(min_channels=16, score="magnitude").run(graph, ctx)
    assert made.remarks[0].message.startswith("by magnitude: outputs are not significantly closer")
    new, old = (one.graph.constants["w"].array for one in (made, largest))
    np.testing.assert_array_equal(new, old)


def test_explain_says_which_layers_will_be_sparse_without_fitting() -> None:
    graph = retype(parse_text(NET), OPS)
    said = SparsifyWeights(min_channels=8).explain(graph, context(graph))
    assert {one.node for one in said if one.kind == "applied"} == {"wide", "pointwise"}
    assert {one.node for one in said if one.kind == "skipped"} == {"first", "depthwise", "product"}


def test_what_is_sparse_stays_as_it_is() -> None:
    _, once = run(SparsifyWeights(min_channels=4))
    again = SparsifyWeights(min_channels=4).run(once.graph, context(once.graph))
    assert again.graph is once.graph
    told = {remark.node: remark.message for remark in again.remarks}
    assert told["wide"] == "stays dense: its weights are 2:4 already"


def test_a_node_to_keep_that_is_not_there_is_refused() -> None:
    with pytest.raises(SlimcError) as caught:
        run(SparsifyWeights(keep=("nowhere",)))
    assert caught.value.name == "unknown-node"


def test_a_target_that_gains_nothing_is_refused_unless_forced() -> None:
    graph = retype(parse_text(NET), OPS)
    ctx = replace(context(graph), target=CPU_VNNI)
    with pytest.raises(SlimcError, match="no sparse kernels") as caught:
        SparsifyWeights(min_channels=4).run(graph, ctx)
    assert caught.value.name == "no-sparse-kernels"
    forced = SparsifyWeights(min_channels=4, score="magnitude", force=True).run(graph, ctx)
    assert sparse(forced.graph) == set(SPARSE)


def test_second_order_needs_samples() -> None:
    graph = retype(parse_text(NET), OPS)
    ctx = replace(context(graph), data=Data.synthesize(graph, {"N": 1}, 0, 4))
    with pytest.raises(SlimcError) as caught:
        SparsifyWeights(score="second-order").run(graph, ctx)
    assert caught.value.name == "calib-missing"


def test_scales_come_after() -> None:
    graph = retype(parse_text(NET), OPS)
    scaled = AssignScales(calibrator="minmax").run(graph, context(graph)).graph
    with pytest.raises(SlimcError) as caught:
        SparsifyWeights().run(scaled, context(graph))
    assert caught.value.name == "already-quantized"


@pytest.mark.parametrize(
    "passes",
    [
        f"{FEW},quant",
        f"{FEW},equalize-scales,quant",
        f"{FEW},fuse-bias,assign-scales,search-scales,correct-bias",
        f"{FEW},quant{{scheme=int4-weights,min_elements=1}}",
        f"{FEW},quant{{scheme=fp16}}",
        f"{FEW},quant{{scheme=int8,rest=fp16}}",
        f"remove-channels{{ratio=0.2,align=4}},{FEW},repair-weights,quant",
    ],
)
def test_zeros_are_in_the_file_whatever_follows(passes: str, tmp_path: Path) -> None:
    graph = retype(parse_text(NET), OPS)
    made = slimc.compile(graph, passes, "jetson-orin", data=feeds(20))
    made.save(tmp_path / "made.onnx")
    assert sparse(read(tmp_path / "made.onnx")) >= {"wide", "pointwise"}
    assert any(one.message.startswith("3 of 5 contractions are 2:4") for one in made.report.notes)
    assert made.report.agreement[0].sqnr_db > 5


def test_repair_without_samples_keeps_the_zeros() -> None:
    graph = retype(parse_text(NET), OPS)
    passes = f"remove-channels{{ratio=0.2,align=4}},{FEW},repair-weights"
    made = slimc.compile(graph, passes, "jetson-orin")
    assert sparse(made.graph) == set(SPARSE)


def test_pruned_networks_are_fitted_to_what_they_were() -> None:
    graph = retype(parse_text(NET), OPS)
    pruned = slimc.compile(graph, "prune{ratio=0.2,align=4}", "jetson-orin", data=feeds(40)).graph
    both = slimc.compile(
        graph, f"prune{{ratio=0.2,align=4}},{FEW}", "jetson-orin", data=feeds(40)
    ).graph
    assert sparse(both) == set(SPARSE)
    _, alone = run(SparsifyWeights(min_channels=4))
    assert error(graph, pruned) < error(graph, both) < 20 * error(graph, alone.graph)


def test_the_file_is_the_same_byte_by_byte(tmp_path: Path) -> None:
    graph = retype(parse_text(NET), OPS)
    files = []
    for name in ("a.onnx", "b.onnx"):
        slimc.compile(graph, f"{FEW},quant", "jetson-orin", data=feeds(20)).save(tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]
