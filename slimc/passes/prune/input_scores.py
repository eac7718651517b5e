"""Rank units by what their readers lose: moments of the data instead of norms of weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np

from slimc.analysis.coupling import Coupling
from slimc.analysis.importance import Ranking
from slimc.analysis.index_space import LabelOf
from slimc.analysis.prune_groups import Family, indices_of, role
from slimc.analysis.shapes import infer
from slimc.calib.random_fields import or_fields
from slimc.fit.activation_products import ProductEnergies
from slimc.fit.input_moments import Read, collect_reads
from slimc.ir.arrays import Ints
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.passes.prune.brain_surgeon import Reader, UncorrectedReader, eliminate
from slimc.passes.prune.refit import refit_readers
from slimc.passes.prune.slice_axes import Sliced

SAMPLES = 256  # distinct samples matter more than places in them; more changed little in trials
READER_SCORES = ("obs", "activation")


class ReaderRankings(AbstractContextManager["ReaderRankings"]):
    """The moments of everything that reads a family, and what follows from them.

    obs: block elimination on the readers' second moments (`analysis.elimination`), exact for least
    squares on the readers. activation: the weights of a unit times the variance of what they are
    multiplied with, |w|^2 var(x), as a share of the reader's output; nothing is corrected.
    Source of activation: Sun et al., Wanda, ICLR 2024, section 3, for channels and centred.
    Where samples are made up, random fields stand in for them (`calib.fields`). A context manager:
    the moments may lie on disk.
    """

    def __init__(self, coupling: Coupling, families: Sequence[Family], ctx: Context) -> None:
        """Run the samples of the context through the graph of the coupling."""
        self.coupling = coupling
        self.families = families
        self._reads_of = [
            list(_consuming_labels(coupling, f)) if f.width > 1 else [] for f in families
        ]
        nodes = {place.node for places in self._reads_of for place in places}
        graph = coupling.opened.whole
        sizes = ctx.sizes_of(graph)
        facts, data = infer(graph, ctx.ops, sizes), or_fields(ctx.data, sizes, ctx.seed)
        self._reads = collect_reads(graph, ctx.ops, facts, nodes, data, SAMPLES, ctx.seed)

    def __exit__(self, *error: object) -> None:
        self._reads.close()

    def rankings(self, score: str) -> tuple[Ranking | None, ...]:
        """Return the ranking of each family; None where the moments of no reader are known."""
        return tuple(
            self._ranking(family, places, score)
            for family, places in zip(self.families, self._reads_of, strict=True)
        )

    def refit(self, sliced: Sliced) -> Graph:
        """Return a cut graph with the readers' weights refitted, for data as they were uncut."""
        return refit_readers(self.coupling.opened.whole, sliced, self._reads)

    def _ranking(self, family: Family, places: Sequence[LabelOf], score: str) -> Ranking | None:
        readers = [reader for place in places for reader in self._readers(family, place, score)]
        return eliminate(readers, family.width) if readers else None

    def _readers(
        self, family: Family, place: LabelOf, score: str
    ) -> Iterator[Reader | UncorrectedReader]:
        read = self._reads.get(place.node)
        columns = indices_of(self.coupling, family, place)
        if isinstance(read, ProductEnergies):
            shares = read.shares.get(place.label)
            if shares is not None:
                yield UncorrectedReader(shares[columns].sum(axis=1))
        elif read is not None and read.linear.ins == (place.label,):
            for group in range(read.linear.group_count):
                yield self._reader(read, group, columns, score)

    def _reader(
        self, read: Read, group: int, units: Ints, score: str
    ) -> Reader | UncorrectedReader:
        """Return one group of a node as a reader. units: i64[width, k], its input channels."""
        linear = read.linear
        w = linear.matrix(self.coupling.graph.constants[linear.weight].array)[group].astype(
            np.float64
        )
        h = read.h[group]
        if read.level != "columns":  # the taps are seen as outputs
            w = w.reshape(len(w), -1, linear.taps).transpose(0, 2, 1).reshape(-1, len(h))
        elif linear.taps > 1:
            taps = np.arange(linear.taps)
            units = (units[:, :, None] * linear.taps + taps).reshape(len(units), -1)
        if score == "obs" and read.level != "diagonal":
            return Reader(w, h, units)
        variance = h if read.level == "diagonal" else np.diagonal(h)
        shares = np.square(w).sum(axis=0) * variance
        total = float(shares.sum()) or 1.0
        return UncorrectedReader((shares / total)[units].sum(axis=1))


def _consuming_labels(coupling: Coupling, family: Family) -> Iterator[LabelOf]:
    """Yield the labels over which contractions sum the channels of a family."""
    for member in family.labels:
        row = coupling.ops.rows[coupling.graph.by_name[member.place.node].kind]
        if row.macs and role(coupling, member.place) == "input channels":
            yield member.place
