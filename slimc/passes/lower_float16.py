"""Lower a graph to f16, inside; its inputs and outputs stay f32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import ClassVar

import numpy as np

from slimc.calib.data import Data
from slimc.calib.magnitudes import magnitudes
from slimc.errors import SlimcError, did_you_mean
from slimc.io.element_types import accepts
from slimc.io.schemas import schema_of
from slimc.ir.graph import OPSET, Graph, Node
from slimc.ir.types import TensorType
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.emit_qdq import DEQUANTIZE, QUANTIZE
from slimc.passes.float16_borders import FLOAT16, FLOAT32, Borders
from slimc.remarks import Remark, note, skipped

SAMPLES = 64  # that magnitudes are measured on
LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)


@dataclass(frozen=True)
class LowerFloat16(Pass):
    """Let every node compute in f16 that can, with a Cast where f16 and f32 meet.

    In f32 stay: nodes whose operators take no f16; constants beyond 65504, or wholly below the
    normal numbers of f16 (6.1e-5); nodes where a value is larger than `largest` on the samples:
    sums of such values overflow; nodes with bodies; Q and DQ, whose scales need the precision.
    Source of the bounds: NVIDIA Model-Optimizer, modelopt/onnx/autocast.
    """

    name: ClassVar[str] = "lower-float16"
    promise: ClassVar[Promise] = "approximate"

    largest: float = option(512.0, "largest magnitude of a value, on the samples, that f16 carries")
    keep: tuple[str, ...] = option((), "nodes to leave in f32 (names, with * and ?)")
    preferred: bool = option(False, "only where the target prefers f16; otherwise do nothing")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        if self.preferred and ctx.target.prefer is not FLOAT16:
            return PassResult(graph)
        if graph.records:
            raise SlimcError(
                "records-in-float16",
                "scales are chosen, but Q and DQ do not stand in the graph yet",
                where=f"pass {self.name}",
                help="put insert-qdq before lower-float16",
            )
        kept = {n.name for n in graph.nodes if any(fnmatchcase(n.name, p) for p in self.keep)}
        _check_keep(self.keep, graph)
        measured = self._measured(graph, ctx.data)
        reasons = {
            node.name: reason
            for node in graph.nodes
            if (reason := _reason(graph, node, ctx, measured, self.largest, kept)) is not None
        }
        borders = Borders(graph, ctx.ops, reasons)
        made = borders.lowered()
        return PassResult(made, _remarks(graph, made, borders.count, reasons, ctx.data))

    def _measured(self, graph: Graph, data: Data) -> Mapping[str, float]:
        made = [v for node in graph.nodes for v in node.outputs]
        values = [v for v in (*graph.inputs, *made) if v and _is_f32(graph, v)]
        return magnitudes(graph, data.first_samples(SAMPLES), values)


def _check_keep(patterns: tuple[str, ...], graph: Graph) -> None:
    names = [node.name for node in graph.nodes]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise SlimcError(
                "unknown-node",
                f"no node is named '{pattern}'",
                where=f"option keep of pass {LowerFloat16.name}",
                help=did_you_mean(pattern, names[:20]),
            )


def _is_f32(graph: Graph, value: str) -> bool:
    kind = graph.type_of(value)
    return isinstance(kind, TensorType) and kind.dtype is FLOAT32


def _reason(
    graph: Graph,
    node: Node,
    ctx: Context,
    measured: Mapping[str, float],
    largest: float,
    kept: set[str],
) -> str | None:
    """Say why a node with f32 operands or results stays in f32; None: it is lowered."""
    touched = [v for v in (*node.reads, *node.outputs) if v and _is_f32(graph, v)]
    if not touched:
        return None
    if node.name in kept:
        return "kept by option"
    if node.bodies:
        return "its bodies compute in f32"
    if node.op in (QUANTIZE, DEQUANTIZE):
        return "its scales keep their precision"
    if node.attrs.get("reduction", b"none") != b"none":
        return f"{node.op} with a reduction: onnxruntime has no f16 kernel"
    taken = _takes(node, ctx.target.opset_max)
    if taken is None or ctx.ops.get(node.kind) is None:
        return f"nothing says that {node.kind} takes f16"
    inputs, outputs = taken
    results = [v for v, takes in zip(node.outputs, outputs, strict=True) if _is_f32(graph, v)]
    if any(_is_f32(graph, v) and not takes for v, takes in zip(node.outputs, outputs, strict=True)):
        return f"{node.op} makes no f16"
    operands = [
        v for v, takes in zip(node.inputs, inputs, strict=True) if takes and _is_f32(graph, v)
    ]
    if not (results or operands):
        return f"{node.op} takes no f16"
    for value in operands:
        array = graph.array(value)
        if array is not None and (why := _unfit(array)):
            return f"constant '{value}' {why}"
    for value in dict.fromkeys((*operands, *results)):
        if measured.get(value, 0.0) > largest:
            return f"'{value}' reaches {measured[value]:.3g} on the samples, above {largest:g}"
    return None


def _takes(node: Node, opset: int) -> tuple[tuple[bool, ...], tuple[bool, ...]] | None:
    """Tell which operands and results may be f16 at an opset; None: the operator is not known.

    An operator newer than the opset is judged as it is now: it will be expressed by others.
    """
    known = schema_of(node, opset) is not None
    return accepts(node, FLOAT16, opset if known else OPSET)


def _unfit(array: np.ndarray) -> str:
    """Say why f16 does not carry a constant; empty: it does (infinity too: masks have it)."""
    size = np.abs(array.astype(np.float32))
    finite = size[np.isfinite(size)]
    most = float(finite.max(initial=0.0))
    if most > LARGEST:
        return f"reaches {most:.3g}, above the largest f16 number"
    if 0 < most < SMALLEST_NORMAL:
        return f"is at most {most:.3g}, below the normal numbers of f16"
    return ""


def _remarks(
    graph: Graph, made: Graph, lowered: int, reasons: Mapping[str, str], data: Data
) -> tuple[Remark, ...]:
    casts = sum((n.op == "Cast") for n in made.nodes) - sum((n.op == "Cast") for n in graph.nodes)
    said = [
        note(
            f"{lowered} of {lowered + len(reasons)} floating nodes compute in f16, with {casts} "
            "Casts between f16 and f32"
        )
    ]
    if data.synthetic:
        said.append(note("magnitudes were measured on made-up samples"))
    left = [skipped(name, f"stays in f32: {why}") for name, why in reasons.items()]
    return (*said, *left)
