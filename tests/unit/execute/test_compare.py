from __future__ import annotations

import math

import numpy as np
import pytest

from slimc.execute.compare import difference, differences
from slimc.ir.text import parse_text

F = np.float32


@pytest.mark.parametrize(
    ("wanted", "got", "apart"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [1.5, -4.0], 0.125),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([np.nan, 2.0], [np.nan, 2.0], 0.0),
        ([np.nan, 2.0], [np.nan, 1.0], 0.5),
        ([np.inf, 2.0], [np.inf, 1.0], 0.5),
        ([np.nan, 2.0], [1.0, 2.0], math.inf),
        ([np.inf], [-np.inf], math.inf),
        ([1.0], [1.0, 2.0], math.inf),
        ([], [], 0.0),
        ([0.0], [4e-3], 1.0),
        ([1e-6], [2e-6], 2.5e-4),
    ],
)
def test_floats(wanted: list[float], got: list[float], apart: float) -> None:
    assert difference(np.array(wanted, F), np.array(got, F)) == pytest.approx(apart)


def test_other_kinds() -> None:
    assert difference(np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])) == 0.25
    assert difference(np.array(["a"], object), np.array(["b"], object)) == 1
    assert difference([np.zeros(2, F)], [np.zeros(2, F)]) == 0
    assert difference([np.zeros(2, F)], []) == math.inf
    assert difference(None, None) == 0
    assert difference({"a": 1}, {"a": 2}) == math.inf
    assert difference(np.array([1 + 1j]), np.array([1 + 1j])) == 0


def test_graphs_are_compared_output_by_output() -> None:
    text = "graph (%x: f32[2]) -> (%y, %z)\n  %y: f32[2] = Abs(%x)\n  %z: f32[2] = {}(%x)"
    a, b = (parse_text(text.format(op)) for op in ("Relu", "Identity"))
    feeds = [{"x": np.array([1, 2], F)}, {"x": np.array([1, -2], F)}]
    assert differences(a, b, feeds) == {"y": 0.0, "z": 2.0}
