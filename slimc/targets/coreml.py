"""Apple's Core ML, by the Core ML execution provider of ONNX Runtime.

Evidence: the provider's op_builder_factory.cc (no builder for Q or DQ), its builders (constant
weights of Conv, MatMul, Gemm; constant pads of the last two axes), and the page "CoreML Execution
Provider" (ML Program, static shapes).
"""

from __future__ import annotations

from slimc.ir.types import DType
from slimc.passes.target import Target
from slimc.targets.rules.common import COMMON
from slimc.targets.rules.coreml import COREML_RULES

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
