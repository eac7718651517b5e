"""Oracle: ONNX Runtime on the CPU, by the graph that its optimizer makes.

Q, DQ and what stands between become integer kernels there, or do not.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Kinds of nodes that sum products of integers, of any CPU.
INTEGER_KINDS = frozenset(
    {
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "com.microsoft.QGemm",
        "com.microsoft.QLinearConv",
        "com.microsoft.MatMulIntegerToFloat",
        "com.microsoft.DynamicQuantizeMatMul",
        "com.microsoft.QAttention",
        "com.microsoft.nhwc.QLinearConv",
        "com.ms.internal.nhwc.QLinearConv",
        "com.ms.internal.nhwc.QLinearConvTranspose",
    }
)
WEIGHT_KINDS = frozenset({"com.microsoft.MatMulNBits"})  # weights stay small, data are floats

# What fusions and changes of layout append to the name of a node, or of what it makes
# (nchwc_transformer.cc, layout_transformation.cc, gather_slice_fusion.cc, matmul_add_fusion.cc).
_APPENDED = re.compile(r"(_token_\d+|_nchwc|/\w+Fusion/?)$")
_UNREAD = ("InvalidGraph", "InvalidProtobuf", "NoSuchFile", "NoModel")
_NODE = re.compile(r"Node:? ?\(?'?([^()']+?)'?\)? (?:Op|Operator|OpType|Status)")
_STATUS = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_QUIET = 4


def ask(model: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Load a model; tell the nodes of the optimized graph.

    options: signed: as on processors whose integer kernels take signed activations (64-bit ARM);
    sizes: numbers of named dimensions.
    """
    import onnx
    import onnxruntime

    yield {"version": onnxruntime.__version__}
    with tempfile.TemporaryDirectory() as folder:
        made = str(Path(folder) / "optimized.onnx")
        settings = _settings(made, options)
        try:
            onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        except Exception as fail:  # its exceptions have no common class
            yield _refusal(fail)
            return
        graph = onnx.load(made, load_external_data=False).graph
    yield {"parsed": True, "built": True, "kernels": [_kernel(node) for node in _nodes(graph)]}


def _settings(made: str, options: Mapping[str, Any]) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _QUIET
    settings.intra_op_num_threads = 1
    settings.optimized_model_filepath = made
    beside = "session.optimized_model_external_initializers_file_name"
    settings.add_session_config_entry(beside, "optimized.weights")
    if options.get("signed"):
        settings.add_session_config_entry("session.qdqisint8allowed", "1")
    for name, size in options.get("sizes", {}).items():
        settings.add_free_dimension_override_by_name(name, size)
    return settings


def _refusal(fail: Exception) -> dict[str, Any]:
    text = _STATUS.sub("", str(fail)).strip().rstrip(".")
    parsed = type(fail).__name__ not in _UNREAD and not text.startswith("Load model from")
    node = _NODE.search(text)
    return {"parsed": parsed, "built": False, "problems": [[node[1] if node else "", text]]}


def _nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes of a graph and of its bodies."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                yield from _nodes(body)


def _kernel(node: Any) -> dict[str, Any]:
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    computes = "integers" if kind in INTEGER_KINDS else "floats"
    computes = "weights" if kind in WEIGHT_KINDS else computes
    outputs = list(node.output)
    return {"names": names_of(node.name), "outputs": outputs, "kind": kind, "computes": computes}


def names_of(name: str) -> list[str]:
    """Return the name of an optimized node, and those that the optimizer may have made it of."""
    names = [name]
    while (shorter := _APPENDED.sub("", names[-1])) != names[-1]:
        names.append(shorter)
    return names
