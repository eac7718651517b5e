"""Merge removed channels into those that stay, without any samples: the fallback of repair.

Where a contraction reads x and loses the channels R of it, what stays (K) stands in for them:

    x_R ~ B x_K + c,   W'_K = W_K + W_R (B kron I_taps),   b' = b + W_R c

B and c (`calib.stand_in`) follow from second moments of the channels of the graph as it was, on
made-up samples (`calib.fields`). Copies of a channel, and scaled copies behind a ReLU, merge
exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.index_space import LabelOf
from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.calib.random_fields import fields, sizes_in
from slimc.execute.ort import Session
from slimc.fit.layer import Layer, affected, layers_of
from slimc.fit.moments import Fit, Moments, Split
from slimc.ir.arrays import Floats, Ints, Mask
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ops.axes import labels_of
from slimc.passes.prune.reconstruction import RIDGE, StandIn, error_left, stand_in
from slimc.passes.prune.slice_axes import Sliced
from slimc.remarks import Remark, note, skipped
from slimc.rewrite.kept import Kept, staying, take

PLACES = 512  # places looked at in a feed
ROWS_PER_CHANNEL = 4  # with fewer rows, all copies of a channel (a flattened map) share one B
WIDEST = 4608  # channels whose second moments are taken
MOMENT_BYTES = 1 << 29  # of second moments in memory; what needs more is summed in further runs


@dataclass(frozen=True)
class Merged:
    """A graph with merged weights, a row per contraction for the report, what is to be said."""

    graph: Graph
    table: tuple[dict[str, Any], ...]
    remarks: tuple[Remark, ...]


def merge(coupling: Coupling, removed: Mask, sliced: Sliced, seed: int = 0) -> Merged:
    """Return the sliced graph with what its contractions no longer read merged into the rest.

    removed: bool, per unit of `coupling`, whose graph `sliced` was cut from. Approximate. What
    merging does not bring nearer to what it was is left as it is: B of smooth samples is judged
    on those with edges, and the other way round.
    Source: Wang et al., "Forget the Data and Fine-Tuning! Just Fold the Network to Compress", ICLR
    2025, and those of `calib.stand_in`. Raises SlimcError as `Data.synthesize`.
    """
    graph, ops = coupling.opened.whole, coupling.ops
    sizes = sizes_in(graph, coupling.facts)
    facts = coupling.facts, infer(sliced.graph, ops, sizes)
    changed = affected(graph, sliced.graph)
    layers, said = layers_of(graph, sliced.graph, ops, facts, changed)
    data = fields(graph, sizes, seed)
    each = [_reader(coupling, removed, sliced, one, data.count) for one in layers]
    readers = [one for one in each if one is not None]
    said += [
        skipped(r.node, f"not merged: it reads more than {WIDEST} channels")
        for r in readers
        if r.width > WIDEST
    ]
    said += _inside_bodies(coupling, removed)
    editor, table = Editor(sliced.graph), []
    for reader, halves in _moments(graph, [r for r in readers if r.width <= WIDEST], data, seed):
        if not all(half.count and half.is_finite for half in halves):
            said.append(
                skipped(reader.node, "not merged: on made-up samples what it reads is not finite")
            )
            continue
        lost = reader.weight[:, :, reader.gone]
        left = error_left(halves, reader.gone, reader.constant, lost)
        if left < 1:
            found = stand_in(halves[0] + halves[1], reader.gone, reader.constant)
            reader.apply(editor, sliced.graph, found)
        else:
            why = "not merged: on made-up samples that comes no nearer to what it was"
            said.append(skipped(reader.node, why))
        table.append(reader.row(left))
    loud = (_loud(table),) if table else ()
    return Merged(editor.done(), tuple(table), (*loud, *said))


def _inside_bodies(coupling: Coupling, removed: Mask) -> list[Remark]:
    """Say which contractions inside bodies of nodes lose channels: they do not run on their own."""
    said = []
    for node in coupling.graph.nodes:
        row, bound = coupling.ops.get(node.kind), coupling.bound_of(node)
        if node.name in coupling.opened.whole.by_name or bound is None or row is None:
            continue
        made = labels_of(*bound.outputs)
        summed = [name for name in labels_of(*bound.inputs) if name not in made]
        if row.macs and any(
            removed[coupling.units_at(LabelOf(node.name, name))].any() for name in summed
        ):
            said.append(skipped(node.name, "not merged: it stands inside the body of a node"))
    return said


def _loud(table: list[dict[str, Any]]) -> Remark:
    done = sum(row["merged"] for row in table)
    return note(
        "there are no samples: removed channels are merged into those that stay by what they have "
        f"in common on made-up ones, in {done} of {len(table)} nodes that read them",
        help="give samples, --calib: repair with them keeps more of the accuracy",
    )


@dataclass(frozen=True, eq=False)
class _Reader:
    """A contraction that reads removed channels.

    weight: f64[g, o, channels, taps], as it was; gone: bool[channels], in every group; order:
    i64[channels, copies], the inputs that each channel stands for (copies count as taps); kept: of
    the weight; outs: bool[g, o], results that stay.
    """

    layer: Layer
    weight: Floats
    gone: Mask
    order: Ints
    kept: Kept
    outs: Mask

    @property
    def node(self) -> str:
        return self.layer.node.name

    @property
    def constant(self) -> bool:
        """Tell whether a bias can take what is constant: there is one, and nothing scales it."""
        return self.layer.bias is not None and not self.layer.teacher.is_scaled

    @property
    def width(self) -> int:
        return len(self.order)

    def rows(self, x: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return channels [r, g, channels] at some places of the data."""
        found = self.layer.teacher.inputs(x)
        if len(found) > PLACES:
            found = found[random.choice(len(found), PLACES, replace=False)]
        each = found[:, :, self.order]
        return each.transpose(0, 3, 1, 2).reshape(-1, each.shape[1], self.width)

    def apply(self, editor: Editor, sliced: Graph, found: StandIn) -> None:
        """Put merged weights and bias into the sliced graph."""
        one = self.layer.teacher
        w, lost = self.weight.copy(), self.weight[:, :, self.gone]
        w[:, :, ~self.gone] += np.einsum("gort,grk->gokt", lost, found.b)
        flat = np.empty((*w.shape[:2], one.columns // one.taps, one.taps))
        flat[:, :, self.order] = w.reshape(*w.shape[:2], *self.order.shape, one.taps)
        cut = take(one.array(flat.reshape(*w.shape[:2], -1)), self.kept)
        _, bias = self.layer.weights(sliced)
        shift = np.einsum("gort,gr->go", lost, found.c)[self.outs].reshape(bias.shape)
        fit = Fit(self.layer.student.matrix(cut), bias + shift, RIDGE, 1.0, 1.0)
        self.layer.apply(editor, fit)

    def row(self, left: float) -> dict[str, Any]:
        """Return what the report's table says."""
        return {
            "node": self.node,
            "channels": self.width,
            "removed": int(self.gone.sum()),
            "error_left": round(left, 6),
            "merged": left < 1,
        }


def _reader(
    coupling: Coupling, removed: Mask, sliced: Sliced, layer: Layer, feeds: int
) -> _Reader | None:
    """Return a layer as a reader, None if it loses no channel of its input, or all of them."""
    one = layer.teacher
    kept = sliced.kept.get(layer.student.weight)
    if kept is None or len(one.ins) != 1:
        return None
    units = coupling.units_at(LabelOf(one.node.name, one.ins[0]))
    gone = removed[units]
    if not gone.any() or gone.all():
        return None
    rows = feeds * np.prod(coupling.facts.shape(one.data) or (1,)) / one.group_count / len(units)
    order = np.arange(len(units))[:, None]
    counts = np.unique(units, return_counts=True)[1]
    if rows < ROWS_PER_CHANNEL * len(units) and (counts == counts[0]).all():
        order = np.argsort(units, kind="stable").reshape(len(counts), -1)
    array = coupling.opened.whole.constants[one.weight].array
    w = one.matrix(array).astype(np.float64)
    split = w.reshape(*w.shape[:2], len(units), one.taps)[:, :, order]
    return _Reader(
        layer,
        split.reshape(*w.shape[:2], len(order), -1),
        gone[order[:, 0]],
        order,
        kept,
        np.asarray(one.matrix(staying(array.shape, kept)).any(axis=2)),
    )


def _moments(
    graph: Graph, readers: list[_Reader], data: Data, seed: int
) -> Iterator[tuple[_Reader, tuple[Moments, Moments]]]:
    """Yield each reader with moments of what it reads, on smooth samples and on edged ones."""
    while readers:
        now: list[_Reader] = []
        size = 0
        while readers and (not now or size + _moment_bytes(readers[0]) <= MOMENT_BYTES):
            size += _moment_bytes(readers[0])
            now.append(readers.pop(0))
        yield from zip(now, _summed(graph, now, data, seed), strict=True)


def _moment_bytes(reader: _Reader) -> int:
    return 2 * 8 * reader.layer.teacher.group_count * reader.width**2


def _summed(
    graph: Graph, readers: list[_Reader], data: Data, seed: int
) -> list[tuple[Moments, Moments]]:
    session = Session(graph, list(dict.fromkeys(r.layer.teacher.data for r in readers)))
    random = np.random.default_rng(seed)
    found = [Split() for _ in readers]
    for number, feed in enumerate(data):
        made = session.run(feed)
        for i, reader in enumerate(readers):
            rows = reader.rows(made[reader.layer.teacher.data], random)
            none = np.zeros((*rows.shape[:2], 0), rows.dtype)
            found[i].add(rows, none, np.full(len(rows), number % 2 == 1))
    return [(split.train, split.held) for split in found]
