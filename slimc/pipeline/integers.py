"""Integer layers: how many contractions were meant to run in integers, and how many do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slimc.execute.ort import optimized_ops
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.op import OpTable
from slimc.passes.target import Target

ONNXRUNTIME = "onnxruntime"  # the runtime that can be asked on this machine

# What onnxruntime's optimizer turns contractions between Q and DQ into, on any CPU.
_INTEGER_KINDS = (
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "com.microsoft.QGemm",
    "com.microsoft.QLinearConv",
    "com.microsoft.MatMulIntegerToFloat",
    "com.microsoft.DynamicQuantizeMatMul",
    "com.microsoft.nhwc.QLinearConv",
    "com.ms.internal.nhwc.QLinearConv",
    "com.ms.internal.nhwc.QLinearConvTranspose",
)


def intended(graph: Graph, ops: OpTable) -> tuple[int, tuple[str, ...]]:
    """Return how many contractions are marked for integers, and the names of those that are not."""
    integer = 0
    floating: list[str] = []
    for node in graph.walk():
        row = ops.get(node.kind)
        if row is None or row.weighted is None:
            continue
        if node.integer:
            integer += 1
        else:
            floating.append(node.name)
    return integer, tuple(floating)


def achieved(file: Path, target: Target) -> int | None:
    """Count integer contractions in a file as the target's runtime really runs it.

    None where that runtime cannot be asked here. Raises SlimcError "runtime-refuses".
    """
    if target.runtime != ONNXRUNTIME:
        return None
    signed = any(
        wish.activations is not None and wish.activations.dtype is DType.I8
        for wish in target.quantize.values()
    )
    return count_integer(optimized_ops(file, signed))


def count_integer(kinds: Mapping[str, int]) -> int:
    """Count integer contractions among the node kinds of an optimized graph."""
    return sum(kinds.get(kind, 0) for kind in _INTEGER_KINDS)
