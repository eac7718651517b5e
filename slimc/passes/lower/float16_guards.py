"""Which nodes cannot compute in floats of 16 bits, and why: by their operators, constants, ranges.

Sources: NVIDIA Model-Optimizer, modelopt/onnx/autocast (bounds of data and constants); Micikevicius
et al., "Mixed precision training", ICLR 2018, section 3 (sums and exponentials in f32).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.io.element_types import accepts_dtype
from slimc.io.schemas import schema_of
from slimc.ir.arrays import Singles
from slimc.ir.graph import OPSET, Graph, Node, is_f32
from slimc.ir.types import DType
from slimc.ops.op import Op
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.passes.context import Context
from slimc.targets.opset import BFLOAT16_OPSET

LARGEST = float(np.finfo(np.float16).max)
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
# An exponential makes of an absolute error d a relative one of d; rounding makes d = |x| u.
EXPONENT_ERROR = 2.0**-7
_UNIT_ROUNDOFF = {DType.F16: 2.0**-11, DType.BF16: 2.0**-8}  # u: largest relative error of rounding
_SCALE_ERROR = 2.0**-8  # of a scale as f16: then its integers stand for other numbers


@dataclass(frozen=True)
class Guards:
    """What the nodes of a graph are judged by.

    measured: value -> max |x| on the samples. data_max: the largest that 16 bits take (f16 sums of
    such values overflow, steps of bf16 are 4 there); depth_max: the longest sum, 0: any.
    """

    graph: Graph
    ctx: Context
    facts: Facts
    measured: Mapping[str, float]
    data_max: float
    depth_max: int

    def reason(self, node: Node, dtype: DType) -> str | None:
        """Say why a node with f32 operands or results stays in f32; None: it can be lowered."""
        row = self.ctx.ops.get(node.kind)
        newest = BFLOAT16_OPSET if dtype is DType.BF16 else 0
        accepted = _accepted_operands(node, dtype, max(self.ctx.target.opset_max, newest))
        if (why := self._no_kernel(node)) is not None:
            return why
        if accepted is None or row is None:
            return f"nothing says that {node.kind} takes {dtype.text}"
        inputs, outputs = accepted
        results = [v for v in node.outputs if is_f32(self.graph, v)]
        if any(is_f32(self.graph, v) and not t for v, t in zip(node.outputs, outputs, strict=True)):
            return f"{node.op} makes no {dtype.text}"
        read = [v for v, t in zip(node.inputs, inputs, strict=True) if t and is_f32(self.graph, v)]
        if not (results or read):
            return f"{node.op} takes no {dtype.text}"
        why = self._constants(read, dtype) or self._ranges(row, read, results, dtype)
        return why or self._sums(node, row, read, dtype)

    def _no_kernel(self, node: Node) -> str | None:
        if node.bodies:
            return "its bodies compute in f32"
        if node.op in (QUANTIZE, DEQUANTIZE):
            return "its scales keep their precision"
        for name, why in self.ctx.target.wide.items():
            if node.attrs.get(name, b"none") != b"none":
                return f"{node.op} with a {name}: {why}"
        parts = self.ctx.ops.weighted(node)
        if node.integer and parts is not None:
            data = node.inputs[parts.data]
            if data not in self.graph.records:
                return f"the range of '{data}' is measured in each run, which takes f32"
        return None

    def _constants(self, read: list[str], dtype: DType) -> str | None:
        """Only f16 has bounds that constants of networks reach."""
        for value in read if dtype is DType.F16 else ():
            array = self.graph.array(value)
            if array is not None and (why := _constant_problem(array)):
                return f"constant '{value}' {why}"
            record = self.graph.records.get(value)
            if record is not None and (why := _scale_problem(record.scale)):
                return f"{why} of '{value}'"
        return None

    def _ranges(self, row: Op, read: list[str], results: list[str], dtype: DType) -> str | None:
        for value in dict.fromkeys((*read, *results)):
            most = self.measured.get(value, 0.0)
            if most > self.data_max:
                return f"'{value}' reaches {most:.3g} on the samples, above {self.data_max:g}"
        bound = EXPONENT_ERROR / _UNIT_ROUNDOFF[dtype]
        for value in read[:1] if row.growth == "exponential" else ():
            most = self.measured.get(value, 0.0)
            if most > bound:
                return (
                    f"{row.kind} multiplies errors: '{value}' reaches {most:.3g} on the samples, "
                    f"above {bound:g}"
                )
        return None

    def _sums(self, node: Node, row: Op, read: list[str], dtype: DType) -> str | None:
        if row.growth != "sum" and not row.macs:
            return None
        depth = self._depth(node)
        if depth is None:
            return None
        if 0 < self.depth_max < depth:
            return f"it sums {depth} products or elements, above depth_max={self.depth_max}"
        most = depth * self.measured.get(read[0], 0.0) if row.growth == "sum" and read else 0.0
        if dtype is DType.F16 and most > LARGEST:
            return (
                f"its sums over {depth} elements of '{read[0]}' may reach {most:.3g}, above the "
                "largest f16 number"
            )
        return None

    def _depth(self, node: Node) -> int | None:
        """Return how many terms one result sums: the sizes of labels that it does not have."""
        bound = self.facts.bounds.get(node.name)
        if bound is None:
            return None
        read, produced = (
            {label.name for axes in side for axis in axes or () for term in axis for label in term}
            for side in (bound.inputs, bound.outputs)
        )
        sizes = [bound.sizes.get(name) for name in sorted(read - produced)]
        numbers = [size for size in sizes if isinstance(size, int)]
        return prod(numbers) if len(numbers) == len(sizes) else None


def _accepted_operands(
    node: Node, dtype: DType, opset: int
) -> tuple[tuple[bool, ...], tuple[bool, ...]] | None:
    """Tell which operands and results may be of a type at an opset; None: nothing is known.

    An operator newer than the opset is judged as it is now: it will be expressed by others.
    """
    known = schema_of(node, opset) is not None
    return accepts_dtype(node, dtype, opset if known else OPSET)


def _constant_problem(array: Singles) -> str:
    """Say why f16 does not carry a constant; empty: it does (infinity too: masks have it)."""
    size = np.abs(array.astype(np.float32))
    finite = size[np.isfinite(size)]
    most = float(finite.max(initial=0.0))
    if most > LARGEST:
        return f"reaches {most:.3g}, above the largest f16 number"
    if 0 < most < SMALLEST_NORMAL:
        return f"is at most {most:.3g}, below the normal numbers of f16"
    return ""


def _scale_problem(scale: Singles) -> str:
    """Say why f16 does not carry scales: of those that matter, one is off by too much."""
    near = scale.astype(np.float16).astype(np.float32)
    off = (np.abs(near - scale) > _SCALE_ERROR * scale) & (scale > scale.max() * _SCALE_ERROR)
    if not off.any():
        return ""
    return f"f16 has no number near {float(scale[off].min()):.3g}, a scale"
