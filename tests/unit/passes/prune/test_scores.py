from __future__ import annotations

import numpy as np

from slimc.analysis.coupling import couple
from slimc.analysis.group_view import FamilyView, views
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS
from slimc.passes.prune.scores import SCORES, distance_to_others

MADE = np.array([[1, 0], [0, 2], [2, 2]], np.float32).T  # f32[2,3]: columns make the 3 units
READ = np.array([[3], [1], [1]], np.float32)  # f32[3,1]: rows read them


def view(seed: int = 0) -> FamilyView:
    graph = Graph(
        "chain",
        ("x",),
        ("y",),
        (Node("MatMul", ("x", "m"), ("h",), "a"), Node("MatMul", ("h", "r"), ("y",), "b")),
        {"m": Constant(MADE), "r": Constant(READ)},
        {"x": TensorType(DType.F32, (1, 2))},
    )
    coupling = couple(graph, OPS, infer(graph, OPS))
    (found,) = [v for v in views(coupling, families(coupling), seed) if v.width == 3]
    return found


def of(name: str, seed: int = 0) -> np.ndarray:
    return np.asarray(SCORES[name](view(seed)))


def test_a_view_shows_the_weights_of_each_unit() -> None:
    (made,), (read,) = view().made, view().read
    np.testing.assert_array_equal(made, MADE.T)
    np.testing.assert_array_equal(read, READ)


def test_magnitude_is_the_product_of_what_makes_and_what_reads_a_unit() -> None:
    made, read = np.sqrt([1, 4, 8]), np.array([3, 1, 1])
    np.testing.assert_allclose(of("magnitude"), made / made.mean() * read / read.mean())


def test_l1_sums_absolutes() -> None:
    np.testing.assert_allclose(of("magnitude-l1"), np.array([1.0, 2, 4]) * [3, 1, 1] * 9 / 35)


def test_geometric_median_measures_distances_to_all_others() -> None:
    made = np.array([5**0.5 + 5**0.5, 5**0.5 + 2, 5**0.5 + 2])
    read = np.array([4.0, 2, 2])
    np.testing.assert_allclose(of("geometric-median"), made / made.mean() * read / read.mean())


def test_a_channel_that_others_double_goes_first() -> None:
    doubled = np.array([[1.0, 0], [1, 0], [0, 3], [5, 5]])
    assert distance_to_others(doubled).argmin() in (0, 1)


def test_random_scores_follow_the_seed() -> None:
    assert np.array_equal(of("random", 1), of("random", 1))
    assert not np.array_equal(of("random", 1), of("random", 2))
