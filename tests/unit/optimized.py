"""What onnxruntime makes of a graph: tests ask how many kernels sum products of integers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from slimc.execute.oracles.ask import Kernel, ask_onnxruntime
from slimc.io.write import write
from slimc.ir.graph import Graph


def optimized_ops(graph: Graph, signed: bool = False) -> Counter[str]:
    """Count the kinds of nodes that it runs; signed: as on 64-bit ARM."""
    return Counter(one.kind for one in kernels(graph, signed))


def integer_kernels(graph: Graph, signed: bool = False) -> int:
    """Count those that compute in integers."""
    return sum(one.computes == "integers" for one in kernels(graph, signed))


def kernels(graph: Graph, signed: bool = False) -> tuple[Kernel, ...]:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        write(graph, file)
        answer = ask_onnxruntime(file, {"signed": signed})
    assert answer.built, answer.problems
    return answer.kernels
