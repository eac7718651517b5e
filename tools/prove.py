"""Ask a runtime which contractions of a model file it really runs in integers.

    python tools/prove.py tensorrt model.onnx [--capability SM86] [--shape x=1x3x224x224]
    python tools/prove.py openvino model.onnx
    python tools/prove.py onnxruntime model.onnx

Prints one JSON object: `integer` contractions of `contractions`, those in `float`, `errors`. Each
needs the library of its name (tensorrt: the wheels tensorrt-rtx-cu12-libs and -bindings, which
build engines without a GPU; for development only). The runtime works in a process of its own, with
a time limit: it may crash.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

LIMIT_SECONDS = 600
Proof = dict[str, Any]

# Layers of TensorRT engines that sum products.
TENSORRT_CONTRACTIONS = ("correlation", "gemm", "fc", "deconv", "runtime_fusion")
OPENVINO_CONTRACTIONS = (
    "Convolution",
    "GroupConvolution",
    "FullyConnected",
    "MatMul",
    "Deconvolution",
)
ONNXRUNTIME_INTEGER = (
    "ConvInteger",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QAttention",
    "QGemm",
    "QLinearConv",
    "QLinearConvTranspose",
    "QLinearMatMul",
)
ONNXRUNTIME_FLOAT = (
    "Conv",
    "ConvTranspose",
    "FusedConv",
    "FusedGemm",
    "FusedMatMul",
    "Gemm",
    "MatMul",
)


def tensorrt(path: str, capability: str, shapes: dict[str, tuple[int, ...]]) -> Proof:
    """Parse and build for a compute capability; read the layers from the builder's log."""
    import tensorrt_rtx_bindings as trt  # type: ignore[import-not-found]

    messages: list[tuple[str, str]] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            messages.append((str(severity).split(".")[-1], message))

    builder = trt.Builder(Log())
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    parsed = parser.parse_from_file(path)
    found: Proof = {"version": trt.__version__, "parsed": parsed, "built": False}
    if not parsed:
        problems = [parser.get_error(i) for i in range(parser.num_errors)]
        found["errors"] = [f"{e.node_name()} ({e.node_operator()}): {e.desc()}" for e in problems]
        return found
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, capability), 0)
    profile = _profile(builder, network, shapes)
    if profile is not None:
        config.add_optimization_profile(profile)
    found["built"] = builder.build_serialized_network(network, config) is not None
    found["errors"] = [m for severity, m in messages if severity in ("ERROR", "INTERNAL_ERROR")]
    layers = [layer for _, m in messages if m.startswith("Layers:") for layer in tensorrt_layers(m)]
    return found | _counted(layers)


def _profile(builder: Any, network: Any, shapes: dict[str, tuple[int, ...]]) -> Any:
    """Make a profile of one size for the inputs with dynamic sizes (1 where none is given)."""
    profile = None
    for tensor in (network.get_input(i) for i in range(network.num_inputs)):
        if any(size < 0 for size in tensor.shape):
            shape = shapes.get(tensor.name) or tuple(max(size, 1) for size in tensor.shape)
            profile = profile or builder.create_optimization_profile()
            profile.set_shape(tensor.name, shape, shape, shape)
    return profile


def tensorrt_layers(text: str) -> list[tuple[str, bool]]:
    """Return names of the contractions in a listing of layers, and whether they take integers."""
    layers = []
    for line in text.split("\n"):
        kind = re.search(r"Name: (\S+?), LayerType: (\w+)", line)
        if kind is None:
            continue
        nodes = re.findall(r"\[ONNX Layer: ([^\]]+)\]", line)
        if kind[2] == "kgen" and "Corr" in kind[1]:  # a small one, made part of a generated kernel
            layers.append((" + ".join(nodes) or kind[1], "RounCastCorr" in kind[1]))
        if kind[2] not in TENSORRT_CONTRACTIONS:
            continue
        inputs = re.search(r"Inputs: \[(.*?)\], (?:Constants|Outputs)", line)
        types = re.findall(r"Datatype: (\w+)", inputs[1]) if inputs else []
        layers.append((" + ".join(nodes) or kind[1], types[:1] == ["Int8"]))
    return layers


def openvino(path: str) -> Proof:
    """Compile for the CPU; read the executed precision of every node."""
    import openvino as ov  # type: ignore[import-not-found]

    core = ov.Core()
    compiled = core.compile_model(core.read_model(path), "CPU")
    layers = []
    for op in compiled.get_runtime_model().get_ordered_ops():
        facts = {k: str(v.astype(str)) for k, v in op.get_rt_info().items() if k in _OPENVINO_KEYS}
        if facts.get("layerType") in OPENVINO_CONTRACTIONS:
            layers.append((op.get_friendly_name(), "i8" in facts.get("primitiveType", "").lower()))
    return {"version": ov.__version__, "built": True, "errors": [], **_counted(layers)}


_OPENVINO_KEYS = ("layerType", "primitiveType")


def onnxruntime(path: str) -> Proof:
    """Load for the CPU; count the operators of the optimized graph."""
    import onnx
    import onnxruntime as ort

    with tempfile.TemporaryDirectory() as folder:
        made = str(Path(folder) / "optimized.onnx")
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = made
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        nodes = onnx.load(made, load_external_data=False).graph.node
    layers = [(n.name, n.op_type in ONNXRUNTIME_INTEGER) for n in nodes if n.op_type in _EITHER]
    kinds = dict(sorted(Counter(n.op_type for n in nodes).items()))
    return {
        "version": ort.__version__,
        "built": True,
        "errors": [],
        **_counted(layers),
        "kinds": kinds,
    }


_EITHER = (*ONNXRUNTIME_INTEGER, *ONNXRUNTIME_FLOAT)


def _counted(layers: list[tuple[str, bool]]) -> Proof:
    return {
        "integer": sum(integer for _, integer in layers),
        "contractions": len(layers),
        "float": [name for name, integer in layers if not integer],
    }


def prove(kind: str, path: str, capability: str, shapes: dict[str, tuple[int, ...]]) -> Proof:
    """Ask a runtime, in this process."""
    start = time.perf_counter()
    if kind == "tensorrt":
        found = tensorrt(path, capability, shapes)
    else:
        found = openvino(path) if kind == "openvino" else onnxruntime(path)
    return {"kind": kind, **found, "seconds": round(time.perf_counter() - start, 2)}


def prove_apart(arguments: list[str], limit_seconds: int) -> Proof:
    """Ask a runtime in a process of its own."""
    command = [sys.executable, __file__, "--here", *arguments]
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return {"built": False, "errors": [f"no answer in {limit_seconds} s"]}
    last = run.stdout.strip().rpartition("\n")[2]
    if run.returncode == 0 and last.startswith("{"):
        found: Proof = json.loads(last)
        return found
    end = run.stderr.strip().rpartition("\n")[2] or f"exit status {run.returncode}"
    return {"built": False, "errors": [end]}


def read_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Read `x=1x3x224x224`."""
    name, _, sizes = text.rpartition("=")
    return name, tuple(int(size) for size in sizes.split("x"))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("tensorrt", "openvino", "onnxruntime"))
    parser.add_argument("model")
    parser.add_argument("--capability", default="SM86", help="of TensorRT (SM86 is next to Orin)")
    parser.add_argument("--shape", action="append", type=read_shape, default=[])
    parser.add_argument("--limit", type=int, default=LIMIT_SECONDS, help="seconds")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        found = prove(options.kind, options.model, options.capability, dict(options.shape))
        print(json.dumps(found))
        return 0
    arguments = [options.kind, options.model, "--capability", options.capability]
    for name, sizes in options.shape:
        arguments += ["--shape", f"{name}={'x'.join(map(str, sizes))}"]
    found = {"kind": options.kind, **prove_apart(arguments, options.limit)}
    print(json.dumps(found, indent=1))
    return 0 if found["built"] else 1


if __name__ == "__main__":
    sys.exit(main())
