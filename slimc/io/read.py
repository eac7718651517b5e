"""Model files -> graphs: lossless, in the opset of the IR, with types of all values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto

from slimc.errors import SlimcError
from slimc.io.decode import check_text, decode, read_entries, refuse_unknown_fields
from slimc.io.infer import infer_types
from slimc.io.inline import inline_functions
from slimc.io.upgrade import upgrade
from slimc.ir.graph import OPSET, Graph
from slimc.ir.types import Dim, TensorType, ValueType

MODEL_PREFIX = "onnx."  # prefix of metadata keys that hold a field of the model
_HAS_OPSETS = 3  # IR version; older files are of opset 1
_DEFAULT_DOMAIN = ("", "ai.onnx")  # names of the default domain
MODEL_FIELDS = ("producer_name", "producer_version", "domain", "model_version", "doc_string")


@dataclass(frozen=True)
class FileHeader:
    """Versions that a model file states."""

    opset: int
    """Opset of the default domain."""
    ir_version: int
    """IR version of the file."""


def read(path: str | Path) -> Graph:
    """Read a model file; its data files are mapped into memory, not read.

    Errors: model-missing, model-unreadable, opset-unknown, upgrade-impossible,
    function-broken, training-model, and those of `decode`.
    """
    return read_with_header(path)[0]


def read_with_header(path: str | Path) -> tuple[Graph, FileHeader]:
    """Read a model file, as `read` does, and its header."""
    path = Path(path)
    if not path.is_file():
        raise SlimcError("model-missing", f"the file '{path}' does not exist")
    model = _parse(path.read_bytes(), f"'{path}'")
    return from_model(model, path.parent), FileHeader(_opset(model), model.ir_version)


def from_bytes(data: bytes) -> Graph:
    """Read a model from the bytes of a file without data files."""
    return from_model(_parse(data, "the bytes of a model"))


class NodeWiring(NamedTuple):
    """A node of a file, unchanged."""

    name: str
    """Name of the node."""
    inputs: tuple[str, ...]
    """Values that it reads."""
    outputs: tuple[str, ...]
    """Values that it produces."""


def read_wiring(path: str | Path) -> tuple[NodeWiring, ...]:
    """Return the nodes of a model file without bodies, such as one that a runtime wrote."""
    graph = _parse(Path(path).read_bytes(), f"'{path}'").graph
    return tuple(NodeWiring(n.name, tuple(n.input), tuple(n.output)) for n in graph.node)


def from_model(model: ModelProto, folder: Path | None = None) -> Graph:
    """Make a graph from a model, which is not changed. folder: where its data files are.

    An input that has a default (an initializer of its name) becomes a constant.
    """
    _refuse_unsupported(model)
    functions = {f.domain for f in model.functions}
    model = inline_functions(model)
    versions = {o.domain: o.version for o in model.opset_import if o.domain not in _DEFAULT_DOMAIN}
    opset = _opset(model)
    _check_opset(opset)
    graph = decode(model.graph, folder)
    functions -= {node.domain for node in graph.walk()}
    graph = replace(
        graph,
        opsets={d: v for d, v in versions.items() if d not in functions},
        metadata=_metadata(model, graph.metadata),
        types=_name_input_sizes(graph),
    )
    graph = infer_types(graph, opset)
    return infer_types(upgrade(graph, opset), OPSET) if opset < OPSET else graph


def _opset(model: ModelProto) -> int:
    stated = [o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAIN]
    default = OPSET if model.ir_version >= _HAS_OPSETS else 1
    return max(stated, default=0) or default


def _parse(data: bytes, where: str) -> ModelProto:
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as broken:
        help = "is it an ONNX model, and is the file complete?"
        raise SlimcError("model-unreadable", "it is not an ONNX model", where, help) from broken
    if not model.HasField("graph") or not model.ir_version:
        raise SlimcError("model-unreadable", "it contains no graph", where)
    return model


def _refuse_unsupported(model: ModelProto) -> None:
    where = f"model '{model.graph.name}'"
    refuse_unknown_fields(model, where)
    if model.training_info:
        help = "export the model for inference, or delete training_info"
        raise SlimcError("training-model", "it contains training steps", where, help)
    if model.configuration:
        message = "its device configurations (multi-device) are not supported"
        raise SlimcError("device-configuration", message, where)


def _check_opset(opset: int) -> None:
    if opset > OPSET:
        raise SlimcError(
            "opset-unknown",
            f"the model has opset {opset}; the newest that is supported is {OPSET}",
            help="export it for an older opset, or update slimc",
        )


def _metadata(model: ModelProto, graph_metadata: Mapping[str, str]) -> dict[str, str]:
    metadata = read_entries(model.metadata_props)
    metadata |= {f"{MODEL_PREFIX}graph.{key}": text for key, text in graph_metadata.items()}
    for field in MODEL_FIELDS:
        value = getattr(model, field)
        if value:
            check_text(value)
            metadata[MODEL_PREFIX + field] = str(value)
    return metadata


def _name_input_sizes(graph: Graph) -> dict[str, ValueType]:
    """Name the unknown sizes of inputs: axis 0 of `x` is `x_0`."""
    types = dict(graph.types)
    used = {d for t in types.values() if isinstance(t, TensorType) for d in t.shape or ()}
    for value in graph.inputs:
        kind = types.get(value)
        if not isinstance(kind, TensorType) or kind.shape is None:
            continue
        shape: list[Dim] = []
        for axis, size in enumerate(kind.shape):
            name = f"{value}_{axis}"
            while size is None and name in used:
                name += "_"
            shape.append(name if size is None else size)
        types[value] = TensorType(kind.dtype, tuple(shape))
    return types
