"""Run graphs in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnxruntime

from slimc.io.write import to_bytes
from slimc.ir.graph import Graph


class Session:
    def __init__(self, graph: Graph, outputs: Sequence[str] | None = None, threads: int = 0, optimize: bool = True) -> None:
        if outputs is not None:
            graph = replace(graph, outputs=tuple(outputs))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        if not optimize:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._s = onnxruntime.InferenceSession(to_bytes(graph), options, providers=["CPUExecutionProvider"])
        self.inputs = tuple(graph.inputs)
        self.outputs = tuple(graph.outputs)

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(self.outputs, self._s.run(list(self.outputs), dict(feeds)), strict=True))


def run(graph: Graph, feeds: Mapping[str, np.ndarray], outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    return Session(graph, outputs).run(feeds)


def evaluate(graph: Graph) -> dict[str, np.ndarray]:
    return Session(graph, optimize=False).run({})
