"""Which indices of the weights in the user's file a removal of channels kept.

Weights are merged, transposed and shared on the way to the graph that loses channels. So the
removal is laid on the graph as it came, with all its weights: values of one name are the same in
both graphs, and from them the lost indices spread along the axis signatures to every constant.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from slimc.analysis.coupling import Coupling, couple, sizes_of
from slimc.analysis.index_space import AxisOf, LabelOf, Place
from slimc.analysis.shapes import infer
from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.ir.arrays import Mask
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ops.axes import Axis
from slimc.passes.canonical.inline_branches import written_out
from slimc.passes.context import Context
from slimc.passes.prune.slice_axes import Sliced, slice_axes
from slimc.pipeline.checks import NOISES, Feed, rounding_noise
from slimc.remarks import Remark, note
from slimc.rewrite.kept import Kept, compose, indices, ranges

TOLERANCE = 1e-4  # as of passes that keep values: sums in another order
NAME = "index-map"

Entries = dict[str, dict[int, tuple[int, ...]]]  # initializer -> axis -> indices that stay


@dataclass(frozen=True)
class Removal:
    """What a pass took out of `before`: value -> per axis, the indices that stay."""

    before: Graph
    after: Graph
    kept: Mapping[str, Kept]


@dataclass(frozen=True)
class IndexMap:
    """The indices that stay of each initializer of the file that lost some.

    kept: initializer -> axis -> indices; an initializer of which its readers keep different indices
    has an entry for each of them, `name@node`. missing: initializers of which nothing is known, and
    remarks why.
    """

    kept: Mapping[str, Mapping[int, tuple[int, ...]]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()

    def table(self) -> dict[str, dict[str, dict[str, str]] | list[str]]:
        """Return plain JSON values; indices are ranges: `0-3,5`."""
        kept = {
            name: {str(axis): ranges(stay) for axis, stay in axes.items()}
            for name, axes in self.kept.items()
        }
        return {"kept": kept, "missing": list(self.missing)}


def read_table(table: Mapping[str, Mapping[str, Mapping[str, str]]]) -> IndexMap:
    """Read what `IndexMap.table` wrote. Raises ValueError, TypeError or AttributeError."""
    kept = {
        name: {int(axis): indices(text) for axis, text in axes.items()}
        for name, axes in table["kept"].items()
    }
    return IndexMap(kept, tuple(table["missing"]))


def index_map(
    given: Graph, bound: Graph, removals: Sequence[Removal], ctx: Context, feeds: Sequence[Feed]
) -> IndexMap:
    """Map what `removals` took out, one after the other, to the constants of the given graph.

    bound: `given` with its inputs fixed, where the passes began. That graph, cut by the map, is run
    on `feeds`: it must compute what the graph after the removals computes or, where weights were
    repaired, what the one before them does without the same indices. Else the map holds only
    constants that came through to the removal as they are.
    """
    if not removals:
        return IndexMap()
    removal = Removal(removals[0].before, removals[-1].after, compose(r.kept for r in removals))
    plain = cut(written_out(bound, ctx).graph, removal, ctx)
    found = IndexMap(_entries(plain, given))
    if not _unequal(removal.after, plain.graph, feeds):
        return found
    pruned = cut(removal.before, removal, ctx)
    if wrong := _widths(pruned.graph, removal.after):
        return _partial({}, {}, given, wrong)
    if why := _unequal(pruned.graph, plain.graph, feeds):
        return _partial(_entries(pruned, given), removal.before.constants, given, why)
    return found


def _partial(
    entries: Entries, constants: Mapping[str, Constant], given: Graph, why: str
) -> IndexMap:
    """Map what came through to the graph that loses channels as it is, and say why no more.

    constants: of that graph; entries: their own map.
    """
    weights = {n: c for n, c in _all_constants(given).items() if _is_weight(c)}
    split = {key.rpartition("@")[0] for key in entries}
    both = (weights.keys() & constants.keys()) - split
    same = {name for name in both if constants[name].same_as(weights[name])}
    known = {n: axes for n, axes in entries.items() if n in same}
    missing = tuple(n for n in weights if n not in same)
    said = note(
        f"the index map lacks {len(missing)} of the model's initializers, of which it is not known "
        f"what they keep: the removal laid on the model as it came gives another result: {why}"
    )
    return IndexMap(known, missing, (said,))


def cut(graph: Graph, removal: Removal, ctx: Context) -> Sliced:
    """Take the indices that a removal took out of its own graph out of a graph of the same values.

    Values are the same if name and type are. Their lost indices spread over the signatures; what a
    signature pins is no matter here: the other graph says what may leave.
    """
    coupling = couple(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes_of(graph)))
    gone = _gone(coupling, removal)
    alone = replace(coupling, unit=np.arange(len(gone)))
    return slice_axes(alone, gone, NAME)


def _gone(coupling: Coupling, removal: Removal) -> Mask:
    """Return for every index of the space whether it leaves."""
    space = coupling.space
    types = {v: kind for scope in removal.before.scopes() for v, kind in scope.types.items()}
    gone = np.zeros(space.count, bool)
    for value, axes in removal.kept.items():
        kind = types.get(value)
        if kind is None or kind != coupling.graph.types.get(value):
            continue
        for axis, stay in enumerate(axes):
            place = AxisOf(value, axis)
            if stay is not None and place in space.start:
                lost = np.ones(space.extent[place], bool)
                lost[list(stay)] = False
                gone[space.of(place)] |= lost
    runs = [run for node_runs in _runs(coupling) for run in node_runs]
    count = -1
    while count != (count := int(gone.sum())):
        for run in (*runs, *reversed(runs)):
            run.spread(gone)
    return gone


def _all_constants(graph: Graph) -> dict[str, Constant]:
    return {name: c for scope in graph.scopes() for name, c in scope.constants.items()}


@dataclass(frozen=True)
class _Run:
    """A run of indices that is the row-major product of labels, whose indices start at `labels`."""

    start: int
    labels: tuple[int, ...]
    extents: tuple[int, ...]

    def spread(self, gone: Mask) -> None:
        """Let an index of a label leave if all of its run does, and all of its run if it does."""
        run = gone[self.start : self.start + prod(self.extents)].reshape(self.extents)
        for factor, (start, extent) in enumerate(zip(self.labels, self.extents, strict=True)):
            label = gone[start : start + extent]
            others = tuple(axis for axis in range(len(self.extents)) if axis != factor)
            label |= run.all(axis=others)
            shape = [extent if axis == factor else 1 for axis in range(len(self.extents))]
            run |= label.reshape(shape)


def _runs(coupling: Coupling) -> Iterator[list[_Run]]:
    """Yield, node by node, the runs of which the axes of its operands and results are made."""
    for node in coupling.graph.nodes:
        bound = coupling.bound_of(node)
        if bound is None:
            continue
        sizes = sizes_of(bound)
        sides: list[tuple[Place, Axis]] = []
        for operand, axes in enumerate(bound.inputs):
            sides += [(coupling.axis(node, operand, a), t) for a, t in enumerate(axes or ())]
        for value, axes in zip(node.outputs, bound.outputs, strict=True):
            sides += [(AxisOf(value, a), t) for a, t in enumerate(axes or () if value else ())]
        found = []
        for place, terms in sides:
            start = coupling.space.start[place]
            for term in terms:
                extents = tuple(sizes[label.name] for label in term)
                labels = (LabelOf(node.name, label.name) for label in term)
                at = tuple(coupling.space.start[label] for label in labels)
                if prod(extents):
                    found.append(_Run(start, at, extents))
                start += prod(extents)
        yield found


def _entries(sliced: Sliced, given: Graph) -> Entries:
    """Return the kept indices of the constants of `given`, in its order."""
    found: dict[str, Entries] = {}
    for name, kept in sliced.kept.items():
        old = sliced.origin[name]
        axes = {axis: stay for axis, stay in enumerate(kept) if stay is not None}
        keys = [old] if name == old else _readers(sliced.graph, name, old)
        found.setdefault(old, {}).update(dict.fromkeys(keys, axes))
    return {key: axes for n in _all_constants(given) for key, axes in found.get(n, {}).items()}


def _readers(graph: Graph, name: str, old: str) -> list[str]:
    return [f"{old}@{node.name}" for node in graph.walk() if name in node.inputs]


def _is_weight(constant: Constant) -> bool:
    return constant.dtype.is_float and constant.array.size > 1


def _widths(cut_again: Graph, after: Graph) -> str:
    """Say which value has another type after the removal; the values of both should be alike."""
    for node in cut_again.nodes:
        for value in node.outputs:
            wanted, kind = after.types.get(value), cut_again.types.get(value)
            if value and wanted is not None and kind is not None and wanted != kind:
                return f"'{value}' is {wanted}, not {kind}"
    return ""


def _unequal(wanted: Graph, got: Graph, feeds: Sequence[Feed]) -> str:
    """Run two graphs; say which output differs by more than rounding, or that one does not run."""
    try:
        first, second = Session(wanted), Session(got)
        results = tuple(first.run(feed) for feed in feeds)
        again = tuple(first.run(feed) for feed in feeds)
        found = tuple(second.run(feed) for feed in feeds)
        noise: dict[str, float] = {}
        for output in wanted.outputs:
            pairs = [(a[output], b[output]) for a, b in zip(results, found, strict=True)]
            apart = max((difference(a, b) for a, b in pairs), default=0.0)
            twice = zip(results, again, strict=True)
            steady = all(difference(a[output], b[output]) == 0 for a, b in twice)
            if apart <= TOLERANCE or not steady:
                continue
            noise = noise or rounding_noise(wanted, feeds, results)
            if not apart <= NOISES * noise[output]:
                return f"output '{output}' is off by {apart:.3g} of its largest magnitude"
    except SlimcError as error:
        return error.message
    return ""
