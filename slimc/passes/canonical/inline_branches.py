"""Choose the branch that a constant condition chooses."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.canonical.simplify_shapes import SimplifyShapes
from slimc.passes.context import Context
from slimc.remarks import Remark, applied, skipped
from slimc.rewrite.scope import EditedScope, edit_nested


@dataclass(frozen=True)
class InlineBranches(Pass):
    """Put the branch of an If whose condition is constant in its place, also inside that branch.

    Exact.
    """

    name: ClassVar[str] = "inline-branches"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        said: list[Remark] = []

        def change(scope: EditedScope) -> None:
            said.extend(_inline(scope))

        after = edit_nested(graph, change, ctx.ops, self.name)
        return PassResult(after, tuple(said))


def written_out(graph: Graph, ctx: Context) -> PassResult:
    """Write sizes as numbers and put constant branches in their place, until none is left.

    All else, weights above all, stays as it is. Exact.
    """
    said: list[Remark] = []
    while True:
        sized = SimplifyShapes().run(graph, ctx)
        inlined = InlineBranches().run(sized.graph, ctx)
        said += [r for r in (*sized.remarks, *inlined.remarks) if r.kind != "skipped"]
        graph = inlined.graph
        if graph is sized.graph:
            return PassResult(graph, tuple(said))


def _inline(scope: EditedScope) -> list[Remark]:
    said = []
    left = deque(node.name for node in scope.edit.graph.nodes)
    while left:
        name = left.popleft()
        node = scope.edit.node(name)
        if node.kind != "If":
            continue
        condition = scope.array(node.inputs[0])
        if condition is None:
            said.append(skipped(name, f"its condition '{node.inputs[0]}' is computed"))
            continue
        branch = node.attrs["then_branch" if condition.all() else "else_branch"]
        assert isinstance(branch, Graph)  # as the operator says
        scope.edit.inline(name, branch)
        left.extend(inner.name for inner in branch.nodes)
        count = len(branch.nodes)
        said.append(
            applied(name, f"its condition is {bool(condition.all())}: {count} nodes inlined")
        )
    return said
