"""Whether the weights that were made 2:4 are so in the file that comes out."""

from __future__ import annotations

from slimc.analysis.shapes import infer
from slimc.ir.graph import Graph
from slimc.pipeline.steps import Runner
from slimc.remarks import Remark, note
from slimc.targets.rules.sparsity import sparse_weights, sparsity


def sparsity_notes(final: Graph, runner: Runner) -> tuple[Remark, ...]:
    """Count the contractions of the final graph that are 2:4, where a pass made some so.

    Weights are seen as kernels get them, behind DQ.
    """
    meant = sum(made.facts.get("sparse", 0) for one, made in runner.reported if one.sparsifies)
    if not meant:
        return ()
    ops = runner.ctx.ops
    found = sparsity(final, ops, sparse_weights(final, ops, infer(final, ops)))
    text = str(found)
    if lost := meant - len(found.sparse):
        text += f"; {lost} of those made so are not any more: passes behind changed their weights"
    return (note(text),)
