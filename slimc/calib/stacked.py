"""One file with many samples, cut into feeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slimc.calib.feeds import Spec, native, tensor_type
from slimc.calib.npz import Stored, batches, load
from slimc.errors import SlimcError
from slimc.execute.ort import Feed
from slimc.ir.graph import Graph


@dataclass(frozen=True)
class Stack:
    """Arrays that are cut along axis 0, `rows` at a time, and others that go whole into every feed.

    drop_axis: a piece of one row is a feed of its own, without that axis. left_over: rows at the
    end that fill no feed of a graph with a fixed batch.
    """

    graph: Graph
    cut: Mapping[str, Stored]
    whole: Mapping[str, Stored]
    rows: int
    drop_axis: bool
    left_over: int

    def specs(self) -> tuple[dict[str, Spec], ...]:
        """Return types and shapes of every feed."""
        if not self.cut:
            return ({name: one.spec for name, one in self.whole.items()},)
        length = next(iter(self.cut.values())).spec.shape[0] - self.left_over
        made = []
        for start in range(0, length, self.rows):
            rows = () if self.drop_axis else (min(self.rows, length - start),)
            one = {n: Spec(s.spec.dtype, (*rows, *s.spec.shape[1:])) for n, s in self.cut.items()}
            made.append({**one, **{name: s.spec for name, s in self.whole.items()}})
        return tuple(made)

    def feeds(self) -> Iterator[Feed]:
        """Read the feeds one after another; only one is in memory."""
        whole = load(self.whole)
        streams = {name: batches(one, self.rows) for name, one in self.cut.items()}
        for _ in self.specs():
            feed = {name: next(stream) for name, stream in streams.items()}
            if self.drop_axis:
                feed = {name: array[0] for name, array in feed.items()}
            feed |= whole
            yield {n: native(feed[n], tensor_type(self.graph, n)) for n in self.graph.inputs}


def stack(arrays: Mapping[str, Stored], graph: Graph, batch: int, where: str) -> Stack:
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
    lengths = {name: one.spec.shape[0] for name, one in cut.items()}
    wrong = [name for name, count in extra.items() if drop_axis and count != 1]
    if wrong or len(set(lengths.values())) != 1 or not any(lengths.values()):
        shapes = ", ".join(f"'{name}' {one.spec}" for name, one in arrays.items())
        raise SlimcError(
            "calib-mismatch",
            f"these are not samples stacked along axis 0: {shapes}",
            where,
            "give all inputs the same number of samples, or a folder with one .npz for each feed",
        )
    if drop_axis:
        return Stack(graph, cut, scalars, 1, True, 0)
    leading = [shape[0] for name in cut if (shape := declared[name])]
    fixed = next((dim for dim in leading if isinstance(dim, int)), None)
    length = next(iter(lengths.values()))
    left_over = length % fixed if fixed is not None and length >= fixed > 0 else 0
    return Stack(graph, cut, scalars, max(fixed or batch, 1), False, left_over)
