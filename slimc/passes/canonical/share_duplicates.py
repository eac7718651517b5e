"""Compute, and store, the same thing once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.remarks import Remark, applied, note
from slimc.rewrite.scope import EditedScope, edit_nested


@dataclass(frozen=True)
class ShareDuplicates(Pass):
    """Let nodes of the same operator, operands and attributes be one; likewise equal constants.

    Not nodes with random results, with bodies, or of operators that nothing is known of. Exact.
    """

    name: ClassVar[str] = "share-duplicates"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        said: list[Remark] = []

        def change(scope: EditedScope) -> None:
            said.extend(_share_constants(scope))
            said.extend(_share_nodes(scope))

        return PassResult(edit_nested(graph, change, ctx.ops, self.name), tuple(said))


def _share_constants(scope: EditedScope) -> Iterable[Remark]:
    """Let readers of equal constants read the first one."""
    alike: dict[object, list[tuple[str, Constant]]] = {}
    shared, saved = 0, 0
    for name, constant in scope.edit.graph.constants.items():
        others = alike.setdefault((constant.type, _glimpse(constant)), [])
        kept = next((n for n, other in others if constant.same_as(other)), None)
        if kept is None or scope.is_output(name):
            others.append((name, constant))
            continue
        scope.edit.redirect(name, kept)
        shared, saved = shared + 1, saved + constant.size_bytes
    said = f"constants that equal others went: {shared} ({saved} bytes)"
    return [note(said)] if shared else []


def _glimpse(constant: Constant) -> object:
    """Return a few elements, so that long constants are seldom compared in full."""
    flat = constant.array.reshape(-1)
    return tuple(map(repr, flat[:: max(1, flat.size // 8)][:9].tolist()))


def _share_nodes(scope: EditedScope) -> Iterable[Remark]:
    first: dict[object, Node] = {}
    for name in [node.name for node in scope.edit.graph.nodes]:
        node = scope.edit.node(name)
        row = scope.ops.get(node.kind)
        if row is None or row.random or node.bodies:
            continue
        given = tuple(bool(o) for o in node.outputs)
        kept = first.setdefault((node.kind, node.inputs, given, _attributes(node.attrs)), node)
        outputs = [(a, b) for a, b in zip(node.outputs, kept.outputs, strict=True) if a]
        if kept is node or any(scope.is_output(a) and scope.is_output(b) for a, b in outputs):
            continue
        for value, same in outputs:
            scope.edit.redirect(value, same)
        scope.edit.remove(name)
        first[(node.kind, node.inputs, given, _attributes(node.attrs))] = scope.edit.node(kept.name)
        yield applied(name, f"removed, it computes what '{kept.name}' does")


def _attributes(attrs: Mapping[str, object]) -> object:
    return tuple((key, _comparable(attrs[key])) for key in sorted(attrs))


def _comparable(value: object) -> object:
    """Return something that is equal where attributes mean the same."""
    if isinstance(value, Constant):
        return (value.type, repr(value.array.tolist()))
    if isinstance(value, tuple):
        return tuple(_comparable(v) for v in value)
    return (type(value), repr(value))
