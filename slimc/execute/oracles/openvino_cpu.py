"""Oracle: OpenVINO on the CPU, by the precision that each node of its runtime model executes in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import openvino

_FUSED = "Subgraph"  # generated code: of attention, the two products and what stands between
_CONTRACTIONS = frozenset(
    {
        "Convolution",
        "Deconvolution",
        "FullyConnected",
        "GroupConvolution",
        "MatMul",
    }
)
_SMALL = ("i8", "u8", "i4", "u4")  # types of stored weights
_APPENDED = re.compile(r"/(WithoutBiases|Dequantization\w+)(_\d+)?$")  # to the name of a node


def ask(model: str, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Compile a model; tell the nodes of the runtime model.

    options: shapes: sizes of inputs to compile for (the others stay as they are).
    """
    yield {"version": openvino.__version__.partition("-")[0]}
    core = openvino.Core()
    try:
        read = core.read_model(model)
        shapes = options.get("shapes", {})
        if shapes:
            read.reshape({name: list(sizes) for name, sizes in shapes.items()})
    except RuntimeError as fail:
        yield {"parsed": False, "built": False, "problems": [["", _told(fail)]]}
        return
    yield {"parsed": True}
    try:
        compiled = core.compile_model(read, "CPU")
    except RuntimeError as fail:
        yield {"built": False, "problems": [["", _told(fail)]]}
        return
    nodes = compiled.get_runtime_model().get_ordered_ops()
    yield {"built": True, "kernels": [_kernel(node) for node in nodes]}


def _kernel(node: Any) -> dict[str, Any]:
    """`originalLayersNames` starts with the kernel's own node; those fused into it follow."""
    facts = {key: str(value.astype(str)) for key, value in node.get_rt_info().items()}
    kind, form = facts.get("layerType", ""), facts.get("primitiveType", "")
    computes = "floats"
    if kind in (*_CONTRACTIONS, _FUSED) and form.lower().endswith("i8"):
        computes = "integers"
    elif kind in _CONTRACTIONS and facts.get("runtimePrecision") in _SMALL:
        computes = "weights"
    names = []
    for name in (node.get_friendly_name(), *facts.get("originalLayersNames", "").split(",")):
        names.append(name)
        while kind != _FUSED and (shorter := _APPENDED.sub("", names[-1])) != names[-1]:
            names.append(shorter)
    return {
        "names": list(dict.fromkeys(names)),
        "outputs": [],
        "kind": f"{kind} {form}".strip(),
        "computes": computes,
    }


def _told(fail: RuntimeError) -> str:
    """Return the lines that say what is wrong, without those that say where in OpenVINO."""
    lines = [line.strip() for line in str(fail).splitlines()]
    told = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    return " ".join(told or lines)
