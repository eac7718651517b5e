"""Graphs -> model files, in the opset that is asked for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto, StringStringEntryProto, TensorProto, helper

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade, lowest_opset
from slimc.io.encode import encode
from slimc.io.places import refuse_irregular
from slimc.io.read import MODEL_FIELDS, MODEL_PREFIX
from slimc.io.tensors import data_files, write_tensor
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.types import DType

DEFAULT_OPSET = 17  # opset that every current runtime reads
PROTO_LIMIT_BYTES = 1_800_000_000  # protobuf allows 2 GiB
_SHORT_BYTES = 1024  # shorter constants stay in the model file, as shapes and axes must
_ALIGNMENT_BYTES = 4096  # a page, since runtimes map data files
_OLDEST_IR = 4  # before it, initializers had to be inputs


def to_model(
    graph: Graph,
    opset: int | None = None,
    ir_version: int | None = None,
    stubs: Mapping[str, TensorProto] | None = None,
) -> ModelProto:
    """Make the model of a graph.

    opset: of the default domain; None: the lowest from 17 on that supports every node.
    ir_version: lower bound; the opset may need a later one. stubs: tensors to write instead of
    constants. Errors: opset-out-of-range, opset-cannot-express.
    """
    opset = lowest_opset(graph, DEFAULT_OPSET) if opset is None else opset
    model = ModelProto(graph=encode(downgrade(graph, opset), opset, stubs or {}))
    imports = {"": opset, **graph.opsets}
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in imports.items())
    needed: int = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(ir_version or _OLDEST_IR, needed)
    model.producer_name = "slimc"
    for key, value in graph.metadata.items():
        _write_metadata(model, key, value)
    return model


def _write_metadata(model: ModelProto, key: str, value: str) -> None:
    """Write metadata where `read` found it: a field, the graph's metadata or the model's."""
    field = key.removeprefix(MODEL_PREFIX) if key.startswith(MODEL_PREFIX) else ""
    if field in MODEL_FIELDS:
        setattr(model, field, int(value) if field == "model_version" else value)
    elif field.startswith("graph."):
        model.graph.metadata_props.add(key=field.removeprefix("graph."), value=value)
    else:
        model.metadata_props.add(key=key, value=value)


def to_bytes(graph: Graph, opset: int | None = None, ir_version: int | None = None) -> bytes:
    """Make the bytes of a model file; equal graphs give equal bytes.

    Errors: model-too-large, and those of `to_model`.
    """
    if _weight_bytes(graph) > PROTO_LIMIT_BYTES:
        message = f"the weights have {_weight_bytes(graph)} bytes, more than one file can hold"
        raise SlimcError("model-too-large", message, help="write it to a path, with a data file")
    return _serialize(to_model(graph, opset, ir_version))


def to_bytes_without_weights(graph: Graph) -> tuple[bytes, dict[str, Constant]]:
    """Make the bytes of a model whose long constants are stubs, and return these separately.

    For a runtime in this process, which shares the weights instead of copying them. Constants of
    bodies stay in the model, as do those of types that numpy lacks, and those that nothing reads (a
    runtime drops them before it looks for their weights).
    """
    read = {value for node in graph.nodes for value in node.reads} | set(graph.outputs)
    outside = {
        name: constant
        for name, constant in graph.constants.items()
        if constant.size_bytes >= _SHORT_BYTES
        and constant.dtype.in_numpy
        and constant.dtype is not DType.STRING
        and name in read
    }
    stubs = {name: _make_stub(name, c, "in-memory", 0) for name, c in outside.items()}
    return _serialize(to_model(graph, stubs=stubs)), outside


def write(
    graph: Graph,
    path: str | Path,
    opset: int | None = None,
    ir_version: int | None = None,
    external: bool | None = None,
) -> None:
    """Write a model file, atomically, and its data file likewise.

    external: write long constants to a data file `<name>.data` next to it; None: only if the model
    is too large for one file. Errors: unwritable, input-overwritten if constants are mapped from
    `path` itself, and those of `to_bytes`.
    """
    path = Path(path)
    _refuse_own_data(graph, path)
    if external is None:
        external = _weight_bytes(graph) > PROTO_LIMIT_BYTES
    try:
        if external:
            _write_with_data(graph, path, opset, ir_version)
        else:
            data = to_bytes(graph, opset, ir_version)
            with replace_file(path) as file:
                file.write(data)
    except OSError as error:
        message = f"'{path}' cannot be written: {error.strerror}"
        raise SlimcError("unwritable", message) from error


def _refuse_own_data(graph: Graph, path: Path) -> None:
    if path.exists() and any(path.samefile(file) for file in data_files(graph) if file.exists()):
        message = f"'{path}' contains weights that the model reads"
        raise SlimcError("input-overwritten", message, help="name another file")


def data_path(path: Path) -> Path:
    """Return the path of the data file of a model file that is too large for one file."""
    return path.with_name(f"{path.name}.data")


def _refuse_far_link(path: Path) -> None:
    """Refuse a link into another folder: runtimes look for data files next to the link."""
    target = Path(os.path.realpath(path))
    if path.is_symlink() and target.parent != Path(os.path.realpath(path.parent)):
        message = f"'{path}' is a link into another folder, but its data file must be next to it"
        raise SlimcError("unwritable", message, help=f"name the file itself: '{target}'")


def _write_with_data(graph: Graph, path: Path, opset: int | None, ir_version: int | None) -> None:
    _refuse_far_link(path)
    data_file_path = data_path(path)
    long = {k: c for k, c in _constants(graph) if c.size_bytes >= _SHORT_BYTES}
    long = {k: c for k, c in long.items() if c.dtype is not DType.STRING}
    stubs, offset = {}, 0
    for name, constant in long.items():
        stubs[name] = _make_stub(name, constant, data_file_path.name, offset)
        offset += -(-constant.size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    data = _serialize(to_model(graph, opset, ir_version, stubs))
    with replace_file(path) as file:
        file.write(data)
        with replace_file(data_file_path) as data_file:
            for constant in long.values():
                data_file.write(write_tensor("", constant).raw_data)
                data_file.write(bytes(-data_file.tell() % _ALIGNMENT_BYTES))


def _make_stub(name: str, constant: Constant, location: str, offset: int) -> TensorProto:
    """Make a tensor whose elements are stored elsewhere."""
    stub = TensorProto(
        name=name,
        dims=constant.shape,
        data_type=constant.dtype.code,
        data_location=TensorProto.EXTERNAL,
    )
    facts = {"location": location, "offset": offset, "length": constant.size_bytes}
    for key, value in facts.items():
        stub.external_data.append(StringStringEntryProto(key=key, value=str(value)))
    return stub


def _constants(graph: Graph) -> Iterator[tuple[str, Constant]]:
    """Yield the constants of a graph and its bodies."""
    yield from graph.constants.items()
    for node in graph.nodes:
        for body in node.bodies:
            yield from _constants(body)


def _weight_bytes(graph: Graph) -> int:
    return sum(constant.size_bytes for _, constant in _constants(graph))


def _serialize(model: ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@contextmanager
def replace_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` when it is complete, with the usual permissions.

    A link is kept: its target is replaced. Raises SlimcError "unwritable" if `path` exists and is
    not a regular file.
    """
    refuse_irregular(path)
    path = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
