from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from optimized import optimized_ops

from slimc.errors import SlimcError
from slimc.execute.ort import Session, evaluate, measure_latency, run
from slimc.io.write import to_bytes, write
from slimc.ir.text import parse_text
from slimc.ir.types import DType

NET = parse_text("""graph (%x: f32[N,64]) -> (%y)
  %w = constant f32[64,64] random(0)
  %z: f32[N,64] = MatMul(%x, %w)
  %y: f32[N,64] = Relu(%z)
""")
X = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)


def test_a_run() -> None:
    weights = NET.array("w")
    assert weights is not None
    results = run(NET, {"x": X})
    assert list(results) == ["y"]
    # sums of 64 products in another order
    np.testing.assert_allclose(results["y"], np.maximum(X @ weights, 0), atol=1e-4)


def test_a_session_runs_again_and_gives_any_value() -> None:
    session = Session(NET, outputs=["z", "w", "x"], threads=1)
    assert session.inputs == ("x",)
    for batch in (X, X[:1]):
        results = session.run({"x": batch})
        assert results["z"].shape == batch.shape
        assert (results["x"] == batch).all()
        assert (results["w"] == NET.array("w")).all()


@pytest.mark.parametrize("feeds", [{}, {"x": X, "extra": X}, {"y": X}])
def test_feeds_that_do_not_match(feeds: dict[str, np.ndarray]) -> None:
    with pytest.raises(SlimcError, match="feeds-mismatch") as caught:
        run(NET, feeds)
    assert "'" in caught.value.message


def test_what_onnxruntime_refuses_is_told() -> None:
    with pytest.raises(SlimcError, match="run-failed"):
        run(NET, {"x": X[:, :5]})
    with pytest.raises(SlimcError, match="runtime-refuses") as caught:
        run(parse_text("graph (%x: f32[2]) -> (%y)\n  %y: f32[2] = mine.Op(%x)"), {})
    assert "[ONNXRuntimeError]" not in caught.value.message
    with pytest.raises(SlimcError, match="value-unknown"):
        Session(NET, outputs=["q"])


def test_constants_are_evaluated() -> None:
    graph = parse_text("""graph () -> (%y, %s)
  %a = constant f32[2] [1, 2]
  %y: f32[2] = Add(%a, %a)
  %s: i64[1] = Shape(%a)
""")
    results = evaluate(graph)
    assert results["y"].tolist() == [2, 4]
    assert results["s"].tolist() == [2]


@pytest.mark.parametrize(
    "dtype", [DType.BF16, DType.F8E4M3FN, DType.F8E5M2, DType.I4, DType.U4], ids=lambda d: d.text
)
def test_values_of_types_that_numpy_lacks(dtype: DType) -> None:
    graph = parse_text(f"""graph (%x: {dtype.text}[3]) -> (%y, %x)
  %z: f32[3] = Cast(%x) {{to=1}}
  %y: {dtype.text}[3] = Cast(%z) {{to={dtype.code}}}
""")
    x = np.array([1, 2, 3]).astype(dtype.numpy)
    results = run(graph, {"x": x})
    for value in ("x", "y"):
        assert results[value].dtype == dtype.numpy
        assert results[value].tolist() == x.tolist()


def test_sequences_and_texts_come_out() -> None:
    graph = parse_text("""graph (%x: f32[2], %t: string[2]) -> (%s, %u)
  %s: seq<f32[2]> = SequenceConstruct(%x, %x)
  %u: string[2] = Identity(%t)
""")
    results = run(graph, {"x": np.ones(2, np.float32), "t": np.array(["a", "b"], object)})
    assert [a.tolist() for a in results["s"]] == [[1, 1], [1, 1]]
    assert results["u"].tolist() == ["a", "b"]


def test_latencies_are_measured_in_turn(tmp_path: Path) -> None:
    write(NET, tmp_path / "net.onnx", external=True)
    models = [NET, to_bytes(NET), tmp_path / "net.onnx"]
    seconds = measure_latency(models, {"x": X}, rounds=3, threads=1)
    assert len(seconds) == 3
    assert all(0 < s < 1 for s in seconds)
    with pytest.raises(SlimcError, match="feeds-mismatch"):
        measure_latency([NET], {}, rounds=1)


def test_long_constants_that_only_a_body_reads() -> None:
    graph = parse_text("""graph (%c: bool[], %x: f32[512]) -> (%y)
  %w = constant f32[512] fill(2)
  %unread = constant f32[512] fill(3)
  %y: f32[512] = If(%c)
    then_branch = graph () -> (%r)
      %r: f32[512] = Mul(%x, %w)
    else_branch = graph () -> (%s)
      %k = constant f32[512] fill(5)
      %s: f32[512] = Mul(%x, %k)
""")
    session = Session(graph)
    for flag, factor in ((True, 2), (False, 5)):
        y = session.run({"c": np.array(flag), "x": np.ones(512, np.float32)})["y"]
        assert (y == factor).all()


def test_signed_activations_have_integer_kernels_where_the_processor_has_them() -> None:
    graph = parse_text(
        """graph (%x: f32[1,4,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 5
  %w.q = constant i8[4,4,1,1] random(0)
  %w.z = constant i8[] 0
  %w: f32[4,4,1,1] = DequantizeLinear(%w.q, %s, %w.z)
  %q: i8[1,4,4,4] = QuantizeLinear(%x, %s, %z)
  %a: f32[1,4,4,4] = DequantizeLinear(%q, %s, %z)
  %c: f32[1,4,4,4] = Conv(%a, %w)
  %d: i8[1,4,4,4] = QuantizeLinear(%c, %s, %z)
  %e: f32[1,4,4,4] = DequantizeLinear(%d, %s, %z)
  %f: f32[1,4,4,4] = Sigmoid(%e)
  %g: i8[1,4,4,4] = QuantizeLinear(%f, %s, %z)
  %y: f32[1,4,4,4] = DequantizeLinear(%g, %s, %z)"""
    )
    kinds = optimized_ops(graph, signed=True)
    assert sum(n for kind, n in kinds.items() if kind.endswith("QLinearConv")) == 1
