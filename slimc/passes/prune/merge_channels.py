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
from slimc.calib.random_fields import sizes_from_facts, synthesize_random_fields
from slimc.execute.ort import Session
from slimc.fit.layer import LayerPair, find_changed_values, pair_layers
from slimc.fit.moments import Fit, Moments, SplitMoments
from slimc.ir.arrays import Floats, Ints, Mask
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ops.axes import labels_of
from slimc.passes.prune.reconstruction import RIDGE, Reconstruction, reconstruct, remaining_error
from slimc.passes.prune.slice_axes import Sliced
from slimc.remarks import Remark, note, skipped
from slimc.rewrite.kept import Kept, staying, take

MAX_ROWS = 512  # places looked at in a feed
ROWS_PER_CHANNEL = 4  # with fewer rows, all copies of a channel (a flattened map) share one B
MAX_CHANNELS = 4608  # channels whose second moments are taken
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
    sizes = sizes_from_facts(graph, coupling.facts)
    facts = coupling.facts, infer(sliced.graph, ops, sizes)
    changed = find_changed_values(graph, sliced.graph)
    layers, remarks = pair_layers(graph, sliced.graph, ops, facts, changed)
    data = synthesize_random_fields(graph, sizes, seed)
    readers_or_none = [
        _make_reader(coupling, removed, sliced, layer, data.count) for layer in layers
    ]
    readers = [reader for reader in readers_or_none if reader is not None]
    remarks += [
        skipped(r.node, f"not merged: it reads more than {MAX_CHANNELS} channels")
        for r in readers
        if r.width > MAX_CHANNELS
    ]
    remarks += _body_remarks(coupling, removed)
    editor, table = Editor(sliced.graph), []
    for reader, halves in _collect_moments(
        graph, [r for r in readers if r.width <= MAX_CHANNELS], data, seed
    ):
        if not all(half.count and half.is_finite for half in halves):
            remarks.append(
                skipped(reader.node, "not merged: on made-up samples what it reads is not finite")
            )
            continue
        lost = reader.weight[:, :, reader.removed]
        error = remaining_error(halves, reader.removed, reader.constant, lost)
        if error < 1:
            reconstruction = reconstruct(halves[0] + halves[1], reader.removed, reader.constant)
            reader.apply(editor, sliced.graph, reconstruction)
        else:
            why = "not merged: on made-up samples that comes no nearer to what it was"
            remarks.append(skipped(reader.node, why))
        table.append(reader.row(error))
    loud = (_merge_note(table),) if table else ()
    return Merged(editor.finish(), tuple(table), (*loud, *remarks))


def _body_remarks(coupling: Coupling, removed: Mask) -> list[Remark]:
    """Say which contractions inside bodies of nodes lose channels: they do not run on their own."""
    remarks = []
    for node in coupling.graph.nodes:
        row, bound = coupling.ops.get(node.kind), coupling.bound_of(node)
        if node.name in coupling.opened.whole.by_name or bound is None or row is None:
            continue
        produced = labels_of(*bound.outputs)
        summed = [name for name in labels_of(*bound.inputs) if name not in produced]
        if row.macs and any(
            removed[coupling.units_at(LabelOf(node.name, name))].any() for name in summed
        ):
            remarks.append(skipped(node.name, "not merged: it stands inside the body of a node"))
    return remarks


def _merge_note(table: list[dict[str, Any]]) -> Remark:
    done = sum(row["merged"] for row in table)
    return note(
        "there are no samples: removed channels are merged into those that stay by what they have "
        f"in common on made-up ones, in {done} of {len(table)} nodes that read them",
        help="give samples, --calib: repair with them keeps more of the accuracy",
    )


@dataclass(frozen=True, eq=False)
class _ReaderLayer:
    """A contraction that reads removed channels.

    weight: f64[g, o, channels, taps], as it was; gone: bool[channels], in every group; order:
    i64[channels, copies], the inputs that each channel stands for (copies count as taps); kept: of
    the weight; outs: bool[g, o], results that stay.
    """

    layer: LayerPair
    weight: Floats
    removed: Mask
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
        inputs = self.layer.teacher.inputs(x)
        if len(inputs) > MAX_ROWS:
            inputs = inputs[random.choice(len(inputs), MAX_ROWS, replace=False)]
        ordered = inputs[:, :, self.order]
        return ordered.transpose(0, 3, 1, 2).reshape(-1, ordered.shape[1], self.width)

    def apply(self, editor: Editor, sliced: Graph, reconstruction: Reconstruction) -> None:
        """Put merged weights and bias into the sliced graph."""
        linear = self.layer.teacher
        w, lost = self.weight.copy(), self.weight[:, :, self.removed]
        w[:, :, ~self.removed] += np.einsum("gort,grk->gokt", lost, reconstruction.b)
        flat = np.empty((*w.shape[:2], linear.columns // linear.taps, linear.taps))
        flat[:, :, self.order] = w.reshape(*w.shape[:2], *self.order.shape, linear.taps)
        cut = take(linear.array(flat.reshape(*w.shape[:2], -1)), self.kept)
        _, bias = self.layer.weights(sliced)
        shift = np.einsum("gort,gr->go", lost, reconstruction.c)[self.outs].reshape(bias.shape)
        fit = Fit(self.layer.student.matrix(cut), bias + shift, RIDGE, 1.0, 1.0)
        self.layer.apply(editor, fit)

    def row(self, error: float) -> dict[str, Any]:
        """Return what the report's table says."""
        return {
            "node": self.node,
            "channels": self.width,
            "removed": int(self.removed.sum()),
            "error_left": round(error, 6),
            "merged": error < 1,
        }


def _make_reader(
    coupling: Coupling, removed: Mask, sliced: Sliced, layer: LayerPair, feeds: int
) -> _ReaderLayer | None:
    """Return a layer as a reader, None if it loses no channel of its input, or all of them."""
    linear = layer.teacher
    kept = sliced.kept.get(layer.student.weight)
    if kept is None or len(linear.ins) != 1:
        return None
    units = coupling.units_at(LabelOf(linear.node.name, linear.ins[0]))
    is_removed = removed[units]
    if not is_removed.any() or is_removed.all():
        return None
    rows = (
        feeds * np.prod(coupling.facts.shape(linear.data) or (1,)) / linear.group_count / len(units)
    )
    order = np.arange(len(units))[:, None]
    counts = np.unique(units, return_counts=True)[1]
    if rows < ROWS_PER_CHANNEL * len(units) and (counts == counts[0]).all():
        order = np.argsort(units, kind="stable").reshape(len(counts), -1)
    array = coupling.opened.whole.constants[linear.weight].array
    w = linear.matrix(array).astype(np.float64)
    split = w.reshape(*w.shape[:2], len(units), linear.taps)[:, :, order]
    return _ReaderLayer(
        layer,
        split.reshape(*w.shape[:2], len(order), -1),
        is_removed[order[:, 0]],
        order,
        kept,
        np.asarray(linear.matrix(staying(array.shape, kept)).any(axis=2)),
    )


def _collect_moments(
    graph: Graph, readers: list[_ReaderLayer], data: Data, seed: int
) -> Iterator[tuple[_ReaderLayer, tuple[Moments, Moments]]]:
    """Yield each reader with moments of what it reads, on smooth samples and on edged ones."""
    while readers:
        batch: list[_ReaderLayer] = []
        size = 0
        while readers and (not batch or size + _moment_bytes(readers[0]) <= MOMENT_BYTES):
            size += _moment_bytes(readers[0])
            batch.append(readers.pop(0))
        yield from zip(batch, _sum_moments(graph, batch, data, seed), strict=True)


def _moment_bytes(reader: _ReaderLayer) -> int:
    return 2 * 8 * reader.layer.teacher.group_count * reader.width**2


def _sum_moments(
    graph: Graph, readers: list[_ReaderLayer], data: Data, seed: int
) -> list[tuple[Moments, Moments]]:
    session = Session(graph, list(dict.fromkeys(r.layer.teacher.data for r in readers)))
    random = np.random.default_rng(seed)
    splits = [SplitMoments() for _ in readers]
    for number, feed in enumerate(data):
        values = session.run(feed)
        for i, reader in enumerate(readers):
            rows = reader.rows(values[reader.layer.teacher.data], random)
            none = np.zeros((*rows.shape[:2], 0), rows.dtype)
            splits[i].add(rows, none, np.full(len(rows), number % 2 == 1))
    return [(split.train, split.held) for split in splits]
