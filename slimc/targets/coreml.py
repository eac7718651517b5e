"""Apple's Core ML, by the Core ML execution provider of ONNX Runtime.

Evidence: the provider's op_builder_factory.cc (no builder for Q or DQ), its builders (constant
weights of Conv, MatMul, Gemm; constant pads of the last two axes), and the page "CoreML Execution
Provider" (ML Program, static shapes).
"""

from __future__ import annotations

from collections.abc import Iterator

from slimc.ir.types import DType
from slimc.targets.contractions import contractions, conversions
from slimc.targets.fixes.storage import store_weights_as_floats
from slimc.targets.qoperators import qoperators
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.shapes import open_sizes
from slimc.targets.rules.widths import FOLDED
from slimc.targets.target import Finding, Subject, Target, TargetRule

_NAMED = 3  # operators that the finding on Q/DQ names


def _no_conversions(subject: Subject) -> Iterator[Finding]:
    """Find Q and DQ: each ends a part that Core ML takes, and the CPU runs what lies between."""
    found = [one.node.name for one in conversions(subject.graph)]
    found += [n.name for n in subject.graph.walk() if n.op.startswith("QLinear")]
    found += [one.node.name for one in qoperators(subject.graph) if one.node.name not in found]
    if found:
        shown = ", ".join(f"'{name}'" for name in found[:_NAMED])
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        message = f"Core ML has no Q, DQ or operators of integers, the CPU runs them: {shown}{more}"
        yield Finding("silent", found[0], message, "start from the file before quantization")


def _constant_weights(subject: Subject) -> Iterator[Finding]:
    """Find convolutions and products whose weight is computed: they run on the CPU."""
    graph = subject.graph
    for node, parts in contractions(graph, subject.ops):
        weight = node.inputs[parts.weight]
        if weight not in graph.constants:
            message = f"its weight '{weight}' is no constant: it runs on the CPU"
            yield Finding("info", node.name, message)


COREML_RULES = (
    open_sizes("L38"),
    TargetRule(
        "L38", "no-conversions", "there is no Q or DQ", _no_conversions, store_weights_as_floats
    ),
    TargetRule("L38", "constant-weights", "weights are constants", _constant_weights),
    FOLDED,
)


COREML = Target(
    name="coreml",
    runtime="coreml",
    summary="Apple devices by ONNX Runtime's Core ML: f16, no Q/DQ",
    opset=17,
    opset_max=21,
    shapes="slower",
    floats=(DType.F32, DType.F16),
    prefer=DType.F16,
    domains=frozenset({"", "ai.onnx.ml", "com.microsoft"}),  # what Core ML lacks, the CPU runs
    align_integer=8,
    align_float=8,
    rules=(*COMMON, *COREML_RULES),
    notes=("run it with provider CoreMLExecutionProvider, option ModelFormat=MLProgram",),
)
