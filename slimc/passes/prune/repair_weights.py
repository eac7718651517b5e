"""Repair weights after channels have left, with samples but without labels or training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.index_space import AxisOf
from slimc.analysis.shapes import infer
from slimc.calib.random_fields import distinguishes_channels, or_fields
from slimc.fit.repair import SAMPLES, repair_layers
from slimc.ir.arrays import Mask
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context, Reference
from slimc.passes.float_weights import check_float_weights
from slimc.passes.prune.merge_channels import Merged, merge
from slimc.passes.prune.slice_axes import slice_axes
from slimc.passes.sparsify.sparse_layers import copy_zeros
from slimc.passes.traits import Trait
from slimc.remarks import Remark, note


@dataclass(frozen=True)
class RepairWeights(Pass):
    """Refit the weights behind removed channels to what the graph made before.

    Asymmetric least squares at every weighted node behind the first cut, in topological order,
    accepted where it is nearer on samples held out (`rewrite.repair`). Without samples, removed
    channels are first merged into those that stay (`rewrite.merge_channels`), and random fields
    stand in for samples (`calib.fields`): worse, and said loudly. Weights that are 2:4 keep their
    zeros. Approximate.
    Source: He et al., ICCV 2017, section 3.1.2; Meng et al., OSSCAR, 2024.
    """

    name: ClassVar[str] = "repair-weights"
    promise: ClassVar[Promise] = "approximate"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.REPAIRS})

    samples: int = option(
        SAMPLES, "samples to fit on, the first ones; distinct ones matter", least=1
    )

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        help = "give the model in floats, and put repair before quant: --passes prune,quant"
        check_float_weights(
            graph, ctx.ops, "weights cannot be fitted in", f"pass {self.name}", help
        )
        reference = ctx.reference
        if reference is None:
            return PassResult(
                graph, (note("no channels have left, so there is nothing to repair"),)
            )
        facts: dict[str, Any] = {}
        merged = Merged(graph, (), ())
        if ctx.data.synthetic:
            merged = _merge_removed(reference, ctx)
            merged = replace(merged, graph=copy_zeros(merged.graph, graph, ctx))
            facts["merged"] = list(merged.table)
            if not distinguishes_channels(ctx.data):
                return PassResult(merged.graph, merged.remarks, facts)
        sizes = ctx.sizes_of(reference.graph)
        repaired = repair_layers(
            reference.graph,
            merged.graph,
            reference.kept,
            ctx.ops,
            or_fields(ctx.data, sizes, ctx.seed),
            sizes,
            ctx.seed,
            self.samples,
            progress=partial(ctx.progress, "repairing layers"),
        )
        facts |= {"layers": list(repaired.table), "samples": repaired.samples}
        notes = (_RANDOM_FIELDS_NOTE,) if ctx.data.synthetic else ()
        remarks = dict.fromkeys((*notes, *merged.remarks, *repaired.remarks))  # each once
        return PassResult(repaired.graph, tuple(remarks), facts)

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Say what is repaired: which nodes, only a removal tells."""
        return (note("every weighted node behind removed channels is refitted"),)


_RANDOM_FIELDS_NOTE = note(
    "there are no samples: weights are repaired on random fields",
    help="give samples, --calib: repair with them keeps more of the accuracy",
)


def _merge_removed(reference: Reference, ctx: Context) -> Merged:
    """Cut the reference again, and merge what leaves into what stays."""
    coupling = _couple_reference(reference, ctx)
    removed = _removed_units(coupling, reference)
    sliced = slice_axes(coupling, removed, RepairWeights.name)
    return merge(coupling, removed, sliced, ctx.seed)


def _couple_reference(reference: Reference, ctx: Context) -> Coupling:
    graph = reference.graph
    return couple(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes_of(graph)))


def _removed_units(coupling: Coupling, reference: Reference) -> Mask:
    """Return which units of the reference have left."""
    removed = np.zeros(len(coupling.pinned), bool)
    for value, axes in reference.kept.items():
        for axis, stay in enumerate(axes):
            if stay is not None:
                units = coupling.units_at(AxisOf(value, axis))
                removed[np.delete(units, list(stay))] = True
    return removed
