"""One feed, an array for every graph input, and its check against the graph."""

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
    """Element type and shape of a stored array, known without reading its elements."""

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
    """Return element type and shape of every array."""
    return {name: Spec(array.dtype, array.shape) for name, array in feed.items()}


def samples_of(specs: Specs, graph: Graph) -> int:
    """Return how many samples a feed holds: the leading size of the first input that has axes."""
    shapes = [specs[name].shape for name in graph.inputs]
    return next((shape[0] for shape in shapes if shape), 1)


def macs_of(
    feed: Mapping[str, np.ndarray], graph: Graph, ops: OpTable, sizes: Mapping[str, int]
) -> tuple[int, int]:
    """Return the multiply-accumulates of a feed, and how many samples it holds.

    sizes: of names that the feed does not tell.
    """
    specs = specs_of(feed)
    known = {**sizes, **check(graph, specs, "the first feed")}
    return measure(graph, ops, known).macs, samples_of(specs, graph)


def has_sample_axis(graph: Graph) -> bool:
    """Tell whether feeds can be cut by samples: all inputs have one leading axis of any size.

    One axis if its name is one, or there is one input.
    """
    leading: list[Dim] = []
    for name in graph.inputs:
        shape = graph.shape_of(name)
        if not shape:
            return False
        leading.append(shape[0])
    named = len(set(leading)) == 1 and isinstance(leading[0], str)
    return named or leading == [None]


def check(graph: Graph, specs: Specs, where: str) -> dict[str, int]:
    """Check a feed against the graph's inputs and return the size of every named dimension.

    Arrays that no input is named after are not looked at. Raises SlimcError `calib-mismatch`.
    """
    require(graph, specs, where)
    sizes: dict[str, int] = {}
    for name in graph.inputs:
        declared = tensor_type(graph, name)
        place = f"array '{name}' of {where}"
        _check_dtype(declared, specs[name], place)
        if declared.shape is None:
            continue
        if len(declared.shape) != len(specs[name].shape):
            raise _mismatch(declared, specs[name], place)
        for declared_dim, dim in zip(declared.shape, specs[name].shape, strict=True):
            if isinstance(declared_dim, int) and declared_dim != dim:
                raise _mismatch(declared, specs[name], place)
            if isinstance(declared_dim, str) and sizes.setdefault(declared_dim, dim) != dim:
                raise SlimcError(
                    "calib-mismatch",
                    f"dimension '{declared_dim}' is {sizes[declared_dim]} and {dim} in one feed",
                    place,
                )
    return sizes


def require(graph: Graph, arrays: Collection[str], where: str) -> None:
    """Raise SlimcError `calib-mismatch` if an input has no array."""
    for name in graph.inputs:
        if name not in arrays:
            raise _missing(name, arrays, where)


def tensor_type(graph: Graph, name: str) -> TensorType:
    """Return the type of a graph input; SlimcError `input-not-tensor` if it is none."""
    declared = graph.tensor(name)
    if declared is None:
        raise SlimcError(
            "input-not-tensor",
            f"input '{name}' is a {graph.type_of(name)}, and samples are arrays",
            help="bind or cut the input before this step",
        )
    return declared


def native(array: np.ndarray, declared: TensorType) -> np.ndarray:
    """Return the array with the numpy type of the input: text as objects, raw bytes reread.

    numpy files know no bf16, fp8 or int4: they keep such elements as raw bytes (`|V2`).
    """
    wanted = declared.dtype.numpy
    if declared.dtype is DType.STRING:
        return array.astype(np.object_)
    return array.view(wanted) if array.dtype.kind == "V" else array


def _check_dtype(declared: TensorType, found: Spec, place: str) -> None:
    wanted = declared.dtype
    if wanted is DType.STRING:
        fits = found.dtype.kind in "OUS"
    else:
        raw = found.dtype.kind == "V" and found.dtype.names is None
        fits = found.dtype == wanted.numpy or (
            raw and wanted.numpy.kind == "V" and found.dtype.itemsize == wanted.numpy.itemsize
        )
    if not fits:
        error = _mismatch(declared, found, place)
        raise SlimcError(
            error.name,
            error.message,
            place,
            f"convert it when saving: array.astype(np.{wanted.numpy})",
        )


def _mismatch(declared: TensorType, found: Spec, place: str) -> SlimcError:
    return SlimcError("calib-mismatch", f"found {found} where the input is {declared}", place)


def _missing(name: str, arrays: Collection[str], where: str) -> SlimcError:
    near = get_close_matches(name, arrays, 1)
    there = ", ".join(f"'{n}'" for n in sorted(arrays)[:8]) or "none"
    return SlimcError(
        "calib-mismatch",
        f"no array for input '{name}' (arrays there: {there})",
        where,
        f"name the arrays after the graph's inputs: np.savez(path, **{{'{name}': array}})"
        + (f"; '{near[0]}' looks like it" if near else ""),
    )


def size_of(dim: Dim, fallback: str, sizes: Mapping[str, int]) -> int | None:
    """Return the number of a dimension: itself, or what `sizes` says of its name."""
    return dim if isinstance(dim, int) else sizes.get(dim if dim is not None else fallback)
