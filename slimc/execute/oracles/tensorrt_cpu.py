"""Oracle: TensorRT-RTX, whose parser and builder run on a CPU for a GPU that is not there.

The layers of the engine are read from the builder's log. Packages, under NVIDIA's licence (SLA),
for development and tests only: tensorrt-rtx-cu12-libs, tensorrt-rtx-cu12-bindings. Documentation:
docs.nvidia.com/deeplearning/tensorrt-rtx, "CPU-only AOT engines".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import tensorrt_rtx_bindings as tensorrt

_CONTRACTIONS = ("correlation", "gemm", "fc", "deconv", "runtime_fusion")
_INTEGERS = {"Int8": "integers", "FP8": "fp8"}
_SMALL = ("Int8", "Int4", "FP8", "FP4")  # types of stored weights
_NOISE = ("cudaError", "CUDA initialization failure", "CUDA driver")  # there is no GPU
_NODE = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_UNNAMED = "node_of_"  # the parser's name for a node without one: its first output follows


class _Log(tensorrt.ILogger):  # type: ignore[misc]
    """Keeps what the library says: it has one logger in a process."""

    def __init__(self) -> None:
        tensorrt.ILogger.__init__(self)
        self.said: list[tuple[str, str]] = []

    def log(self, severity: Any, message: str) -> None:
        self.said.append((str(severity).split(".")[-1], message))

    @property
    def errors(self) -> list[str]:
        kinds = ("ERROR", "INTERNAL_ERROR")
        said = [message for kind, message in self.said if kind in kinds]
        return [one for one in said if not any(word in one for word in _NOISE)]


def ask(model: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Parse a model and build an engine; tell its layers.

    options: variant: the compute capability, as SM86; profile: sizes of inputs.
    """
    yield {"version": tensorrt.__version__}
    log = _Log()
    builder = tensorrt.Builder(log)
    network = builder.create_network(0)
    parser = tensorrt.OnnxParser(network, log)
    parsed = bool(parser.parse_from_file(model))
    yield {"parsed": parsed}
    if not parsed:
        wrong = [parser.get_error(i) for i in range(parser.num_errors)]
        yield {"built": False, "problems": [[e.node_name(), e.desc()] for e in wrong]}
        return
    config = _config(builder, network, options)
    built = builder.build_serialized_network(network, config) is not None
    said = [message for _, message in log.said if message.startswith("Layers:")]
    kernels = [kernel for text in said for line in text.split("\n") for kernel in kernels_of(line)]
    problems = [] if built else [["", message] for message in log.errors]
    yield {"built": built, "problems": problems, "kernels": kernels}


def _config(builder: Any, network: Any, options: Mapping[str, Any]) -> Any:
    """Ask for detailed layers, one capability, and one size of each input whose sizes vary."""
    config = builder.create_builder_config()
    config.profiling_verbosity = tensorrt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    capability = getattr(tensorrt.ComputeCapability, options["variant"])
    config.set_compute_capability(capability, 0)
    profile = builder.create_optimization_profile()
    varies = False
    for tensor in (network.get_input(i) for i in range(network.num_inputs)):
        if any(size < 0 for size in tensor.shape):
            shape = tuple(options["profile"][tensor.name])
            profile.set_shape(tensor.name, shape, shape, shape)
            varies = True
    if varies:
        config.add_optimization_profile(profile)
    return config


def kernels_of(line: str) -> Iterator[dict[str, Any]]:
    """Read a line of the listing of layers: none or one."""
    layer = re.match(r"Name: (.+?), LayerType: (\w+)", line)
    if layer is None:
        return
    name, kind = layer[1], layer[2]
    inputs, constants = _types(line, "Inputs"), _types(line, "Constants")
    computes = "floats"
    if kind in _CONTRACTIONS:
        computes = _INTEGERS.get(inputs[0] if inputs else "", "floats")
        if computes == "floats" and any(one in _SMALL for one in constants):
            computes = "weights"
    elif kind == "kgen" and "RounCastCorr" in name:  # a small one, in a generated kernel
        computes = "integers"
    read = ", ".join(dict.fromkeys(inputs)) or "no data"
    names = [one.removeprefix(_UNNAMED) for one in _NODE.findall(line)]
    yield {"names": names, "outputs": [], "kind": f"{kind} of {read}", "computes": computes}


def _types(line: str, field: str) -> list[str]:
    found = re.search(rf"{field}: \[(.*?)\], (?:Constants|Outputs|TacticName)", line)
    return re.findall(r"Datatype: (\w+)", found[1]) if found else []
