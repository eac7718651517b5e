"""Targets: devices and their runtimes, as tables. One file per family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from slimc.errors import SlimcError, did_you_mean
from slimc.targets.coreml import COREML
from slimc.targets.dla.devices import JETSON_ORIN_DLA
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.onnxruntime.devices import CPU_AMX, CPU_ARM64, CPU_AVX2, CPU_VNNI, XNNPACK
from slimc.targets.onnxruntime.machine import this_cpu
from slimc.targets.openvino import OPENVINO, OPENVINO_NPU
from slimc.targets.qnn import SNAPDRAGON_HTP
from slimc.targets.target import Target
from slimc.targets.tensorrt.devices import JETSON, TENSORRT

__all__ = ["TARGETS", "TargetSource", "resolve"]

TargetSource = Target | Callable[[], Target]  # a function looks at this machine

TARGETS: Mapping[str, TargetSource] = MappingProxyType(
    {
        "generic-onnx": GENERIC_ONNX,
        "jetson": JETSON,
        **TENSORRT,
        "jetson-orin-dla": JETSON_ORIN_DLA,
        "cpu": this_cpu,
        "cpu-avx2": CPU_AVX2,
        "cpu-vnni": CPU_VNNI,
        "cpu-amx": CPU_AMX,
        "cpu-arm64": CPU_ARM64,
        "xnnpack": XNNPACK,
        "snapdragon-htp": SNAPDRAGON_HTP,
        "openvino": OPENVINO,
        "openvino-npu": OPENVINO_NPU,
        "coreml": COREML,
    }
)


def resolve(name: str, targets: Mapping[str, TargetSource] = TARGETS) -> Target:
    """Return a target by name. Raises SlimcError "unknown-target"."""
    if name not in targets:
        raise SlimcError(
            "unknown-target", f"there is no target '{name}'", help=did_you_mean(name, targets)
        )
    source = targets[name]
    return source if isinstance(source, Target) else source()
