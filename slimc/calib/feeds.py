"""Feeds: one array per graph input, checked against the graph."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from slimc.analysis.cost import measure
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ir.types import Dim, DType, TensorType
from slimc.ops.op import OpTable


@dataclass(frozen=True)
class Spec:
    """Element type and shape of an array, known without reading its elements."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        size = self.dtype.itemsize
        for dim in self.shape:
            size *= dim
        return size

    def __str__(self) -> str:
        try:
            name = DType.of_numpy(self.dtype).text
        except KeyError:
            name = str(self.dtype)
        return f"{name}[{','.join(str(d) for d in self.shape)}]"


Specs = Mapping[str, Spec]


def specs_of(feed: Mapping[str, np.ndarray]) -> dict[str, Spec]:
    """Return the element type and shape of every array."""
    return {name: Spec(array.dtype, array.shape) for name, array in feed.items()}


def count_samples(specs: Specs, graph: Graph) -> int:
    """Return the number of samples in a feed: the leading size of the first input with axes."""
    shapes = [specs[name].shape for name in graph.inputs]
    return next((shape[0] for shape in shapes if shape), 1)


def macs_of(
    feed: Mapping[str, np.ndarray], graph: Graph, ops: OpTable, sizes: Mapping[str, int]
) -> tuple[int, int]:
    """Return the multiply-accumulates of a feed, and its number of samples.

    sizes: of named dimensions that the feed does not fix.
    """
    specs = specs_of(feed)
    known = {**sizes, **check_feed(graph, specs, "the first feed")}
    return measure(graph, ops, known).macs, count_samples(specs, graph)


def has_sample_axis(graph: Graph) -> bool:
    """Return whether feeds can be split by samples: all inputs share a leading axis of free size.

    It is shared if it has one name, or if there is one input.
    """
    leading: list[Dim] = []
    for name in graph.inputs:
        shape = graph.shape_of(name)
        if not shape:
            return False
        leading.append(shape[0])
    named = len(set(leading)) == 1 and isinstance(leading[0], str)
    return named or leading == [None]


def check_feed(graph: Graph, specs: Specs, where: str) -> dict[str, int]:
    """Check a feed against the graph's inputs and return the size of every named dimension.

    Arrays that are no graph input are ignored. Raises SlimcError `calib-mismatch`.
    """
    require_inputs(graph, specs, where)
    sizes: dict[str, int] = {}
    for name in graph.inputs:
        declared = tensor_type(graph, name)
        place = f"array '{name}' of {where}"
        _check_dtype(declared, specs[name], place)
        if declared.shape is None:
            continue
        if len(declared.shape) != len(specs[name].shape):
            raise _mismatch_error(declared, specs[name], place)
        for declared_dim, dim in zip(declared.shape, specs[name].shape, strict=True):
            if isinstance(declared_dim, int) and declared_dim != dim:
                raise _mismatch_error(declared, specs[name], place)
            if isinstance(declared_dim, str) and sizes.setdefault(declared_dim, dim) != dim:
                raise SlimcError(
                    "calib-mismatch",
                    f"dimension '{declared_dim}' is {sizes[declared_dim]} and {dim} in one feed",
                    place,
                )
    return sizes


def require_inputs(graph: Graph, arrays: Collection[str], where: str) -> None:
    """Raise SlimcError `calib-mismatch` if an input has no array."""
    for name in graph.inputs:
        if name not in arrays:
            raise _missing_error(name, arrays, where)


def tensor_type(graph: Graph, name: str) -> TensorType:
    """Return the type of a graph input. Raises SlimcError `input-not-tensor`."""
    declared = graph.tensor(name)
    if declared is None:
        raise SlimcError(
            "input-not-tensor",
            f"input '{name}' is a {graph.type_of(name)}, but samples are arrays",
            help="bind the input, or cut it off, before this step",
        )
    return declared


def to_input_dtype(array: np.ndarray, declared: TensorType) -> np.ndarray:
    """Return the array with the numpy type of the input: strings as objects, raw bytes as elements.

    numpy files have no bf16, fp8 or int4: they store such elements as raw bytes (`|V2`).
    """
    dtype = declared.dtype.numpy
    if declared.dtype is DType.STRING:
        return array.astype(np.object_)
    return array.view(dtype) if array.dtype.kind == "V" else array


def _check_dtype(declared: TensorType, spec: Spec, place: str) -> None:
    expected = declared.dtype
    if expected is DType.STRING:
        matches = spec.dtype.kind in "OUS"
    else:
        raw = spec.dtype.kind == "V" and spec.dtype.names is None
        matches = spec.dtype == expected.numpy or (
            raw and expected.numpy.kind == "V" and spec.dtype.itemsize == expected.numpy.itemsize
        )
    if not matches:
        error = _mismatch_error(declared, spec, place)
        raise SlimcError(
            error.name,
            error.message,
            place,
            f"convert it when saving: array.astype(np.{expected.numpy})",
        )


def _mismatch_error(declared: TensorType, spec: Spec, place: str) -> SlimcError:
    return SlimcError("calib-mismatch", f"expected {declared}, found {spec}", place)


def _missing_error(name: str, arrays: Collection[str], where: str) -> SlimcError:
    near = get_close_matches(name, arrays, 1)
    available = ", ".join(f"'{n}'" for n in sorted(arrays)[:8]) or "none"
    return SlimcError(
        "calib-mismatch",
        f"no array for input '{name}' (found: {available})",
        where,
        f"name the arrays after the graph's inputs: np.savez(path, **{{'{name}': array}})"
        + (f"; did you mean '{near[0]}'" if near else ""),
    )


def size_of_dim(dim: Dim, fallback: str, sizes: Mapping[str, int]) -> int | None:
    """Return the size of a dimension: its number, or the one that `sizes` has for its name."""
    return dim if isinstance(dim, int) else sizes.get(dim if dim is not None else fallback)
