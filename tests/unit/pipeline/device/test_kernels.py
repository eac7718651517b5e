"""Kernels of the runtime are charged to the steps of the graph that they work for."""

from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.shapes import infer
from slimc.analysis.workload import steps
from slimc.execute.ort import TimedKernel, time_kernels
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.pipeline.device.kernels import step_seconds

GRAPH = parse_text("""
graph (%x: f32[1,16,8,8]) -> (%y)
  %wa = constant f32[16,16,3,3] random(0)
  %wb = constant f32[32,16,1,1] random(1)
  %a: f32[1,16,8,8] = Conv(%x, %wa) {pads=[1, 1, 1, 1]} @"/net/a"
  %r: f32[1,16,8,8] = Relu(%a) @"/net/r"
  %b: f32[1,32,8,8] = Conv(%r, %wb) @b
  %y: f32[1,32,1,1] = GlobalAveragePool(%b) @mean
""")
STEPS = steps(couple(GRAPH, OPS, infer(GRAPH, OPS)))


def seconds(*kernels: TimedKernel, whole: float) -> dict[str, float]:
    found = step_seconds(GRAPH, STEPS, kernels, whole)
    return {step.node.name: taken for step, taken in zip(STEPS, found, strict=True)}


def test_names_of_results_and_nodes_tell_the_step() -> None:
    found = seconds(
        TimedKernel("r_nchwc", ("x",), ("reorder_token_0",), 1.0),  # Conv and Relu: its result
        TimedKernel("b_token_12", ("reorder_token_0",), ("b_token_3",), 2.0),
        TimedKernel("mean/ReduceFusion/", ("b_token_3",), ("y",), 4.0),
        whole=7.0,
    )
    assert found == pytest.approx({"/net/a": 1.0, "b": 2.0, "mean": 4.0})


def test_a_kernel_of_no_node_works_for_what_follows_else_for_what_was_before() -> None:
    found = seconds(
        TimedKernel("ReorderInput", ("x",), ("t0",), 1.0),
        TimedKernel("Transpose_token_4", ("t0",), ("t1",), 1.0),
        TimedKernel("r_nchwc", ("t1",), ("t2",), 2.0),
        TimedKernel("b", ("t2",), ("t3",), 2.0),
        TimedKernel("mean", ("t3",), ("t4",), 2.0),
        TimedKernel("Cast", ("t4",), ("t5",), 0.5),
        whole=8.5,
    )
    assert found == pytest.approx({"/net/a": 4.0, "b": 2.0, "mean": 2.5})


def test_what_the_profiler_adds_is_taken_off_evenly_and_sums_are_those_of_a_run() -> None:
    us = 1e-6
    kernels = [
        TimedKernel("r_nchwc", ("x",), ("r",), 12 * us),
        TimedKernel("b", ("r",), ("b",), 22 * us),
        TimedKernel("mean", ("b",), ("y",), 4 * us),
    ]
    found = seconds(*kernels, whole=32 * us)
    assert found == pytest.approx({"/net/a": 10 * us, "b": 20 * us, "mean": 2 * us})
    slow = seconds(*kernels, whole=19 * us)  # more than a profiler adds: the clock of another run
    assert sum(slow.values()) == pytest.approx(19 * us)
    assert min(slow.values()) > 0


def test_onnxruntime_names_kernels_so() -> None:
    kernels = time_kernels(GRAPH, {"x": np.ones((1, 16, 8, 8), np.float32)}, rounds=2)
    assert kernels
    found = step_seconds(GRAPH, STEPS, kernels, 1.0)
    assert sum(found) == pytest.approx(1.0)
    assert found[0] > 0
    assert found[1] > 0
