"""Graphs -> model files, in the opset that the reader wants."""

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
from slimc.io.read import FIELDS, MODEL
from slimc.io.tensors import data_files, write_tensor
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.types import DType

PLAIN = 17  # opset that every runtime of today reads
PROTO_LIMIT_BYTES = 1_800_000_000  # protobuf ends at 2 GiB
_SHORT_BYTES = 1024  # shorter constants stay in the file: shapes and axes are read from it
_ALIGNMENT_BYTES = 4096  # a page: runtimes map data files
_OLDEST_IR = 4  # before it, constants had to be inputs


def to_model(
    graph: Graph,
    opset: int | None = None,
    ir_version: int | None = None,
    stubs: Mapping[str, TensorProto] | None = None,
) -> ModelProto:
    """Make the model of a graph.

    opset: of the default domain; None: the lowest from 17 that expresses the graph as it is.
    ir_version: at least that; the opset may need a later one. stubs: tensors to write in place of
    constants. Errors: opset-out-of-range, opset-cannot-express.
    """
    opset = lowest_opset(graph, PLAIN) if opset is None else opset
    model = ModelProto(graph=encode(downgrade(graph, opset), opset, stubs or {}))
    imports = {"": opset, **graph.opsets}
    model.opset_import.extend(helper.make_opsetid(d, v) for d, v in imports.items())
    needed: int = helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)
    model.ir_version = max(ir_version or _OLDEST_IR, needed)
    model.producer_name = "slimc"
    for key, value in graph.metadata.items():
        _describe(model, key, value)
    return model


def _describe(model: ModelProto, key: str, value: str) -> None:
    """Put metadata where `read` found it: in a field of the model, its graph's or its own."""
    field = key.removeprefix(MODEL) if key.startswith(MODEL) else ""
    if field in FIELDS:
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
        message = f"the weights take {_weight_bytes(graph)} bytes, more than one file can hold"
        raise SlimcError("model-too-large", message, help="write it to a path, with a data file")
    return _serialized(to_model(graph, opset, ir_version))


def to_bytes_without_weights(graph: Graph) -> tuple[bytes, dict[str, Constant]]:
    """Make the bytes of a model whose long constants are stubs, and return these beside it.

    For a runtime in this process: weights are shared with it, not copied. Constants of bodies stay
    inside, as do those of types that numpy lacks, and those that nothing reads (a runtime drops
    them before it looks for their weights).
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
    stubs = {name: _stub(name, c, "in-memory", 0) for name, c in outside.items()}
    return _serialized(to_model(graph, stubs=stubs)), outside


def write(
    graph: Graph,
    path: str | Path,
    opset: int | None = None,
    ir_version: int | None = None,
    external: bool | None = None,
) -> None:
    """Write a model file. It takes its place when it is complete, and so does its data file.

    external: put long constants into a data file `<name>.data` beside it; None: only where the
    model is too large for one file. Errors: unwritable, input-overwritten where constants are
    mapped from `path` itself, and those of `to_bytes`.
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
            with replaced(path) as file:
                file.write(data)
    except OSError as error:
        message = f"'{path}' cannot be written: {error.strerror}"
        raise SlimcError("unwritable", message) from error


def _refuse_own_data(graph: Graph, path: Path) -> None:
    if path.exists() and any(path.samefile(file) for file in data_files(graph) if file.exists()):
        message = f"'{path}' holds weights that the model reads"
        raise SlimcError("input-overwritten", message, help="name another file")


def data_path(path: Path) -> Path:
    """Return where the long constants of a model file go where one file cannot hold them."""
    return path.with_name(f"{path.name}.data")


def _refuse_far_link(path: Path) -> None:
    """Refuse a link into another folder: readers look for data files beside the name they open."""
    target = Path(os.path.realpath(path))
    if path.is_symlink() and target.parent != Path(os.path.realpath(path.parent)):
        message = f"'{path}' is a link into another folder, and its data file must lie beside it"
        raise SlimcError("unwritable", message, help=f"name the file itself: '{target}'")


def _write_with_data(graph: Graph, path: Path, opset: int | None, ir_version: int | None) -> None:
    _refuse_far_link(path)
    data_file_path = data_path(path)
    long = {k: c for k, c in _constants(graph) if c.size_bytes >= _SHORT_BYTES}
    long = {k: c for k, c in long.items() if c.dtype is not DType.STRING}
    stubs, offset = {}, 0
    for name, constant in long.items():
        stubs[name] = _stub(name, constant, data_file_path.name, offset)
        offset += -(-constant.size_bytes // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    data = _serialized(to_model(graph, opset, ir_version, stubs))
    with replaced(path) as file:
        file.write(data)
        with replaced(data_file_path) as data_file:
            for constant in long.values():
                data_file.write(write_tensor("", constant).raw_data)
                data_file.write(bytes(-data_file.tell() % _ALIGNMENT_BYTES))


def _stub(name: str, constant: Constant, location: str, offset: int) -> TensorProto:
    """Make a tensor whose elements lie elsewhere."""
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


def _serialized(model: ModelProto) -> bytes:
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when it is complete, with the usual rights.

    A link stays: what it leads to is replaced. Raises SlimcError "unwritable" where there is
    something that is no file.
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
