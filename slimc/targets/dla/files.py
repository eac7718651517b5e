"""Files beside a model for DLA: the calibration cache, and the arguments of trtexec."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from slimc.calib.observers import TINY
from slimc.ir.graph import Graph, Node

STEPS = 127  # integers from 0 to the largest
ALGORITHM = "EntropyCalibration2"  # the calibrator that DLA wants

# Arithmetic on constants: TensorRT makes tensors of these, which need a range too.
_WITH_CONSTANTS = frozenset(
    {"Add", "Concat", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub", "Sum", "Where"}
)


def calibration_cache(version: int) -> Callable[[Graph], str]:
    """Give the maker of TensorRT's calibration cache. version: 8600 for TensorRT 8.6.

    A line `tensor: hex` for every tensor of floats: the f32 scale = max |x| / 127, its bytes from
    the highest down.
    Source: NVIDIA Deep-Learning-Accelerator-SW, tools/qdq-translator/utils.py.
    """

    def make(graph: Graph) -> str:
        lines = [f"{value}: {_hex(scale)}\n" for value, scale in scales(graph).items()]
        return f"TRT-{version}-{ALGORITHM}\n" + "".join(lines) if lines else ""

    return make


def scales(graph: Graph) -> dict[str, float]:
    """Return the scale of every tensor of a graph with records, weights excepted."""
    if not graph.records:
        return {}
    values = (*graph.inputs, *graph.producers)
    found = {v: float(graph.records[v].scale) for v in values if v in graph.records}
    for node in graph.nodes:
        for value in node.inputs if node.op in _WITH_CONSTANTS else ():
            array, record = graph.array(value), graph.records.get(value)
            if array is None or array.dtype.kind != "f" or not array.size:
                continue
            own = max((float(np.abs(array).max()) or 1.0) / STEPS, TINY)
            found[value] = own if record is None else float(record.scale)
    return found


def _hex(scale: float) -> str:
    return np.array(scale, ">f4").tobytes().hex()


def trtexec_arguments(graph: Graph) -> str:
    """Return the arguments that build the engine as intended, on one line.

    The layers that are to compute in floats are listed one by one: others are for integers.
    Source: TensorRT, samples/common/sampleOptions.cpp: `layer:precision`, joined by commas.
    """
    words = ["--fp16", "--useDLACore=0", "--allowGPUFallback"]
    if graph.records:
        words.insert(0, "--int8")
        names = [node.name for node in float_layers(graph) if not awkward(node.name)]
        if names:
            listed = ",".join(f"{name}:fp16" for name in names)
            words += ["--precisionConstraints=obey", f"--layerPrecisions={listed}"]
    return " ".join(words) + "\n"


def float_layers(graph: Graph) -> Iterator[Node]:
    """Yield the nodes of a graph that compute in floats; a Cast says itself what it makes."""
    return (node for node in layers(graph) if not node.integer and node.op != "Cast")


def layers(graph: Graph) -> Iterator[Node]:
    """Yield the nodes whose results are floats: others are arithmetic on shapes."""
    for node in graph.nodes:
        dtype = graph.dtype_of(node.outputs[0])
        if dtype is None or dtype.is_float:
            yield node


def awkward(name: str) -> str:
    """Return the sign in a name that arguments of trtexec cannot hold, nothing if it has none."""
    return next((sign for sign in name if sign in ",'\"\\$`*?" or sign.isspace()), "")
