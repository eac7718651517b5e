from __future__ import annotations

import numpy as np

from slimc.analysis.channels import couple
from slimc.analysis.families import families
from slimc.analysis.scores import scores
from slimc.analysis.shapes import infer
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS

MADE = np.array([[1, 0], [0, 2], [2, 2]], np.float32).T  # f32[2,3]: columns make the 3 units
READ = np.array([[3], [1], [1]], np.float32)  # f32[3,1]: rows read them


def of(kind: str, seed: int = 0) -> np.ndarray:
    graph = Graph(
        "chain",
        ("x",),
        ("y",),
        (Node("MatMul", ("x", "m"), ("h",), "a"), Node("MatMul", ("h", "r"), ("y",), "b")),
        {"m": Constant(MADE), "r": Constant(READ)},
        {"x": TensorType(DType.F32, (1, 2))},
    )
    coupling = couple(graph, OPS, infer(graph, OPS))
    found = families(coupling)
    (number,) = [i for i, f in enumerate(found) if f.width == 3]
    return scores(coupling, found, kind, seed)[number]  # type: ignore[arg-type]  # a test's text


def test_a_score_is_the_product_of_what_makes_and_what_reads_a_unit() -> None:
    made, read = np.sqrt([1, 4, 8]), np.array([3, 1, 1])
    wanted = made * read / (made * read).mean()
    np.testing.assert_allclose(of("magnitude"), wanted)


def test_l1_sums_absolutes() -> None:
    wanted = np.array([3.0, 2.0, 4.0])
    np.testing.assert_allclose(of("magnitude-l1"), wanted / wanted.mean())


def test_the_mean_over_a_family_is_one() -> None:
    assert abs(of("magnitude").mean() - 1) < 1e-12


def test_random_scores_follow_the_seed() -> None:
    assert np.array_equal(of("random", 1), of("random", 1))
    assert not np.array_equal(of("random", 1), of("random", 2))
