"""Constants from and to TensorProto, and the data files of a model."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
from onnx import SparseTensorProto, TensorProto, numpy_helper

from slimc.errors import SlimcError
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.types import DType


class DataFiles:
    """The data files in the folder of a model; each is mapped once. Files outside are refused."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._maps: dict[str, np.ndarray] = {}

    def map(self, location: str, where: str) -> np.ndarray:
        """Return the bytes of a file, as u8[size]. Error: external-data."""
        if location not in self._maps:
            path = self.resolve(location, where)
            size = path.stat().st_size
            mapped = np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)
            self._maps[location] = np.asarray(mapped)
        return self._maps[location]

    def resolve(self, location: str, where: str) -> Path:
        """Return the path of a file, which must be in the folder, links followed.

        Error: external-data.
        """
        if self._folder is None:
            raise SlimcError(
                "external-data",
                f"its data is in the file '{location}', but the model was not read from a path",
                where,
                "read the model by its path",
            )
        root = self._folder.resolve()
        path = (root / location).resolve()
        if not location or not path.is_relative_to(root):
            raise SlimcError(
                "external-data",
                f"its data file '{location}' is outside the model's folder",
                where,
                "copy the data file into the folder of the model",
            )
        if not path.is_file():
            message = f"its data file '{location}' does not exist in the model's folder"
            raise SlimcError("external-data", message, where)
        return path


NO_FILES = DataFiles(None)


def data_files(graph: Graph) -> tuple[Path, ...]:
    """Return the files that constants are mapped from, sorted (types under a byte are copied)."""
    paths = set()
    for constant in (c for scope in graph.scopes() for c in scope.constants.values()):
        array: object = constant.array
        while isinstance(array, np.ndarray) and not isinstance(array, np.memmap):
            array = array.base
        if isinstance(array, np.memmap) and array.filename is not None:
            paths.add(Path(array.filename))
    return tuple(sorted(paths))


def read_tensor(tensor: TensorProto, files: DataFiles = NO_FILES, where: str = "") -> Constant:
    """Make a constant from a tensor; data in a data file is mapped, not read.

    Errors: tensor-broken, external-data.
    """
    where = where or f"tensor '{tensor.name}'"
    dtype = _dtype(tensor, where)
    if tensor.HasField("segment"):
        raise SlimcError("tensor-broken", "it is stored in segments, which is not supported", where)
    dims = tuple(tensor.dims)
    if min(dims, default=0) < 0:
        raise SlimcError("tensor-broken", f"it has a negative size: {list(dims)}", where)
    size = (prod(dims) * dtype.bits + 7) // 8
    if tensor.data_location == TensorProto.EXTERNAL:
        return Constant(_map_elements(tensor, dtype, dims, size, files, where))
    if tensor.HasField("raw_data") and len(tensor.raw_data) != size:
        raise SlimcError(
            "tensor-broken",
            f"{list(dims)} {dtype.text} needs {size} bytes, the file has {len(tensor.raw_data)}",
            where,
        )
    if dtype is DType.STRING:
        return Constant(_string_array(tensor, dims, where))
    try:
        return Constant(numpy_helper.to_array(tensor))
    except ValueError as broken:
        raise SlimcError("tensor-broken", f"its elements do not fit {list(dims)}", where) from (
            broken
        )


def _dtype(tensor: TensorProto, where: str) -> DType:
    try:
        return DType.of_code(tensor.data_type)
    except KeyError:
        message = f"its element type {tensor.data_type} is unknown"
        raise SlimcError("tensor-broken", message, where) from None


def _string_array(tensor: TensorProto, dims: tuple[int, ...], where: str) -> np.ndarray:
    if len(tensor.string_data) != prod(dims):
        message = f"{list(dims)} needs {prod(dims)} strings, the file has {len(tensor.string_data)}"
        raise SlimcError("tensor-broken", message, where)
    strings = np.empty(prod(dims), object)
    strings[:] = [_decode(data) for data in tensor.string_data]
    return strings.reshape(dims)


def _decode(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _map_elements(
    tensor: TensorProto,
    dtype: DType,
    dims: tuple[int, ...],
    size: int,
    files: DataFiles,
    where: str,
) -> np.ndarray:
    facts = {entry.key: entry.value for entry in tensor.external_data}
    location = facts.get("location", "")
    data = files.map(location, where)
    offset = _parse_number(facts.get("offset", "0"), "offset", where)
    length = _parse_number(facts.get("length", str(size)), "length", where)
    if length != size:
        message = f"{list(dims)} {dtype.text} needs {size} bytes, but its length is {length}"
        raise SlimcError("external-data", message, where)
    if offset + size > data.size:
        message = f"it ends at byte {offset + size} of '{location}', which has {data.size}"
        raise SlimcError("external-data", message, where, "is the data file complete?")
    data = data[offset : offset + size]
    if dtype.bits >= 8:
        return data.view(dtype.numpy).reshape(dims)
    packed = TensorProto(dims=dims, data_type=tensor.data_type, raw_data=data.tobytes())
    return np.asarray(numpy_helper.to_array(packed))


def _parse_number(text: str, what: str, where: str) -> int:
    if not text.isdecimal():
        raise SlimcError("external-data", f"its {what} '{text}' is not a number of bytes", where)
    return int(text)


def read_sparse(sparse: SparseTensorProto, files: DataFiles, where: str) -> Constant:
    """Make a dense constant from a sparse tensor: elements that are not stored are 0. Exact."""
    values = read_tensor(sparse.values, files, where).array
    indices = read_tensor(sparse.indices, files, where).array
    dims = tuple(sparse.dims)
    try:
        dense = np.zeros(dims, values.dtype)
        places = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), dims)
        dense.reshape(-1)[places] = values
    except (ValueError, IndexError) as broken:
        message = f"its indices do not fit {list(dims)}"
        raise SlimcError("tensor-broken", message, where) from broken
    return Constant(dense)


def write_tensor(name: str, constant: Constant) -> TensorProto:
    """Make a tensor with the elements of a constant."""
    array = constant.array
    if constant.dtype is DType.STRING:
        texts = [t if isinstance(t, bytes) else str(t).encode() for t in array.ravel()]
        return TensorProto(
            name=name, dims=array.shape, data_type=TensorProto.STRING, string_data=texts
        )
    return numpy_helper.from_array(array, name)
