from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import Family, families
from slimc.analysis.sensitivity_curves import Curve, Curves, Point, Setup
from slimc.analysis.shapes import default_sizes, infer
from slimc.calib.data import Data
from slimc.calib.held_out import select_held_out
from slimc.calib.output_loss import LEAST_SAMPLES, WORST, MetricLoss, OutputError, evaluation_feeds
from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.ir.constant import Constant
from slimc.ir.digest import digest
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.rankings import rank
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.prune.sensitivity import kept_units, measure_curves, measure_points
from slimc.passes.prune.slice_axes import Sliced
from slimc.targets import resolve

CHAIN = """
graph (%x: f32[N,3,8,8]) -> (%y)
  %wa = constant f32[8,3,3,3] random(0)
  %wb = constant f32[8,8,3,3] random(1)
  %wc = constant f32[4,8] random(2)
  %a = Conv(%x, %wa) @a
  %ra = Relu(%a) @ra
  %b = Conv(%ra, %wb) @b
  %rb = Relu(%b) @rb
  %p = GlobalAveragePool(%rb) @p
  %f = Flatten(%p) @f
  %y = Gemm(%f, %wc){transB=1} @c
"""
JOINED = """
graph (%x: f32[N,4]) -> (%y)
  %wa = constant f32[4,8] random(0)
  %wb = constant f32[4,8] random(1)
  %boxes = constant f32[8,3] random(2, -1000..1000)
  %scores = constant f32[8,3] random(3, -0.001..0.001)
  %a = MatMul(%x, %wa) @a
  %b = MatMul(%x, %wb) @b
  %pixels = MatMul(%a, %boxes) @pixels
  %shares = MatMul(%b, %scores) @shares
  %both = Concat(%pixels, %shares){axis=1} @both
  %axes = constant i64[1] [2]
  %y = Unsqueeze(%both, %axes) @y
"""


def coupled(text: str | Graph) -> tuple[Coupling, tuple[Family, ...], Data]:
    graph = parse_text(text) if isinstance(text, str) else text
    data = Data.synthesize(graph, default_sizes(graph), count=2)
    sizes = {**default_sizes(graph), **data.sizes()}
    coupling = couple(graph, OPS, infer(graph, OPS, sizes))
    return coupling, tuple(f for f in families(coupling) if f.width > 1), data


def context(data: Data, **more: object) -> Context:
    return Context(OPS, resolve("generic-onnx"), data, **more)  # type: ignore[arg-type]


def measured(
    text: str | Graph,
    ratios: tuple[float, ...] = (0.25, 0.5, 0.75),
    refit: Callable[[Sliced], Graph] | None = None,
) -> dict[str, list[float]]:
    coupling, found, data = coupled(text)
    loss = OutputError.of(coupling, evaluation_feeds(coupling, data))
    rankings = rank(coupling, found, "magnitude", context(data))
    curves = measure_curves(coupling, found, rankings, ratios, loss, refit)
    return {curve.family: [point.error for point in curve.points] for curve in curves}


def silent(graph: Graph, name: str, rows: list[int]) -> Graph:
    """Set output channels of a weight to zero."""
    array = graph.constants[name].array.copy()
    array[rows] = 0
    return replace(graph, constants={**graph.constants, name: Constant(array)})


def test_every_family_of_a_chain_is_measured() -> None:
    found = measured(CHAIN)
    assert list(found) == ["a", "b"]
    assert all(len(errors) == 3 and min(errors) > 0.01 for errors in found.values())


def test_errors_rise_where_every_channel_has_its_output() -> None:
    graph = parse_text("""
    graph (%x: f32[N,4]) -> (%y)
      %wa = constant f32[4,8] random(0)
      %wb = constant f32[8,8] random(1)
      %a = MatMul(%x, %wa) @a
      %y = MatMul(%a, %wb) @y
    """)
    graph = replace(graph, constants={**graph.constants, "wb": Constant(np.eye(8, dtype="f"))})
    errors = measured(graph, (0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875))["a"]
    assert errors[0] > 0
    assert (np.diff(errors) > 0).all()


def test_channels_that_are_zero_cost_nothing() -> None:
    errors = measured(silent(parse_text(CHAIN), "wa", [1, 2, 5, 6]))["a"]
    assert errors[0] < 1e-10  # sums in another order
    assert errors[1] < 1e-10
    assert errors[2] > 1e-3


def test_a_cut_of_nothing_is_exactly_zero_and_the_formula_holds() -> None:
    coupling, _, data = coupled(CHAIN)
    feeds = evaluation_feeds(coupling, data)
    loss = OutputError.of(coupling, feeds)
    assert loss(coupling.graph) == 0
    changed = silent(coupling.graph, "wb", [0, 1, 2])
    wanted = np.concatenate([run(coupling.graph, feed)["y"] for feed in feeds]).astype(float)
    got = np.concatenate([run(changed, feed)["y"] for feed in feeds]).astype(float)
    energy = np.square(wanted - wanted.mean()).sum()
    assert loss(changed) == pytest.approx(np.square(got - wanted).sum() / energy)


def test_the_parts_of_a_joined_output_count_alike() -> None:
    found = measured(JOINED)
    assert found["a"][1] > 0.01
    assert found["b"][1] > 0.01  # beside pixels a million times as large
    coupling, _, data = coupled(JOINED)
    assert set(OutputError.of(coupling, tuple(data)).scale) == {"pixels", "shares"}


def test_outputs_that_are_not_finite_are_as_bad_as_can_be() -> None:
    coupling, _, data = coupled(CHAIN)
    loss = OutputError.of(coupling, evaluation_feeds(coupling, data))
    constant = coupling.graph.constants["wc"].array.copy()
    constant[0, 0] = np.nan
    broken = {**coupling.graph.constants, "wc": Constant(constant)}
    assert loss(replace(coupling.graph, constants=broken)) == WORST


def test_known_points_and_whole_families_are_not_run() -> None:
    coupling, found, data = coupled(CHAIN)
    ran: list[Graph] = []

    def loss(graph: Graph) -> float:
        ran.append(graph)
        return float(len(ran))

    rankings = rank(coupling, found, "magnitude", context(data))
    known = [Curve("a", 8, (Point(0.5, 4, 7.0),)), Curve("b", 8)]
    ratios = (0.01, 0.25, 0.24, 0.5, 0.45)
    points = list(measure_points(coupling, found, rankings, known, ratios, loss))
    assert [(name, p.ratio, p.kept, p.error) for name, p in points] == [
        ("a", 0.01, 8, 0.0),
        ("a", 0.24, 6, 1.0),
        ("a", 0.25, 6, 1.0),
        ("a", 0.45, 4, 7.0),
        ("b", 0.01, 8, 0.0),
        ("b", 0.24, 6, 2.0),
        ("b", 0.25, 6, 2.0),
        ("b", 0.45, 4, 3.0),
        ("b", 0.5, 4, 3.0),
    ]
    assert str(ran[0].types["a"]) == "f32[N,6,6,6]"


@pytest.mark.parametrize(
    ("width", "ratio", "kept"), [(8, 0.25, 6), (10, 0.3, 7), (100, 0.29, 71), (2, 0.9, 1)]
)
def test_the_nearest_number_of_units_goes(width: int, ratio: float, kept: int) -> None:
    assert kept_units(width, ratio) == kept


def test_a_refit_is_measured_in_place_of_the_cut() -> None:
    def refit(sliced: Sliced) -> Graph:
        assert "wb" in sliced.kept  # reads the channels of a, makes those of b
        return parse_text(CHAIN)

    assert set(measured(CHAIN, refit=refit)["a"]) == {0.0}


def test_a_cut_that_does_not_run_names_the_family() -> None:
    def refit(sliced: Sliced) -> Graph:
        raise SlimcError("run-failed", "no", "onnxruntime")

    with pytest.raises(SlimcError, match="no") as raised:
        measured(CHAIN, refit=refit)
    assert raised.value.where == "family 'a' with 6 of 8 units; onnxruntime"


def test_samples_are_bounded_by_their_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    coupling, _, _ = coupled(CHAIN)
    feed = {"x": np.zeros((40, 3, 8, 8), np.float32)}
    data = Data.from_feeds([feed, feed, feed], coupling.graph)
    sizes = {**default_sizes(coupling.graph), **data.sizes()}
    coupling = couple(coupling.graph, OPS, infer(coupling.graph, OPS, sizes))

    def counts(limit: int = 0) -> list[int]:
        return [len(feed["x"]) for feed in evaluation_feeds(coupling, data, limit)]

    assert counts() == [40, 24]
    assert counts(50) == [40, 10]
    macs = 36 * 8 * 27 + 16 * 8 * 72 + 32
    module = "slimc.calib.output_loss"
    monkeypatch.setattr(f"{module}.MACS_PER_POINT", 10 * macs)
    assert counts() == [10]
    data = Data.from_feeds([{"x": feed["x"][:3]}] * 9, coupling.graph)
    assert counts() == [3, 3, 3, 1]  # feeds smaller than those the graph was analysed for
    data = Data.from_feeds([feed], coupling.graph)
    monkeypatch.setattr(f"{module}.MACS_PER_POINT", 1)
    assert counts() == [LEAST_SAMPLES]
    monkeypatch.setattr(f"{module}.LIVE_BYTES", 1)
    assert counts() == [1] * LEAST_SAMPLES


def test_feeds_of_a_fixed_size_are_taken_whole() -> None:
    coupling, _, _ = coupled(CHAIN.replace("f32[N,3,8,8]", "f32[6,3,8,8]"))
    feed = {"x": np.zeros((6, 3, 8, 8), np.float32)}
    data = Data.from_feeds([feed] * 9, coupling.graph)
    assert [len(f["x"]) for f in evaluation_feeds(coupling, data, 10)] == [6, 6]


def test_held_out_feeds_of_a_fixed_size_are_whole_too() -> None:
    for leading, sizes in (("N", [1, 1, 1, 1]), ("4", [4, 4, 4, 4])):
        graph = parse_text(CHAIN.replace("f32[N,3,8,8]", f"f32[{leading},3,8,8]"))
        data = Data.from_feeds([{"x": np.zeros((4, 3, 8, 8), np.float32)}] * 5, graph)
        assert [len(feed["x"]) for feed in select_held_out(data, 20)] == sizes


def test_an_output_without_floats_needs_a_score() -> None:
    text = "graph (%x: f32[N,4]) -> (%y)\n  %y = ArgMax(%x){axis=1} @y\n"
    coupling, _, data = coupled(text)
    with pytest.raises(SlimcError) as raised:
        OutputError.of(coupling, tuple(data))
    assert raised.value.name == "no-float-output"


def test_a_metric_loses_what_it_had() -> None:
    coupling, _, data = coupled(CHAIN)
    feed = next(iter(data))
    loss = MetricLoss.of(coupling.graph, lambda run: float(np.abs(run(feed)[0]).sum()))
    assert loss(coupling.graph) == 0
    assert loss(silent(coupling.graph, "wb", list(range(8)))) > 0
    for broken in (lambda run: float("nan"), lambda run: run({}), lambda run: "much"):
        with pytest.raises(SlimcError) as raised:
            MetricLoss.of(coupling.graph, broken)
        assert raised.value.name in ("bad-metric", "feeds-mismatch")


def measured_curves(graph: Graph, **errors: float) -> Curves:
    """Curves with one error at the half for every family."""
    setup = Setup(digest(graph), "", "magnitude", "output error", 0, 1)
    return Curves(setup, tuple(Curve(f, 8, (Point(0.5, 4, e),)) for f, e in errors.items()))


def test_widths_are_chosen_by_measured_curves() -> None:
    graph = parse_text(CHAIN)
    data = Data.synthesize(graph, default_sizes(graph))
    lost = {}
    for hard in ("a", "b"):
        curves = measured_curves(graph, **{"a": 0.001, "b": 0.001, hard: 0.9})
        ctx = context(data, curves=curves, sizes=default_sizes(graph))
        result = RemoveChannels(ratio=0.4, align=1, score="magnitude").run(graph, ctx)
        after = result.graph.constants
        lost[hard] = (8 - after["wa"].shape[0], 8 - after["wb"].shape[0])
    assert lost["a"][0] < lost["a"][1]
    assert lost["b"][0] > lost["b"][1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: replace(c, setup=replace(c.setup, model="x")), "another model"),
        (lambda c: replace(c, setup=replace(c.setup, score="obs")), "channels ordered by obs"),
        (lambda c: replace(c, setup=replace(c.setup, seed=1)), "seed 1, not 0"),
        (lambda c: replace(c, curves=c.curves[:1]), "no point of family 'b'"),
        (lambda c: replace(c, curves=(*c.curves, Curve("z", 8))), "has no family 'z'"),
        (
            lambda c: replace(c, curves=(c.curves[0], replace(c.curves[1], width=9))),
            "family 'b' had 9 channels, not 8",
        ),
    ],
)
def test_curves_of_something_else_are_an_error(
    change: Callable[[Curves], Curves], said: str
) -> None:
    graph = parse_text(CHAIN)
    data = Data.synthesize(graph, default_sizes(graph))
    curves = change(measured_curves(graph, a=0.1, b=0.2))
    with pytest.raises(SlimcError) as raised:
        RemoveChannels(score="magnitude").run(
            graph, context(data, curves=curves, sizes=default_sizes(graph))
        )
    assert raised.value.name == "curves-mismatch"
    assert said in raised.value.message


def test_families_that_are_kept_need_no_notice() -> None:
    graph = parse_text(CHAIN)
    data = Data.synthesize(graph, default_sizes(graph))
    curves = measured_curves(graph, a=0.1, b=0.2)
    ctx = context(data, curves=curves, sizes=default_sizes(graph))
    result = RemoveChannels(keep=("a",), align=1, score="magnitude").run(graph, ctx)
    assert result.graph.constants["wa"].shape[0] == 8
    assert result.graph.constants["wb"].shape[0] < 8
