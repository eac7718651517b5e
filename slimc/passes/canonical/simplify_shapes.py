"""Replace shape arithmetic by what is known of its results."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from slimc.analysis.shapes import Facts, infer, retype
from slimc.ir.editor import IDENTITY
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.remarks import Remark, applied, skipped
from slimc.rewrite.scope import EditedScope, edit_nested
from slimc.rewrite.sizes import target_of


@dataclass(frozen=True)
class SimplifyShapes(Pass):
    """Infer all types, and replace integers that follow from them by constants.

    A value whose elements are all known becomes a constant. The target of a Reshape of which at
    most one size is unknown, besides sizes it copies, becomes [.., 0, .., -1, ..]. Exact for every
    size of the named dimensions that is not 0.
    """

    name: ClassVar[str] = "simplify-shapes"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        typed = retype(graph, ctx.ops)
        facts = infer(typed, ctx.ops)
        said: list[Remark] = []

        def change(scope: EditedScope) -> None:
            for node in scope.edit.graph.nodes:
                said.extend(_known_results(scope, facts, node))
                if node.kind == "Reshape":
                    said.extend(_target(scope, facts, node))

        return PassResult(edit_nested(typed, change, ctx.ops, self.name), tuple(said))


def _known_results(scope: EditedScope, facts: Facts, node: Node) -> Iterable[Remark]:
    """Replace results of a node that are wholly known integers."""
    for value in node.outputs:
        known, kind = facts.values.get(value), scope.type_of(value)
        read = scope.users(value) or scope.is_output(value)
        if not value or not read or known is None or known.dtype == object:
            continue
        if node.kind == IDENTITY or not isinstance(kind, TensorType) or kind.dtype.is_float:
            continue  # an Identity that is left makes an output
        array = known.astype(kind.dtype.numpy)
        scope.edit.redirect(value, scope.edit.add_constant(array, value))
        yield applied(node.name, f"is {array.tolist()}, whatever the inputs are")


def _target(scope: EditedScope, facts: Facts, node: Node) -> Iterable[Remark]:
    """Replace a computed target of a Reshape."""
    data, shape = scope.edit.node(node.name).inputs
    if scope.array(shape) is not None:
        return
    result, source = facts.types.get(node.outputs[0]), facts.types.get(data)
    target = None
    if isinstance(result, TensorType) and isinstance(source, TensorType):
        target = None if result.shape is None else target_of(result.shape, source.shape)
    if target is None:
        yield skipped(node.name, f"its target '{shape}' has sizes that only a run knows")
        return
    target_name = scope.edit.add_constant(target, f"{node.name}.shape")
    # A 0 in the new target copies a size; with allowzero=1, which torch writes, it would be a size.
    attrs = {key: value for key, value in node.attrs.items() if key != "allowzero"}
    scope.edit.update(node.name, inputs=(data, target_name), attrs=attrs)
    yield applied(node.name, f"its target is {target.tolist()}")
