"""One file with many samples, split into feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slimc.calib.feeds import Spec, tensor_type, to_input_dtype
from slimc.calib.npz import NpyArray, load_arrays, read_batches
from slimc.errors import SlimcError
from slimc.execute.ort import Feed
from slimc.ir.graph import Graph


@dataclass(frozen=True)
class Stack:
    """Arrays that are split along axis 0, and others that every feed shares."""

    graph: Graph
    """The graph that the feeds are for."""
    cut: Mapping[str, NpyArray]
    """Arrays that are split along axis 0."""
    shared: Mapping[str, NpyArray]
    """Arrays that are the same in every feed."""
    rows: int
    """Indices of axis 0 per feed."""
    drop_axis: bool
    """Whether each index is a feed of its own, without axis 0."""
    left_over: int
    """Indices at the end that fill no feed of a fixed batch size."""

    def specs(self) -> tuple[dict[str, Spec], ...]:
        """Return the types and shapes of every feed."""
        if not self.cut:
            return ({name: array.spec for name, array in self.shared.items()},)
        length = next(iter(self.cut.values())).spec.shape[0] - self.left_over
        feeds = []
        for start in range(0, length, self.rows):
            rows = () if self.drop_axis else (min(self.rows, length - start),)
            feed = {n: Spec(s.spec.dtype, (*rows, *s.spec.shape[1:])) for n, s in self.cut.items()}
            feeds.append({**feed, **{name: s.spec for name, s in self.shared.items()}})
        return tuple(feeds)

    def feeds(self) -> Iterator[Feed]:
        """Read the feeds one by one; only one is in memory."""
        shared = load_arrays(self.shared)
        streams = {name: read_batches(array, self.rows) for name, array in self.cut.items()}
        for _ in self.specs():
            feed = {name: next(stream) for name, stream in streams.items()}
            if self.drop_axis:
                feed = {name: array[0] for name, array in feed.items()}
            feed |= shared
            yield {
                n: to_input_dtype(feed[n], tensor_type(self.graph, n)) for n in self.graph.inputs
            }


def stack_arrays(arrays: Mapping[str, NpyArray], graph: Graph, batch: int, where: str) -> Stack:
    """Find out how the arrays of a file are stacked. Raises SlimcError `calib-mismatch`."""
    declared = {name: tensor_type(graph, name).shape for name in graph.inputs}
    extra = {
        name: len(arrays[name].spec.shape) - len(shape)
        for name, shape in declared.items()
        if shape is not None
    }
    drop_axis = any(count == 1 for count in extra.values())
    scalars = {n: arrays[n] for n in graph.inputs if not arrays[n].spec.shape}
    cut = {n: arrays[n] for n in graph.inputs if n not in scalars}
    lengths = {name: array.spec.shape[0] for name, array in cut.items()}
    wrong = [name for name, count in extra.items() if drop_axis and count != 1]
    if wrong or len(set(lengths.values())) != 1 or not any(lengths.values()):
        shapes = ", ".join(f"'{name}' {array.spec}" for name, array in arrays.items())
        raise SlimcError(
            "calib-mismatch",
            f"the arrays are not stacked along axis 0: {shapes}",
            where,
            "give all inputs the same number of samples, or a folder with one .npz per feed",
        )
    if drop_axis:
        return Stack(graph, cut, scalars, 1, True, 0)
    leading = [shape[0] for name in cut if (shape := declared[name])]
    fixed = next((dim for dim in leading if isinstance(dim, int)), None)
    length = next(iter(lengths.values()))
    left_over = length % fixed if fixed is not None and length >= fixed > 0 else 0
    return Stack(graph, cut, scalars, max(fixed or batch, 1), False, left_over)
