"""Errors of every sample: what of outputs counts."""

from __future__ import annotations

import numpy as np

from slimc.calib.sample_errors import sample_errors
from slimc.ir.text import parse_text

TWICE = "graph (%x: {0}) -> (%y)\n  %two = constant f32[] {1}\n  %y: {0} = Mul(%x, %two)"


def test_each_sample_has_its_share_of_its_energy() -> None:
    graph, other = (parse_text(TWICE.format("f32[N,3]", by)) for by in (2, 3))
    x = np.array([[1, 2, 3], [0, 0, 0], [5, 0, 0]], np.float32)
    errors = sample_errors(graph, [other, graph], [{"x": x}])
    np.testing.assert_allclose(errors, [[0.25, 1e-12, 0.25], [1e-12] * 3])


def test_outputs_without_elements_have_no_error() -> None:
    for kind, samples in (("f32[0,3]", 0), ("f32[3,0]", 3)):
        graph = parse_text(TWICE.format(kind, 2))
        shape = [int(size) for size in kind[4:-1].split(",")]
        found = sample_errors(graph, [graph], [{"x": np.zeros(shape, np.float32)}])
        assert found.shape == (1, samples)
        assert (found <= 1e-12).all()
