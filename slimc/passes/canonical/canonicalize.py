"""Bring a graph into the form that later passes and people rely on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from slimc.ir.editor import remove_dead_code
from slimc.ir.graph import Form, Graph, Node
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.canonical.fold_batch_norm import FoldBatchNorm
from slimc.passes.canonical.fold_constants import FoldConstants
from slimc.passes.canonical.fold_padding import FoldPadding
from slimc.passes.canonical.fold_scale import FoldScale
from slimc.passes.canonical.fuse_activations import FuseActivations
from slimc.passes.canonical.fuse_gemm import FuseGemm
from slimc.passes.canonical.fuse_layer_norm import FuseLayerNorm
from slimc.passes.canonical.inline_branches import InlineBranches
from slimc.passes.canonical.merge_arithmetic import MergeArithmetic
from slimc.passes.canonical.merge_layout import MergeLayout
from slimc.passes.canonical.remove_identities import RemoveIdentities
from slimc.passes.canonical.share_duplicates import ShareDuplicates
from slimc.passes.canonical.simplify_shapes import SimplifyShapes
from slimc.passes.context import Context
from slimc.remarks import Remark, note

CANONICAL: tuple[type[Pass], ...] = (
    SimplifyShapes,
    InlineBranches,
    FoldConstants,
    RemoveIdentities,
    ShareDuplicates,
    FuseActivations,
    FuseLayerNorm,
    MergeLayout,
    MergeArithmetic,
    FoldPadding,
    FoldBatchNorm,
    FoldScale,
    FuseGemm,
)
ROUNDS = 12  # two or three do for real models; each branch in a branch takes one more


@dataclass(frozen=True)
class Canonicalize(Pass):
    """Run the passes of CANONICAL, in order and again, until none of them changes the graph.

    Nodes and constants that nothing reads go first. Exact up to rounding. The graph is then of form
    canonical; running it again changes nothing.
    """

    name: ClassVar[str] = "canonicalize"

    max_growth: int = option(
        1 << 20,
        "bytes by which a folded constant may exceed those it is computed from",
        least=0,
    )

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        passes = [
            FoldConstants(self.max_growth) if kind is FoldConstants else kind()
            for kind in CANONICAL
        ]
        said: list[Remark] = []
        removed = dict.fromkeys((one.name for one in passes), 0)
        left: Sequence[Remark] = ()
        graph = remove_dead_code(graph)
        for _ in range(ROUNDS):
            before, left = graph, []
            for one in passes:
                result = one.run(graph, ctx)
                removed[one.name] += len(graph.nodes) - len(result.graph.nodes)
                remarks = [replace(r, message=f"{one.name}: {r.message}") for r in result.remarks]
                said += [r for r in remarks if r.kind != "skipped"]
                left += [r for r in remarks if r.kind == "skipped"]
                graph = result.graph
            if _same(before, graph):
                break
        else:
            said.append(note(f"the graph still changed after {ROUNDS} rounds"))
        graph = replace(graph, form=Form.CANONICAL)
        return PassResult(graph, (*said, *left), {"nodes_removed": removed})


def _same(a: Graph, b: Graph) -> bool:
    """Return whether nothing but types differs, in bodies too: passes make those anew."""
    if set(a.constants) != set(b.constants) or len(a.nodes) != len(b.nodes):
        return False
    return all(map(_same_node, a.nodes, b.nodes))


def _same_node(a: Node, b: Node) -> bool:
    if a is b:
        return True
    if not a.bodies or (a.kind, a.name, a.inputs, a.outputs) != (
        b.kind,
        b.name,
        b.inputs,
        b.outputs,
    ):
        return False
    return len(a.bodies) == len(b.bodies) and all(map(_same, a.bodies, b.bodies))
