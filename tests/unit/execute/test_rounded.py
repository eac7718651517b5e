from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from slimc.execute.ort import Session, check_loads, run
from slimc.execute.rounded import has_narrow, with_roundings
from slimc.io.write import to_bytes
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.verify import verify

X = np.random.default_rng(0).normal(size=(1, 256)).astype(np.float32)


def chain(dtype: str, code: int) -> Graph:
    return parse_text(
        f"""graph (%x: f32[1,256]) -> (%y)
  %a: {dtype}[1,256] = Cast(%x) {{to={code}}}
  %b: {dtype}[1,256] = Exp(%a) @exp
  %c: {dtype}[1,256] = Log(%b) @log
  %y: f32[1,256] = Cast(%c) {{to=1}}"""
    )


@pytest.mark.parametrize(("dtype", "code", "numpy"), [
    ("f16", 10, np.float16), ("bf16", 16, ml_dtypes.bfloat16)
])  # fmt: skip
def test_every_result_is_rounded(dtype: str, code: int, numpy: type) -> None:
    def rounded(array: np.ndarray) -> np.ndarray:
        made: np.ndarray = array.astype(numpy).astype(np.float32)
        return made

    wanted = rounded(np.log(rounded(np.exp(rounded(X)))))
    found = run(chain(dtype, code), {"x": X})["y"]
    assert np.abs(found - wanted).max() < 2 * float(ml_dtypes.finfo(numpy).eps)  # a step of log
    assert np.mean(found == wanted) > 0.99
    assert np.abs(found - rounded(X)).max() > 0


def test_what_is_too_large_for_f16_is_infinite() -> None:
    graph = parse_text(
        """graph (%x: f32[2]) -> (%y)
  %k = constant f16[] 300
  %a: f16[2] = Cast(%x) {to=10}
  %b: f16[2] = Mul(%a, %k)
  %c: f16[2] = Mul(%b, %k)
  %d: f16[2] = Div(%c, %k)
  %y: f32[2] = Cast(%d) {to=1}"""
    )
    assert np.isinf(run(graph, {"x": np.array([1, 1], np.float32)})["y"]).all()


def test_integers_beside_floats_are_left_alone() -> None:
    graph = parse_text(
        """graph (%x: f16[2,3], %i: i64[2]) -> (%y, %s)
  %y: f16[2,3] = Gather(%x, %i) {axis=0}
  %s: i64[2] = Shape(%x)"""
    )
    made = with_roundings(graph)
    verify(made)
    x = np.ones((2, 3), np.float16)
    found = Session(graph).run({"x": x, "i": np.array([1, 0])})
    assert found["y"].dtype == np.float16
    assert found["s"].tolist() == [2, 3]


def test_a_graph_in_f32_stays_the_same_object() -> None:
    graph = parse_text("graph (%x: f32[1]) -> (%y)\n  %y: f32[1] = Exp(%x)")
    assert not has_narrow(graph)
    assert with_roundings(graph) is graph


def test_files_in_bf16_load_though_onnxruntime_lacks_kernels() -> None:
    check_loads(to_bytes(chain("bf16", 16)))
