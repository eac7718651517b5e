"""Compute once, now, what does not depend on the inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np

from slimc.errors import SlimcError
from slimc.execute.ort import evaluate
from slimc.ir.constant import Constant
from slimc.ir.editor import IDENTITY
from slimc.ir.graph import Graph, Node
from slimc.ir.types import TensorType, static_shape
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.remarks import Remark, applied, skipped
from slimc.rewrite.scope import EditedScope, edit_nested

KEPT = (QUANTIZE, DEQUANTIZE)  # they say how constants are stored
LARGEST = 1 << 28  # bytes of a value on the way to a constant, however small that is

Skips = Callable[[Node, str], None]


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace values that follow from constants alone by constants, as onnxruntime computes them.

    A constant may be larger than the constants that go with it by `max_growth` bytes at most; nodes
    with random results or with bodies, quantization, and operators nothing is known of stay. Exact.
    """

    name: ClassVar[str] = "fold-constants"

    max_growth: int = option(
        1 << 20,
        "bytes by which a folded constant may exceed those it is computed from",
        least=0,
    )

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        said: list[Remark] = []

        def change(scope: EditedScope) -> None:
            said.extend(_fold(scope, self.max_growth))

        after = edit_nested(graph, change, ctx.ops, self.name)
        return PassResult(after, tuple(said))


def _fold(scope: EditedScope, max_growth: int) -> Iterable[Remark]:
    said: dict[str, Remark] = {}

    def skip(node: Node, reason: str) -> None:
        said.setdefault(node.name, skipped(node.name, reason))

    nodes = _foldable(scope, skip)
    _leave_large(scope, nodes, max_growth, skip)
    wanted = {v: node for node in nodes.values() for v in _leaving(scope, node, nodes)}
    arrays = _evaluate(scope, list(nodes.values()), list(wanted), skip)
    for value, node in wanted.items():
        if value not in arrays:
            continue
        constant, old = Constant(arrays[value]), scope.dtype_of(value)
        if old is not None and old is not constant.dtype:
            skip(node, f"onnxruntime makes {constant.dtype.text} of it, not {old.text}")
        elif _size_bytes(scope, value) is None and constant.size_bytes > max_growth:
            skip(node, _too_large(constant.size_bytes, max_growth))
        else:
            scope.edit.redirect(value, scope.edit.add_constant(constant, value))
            said[node.name] = applied(node.name, f"is a constant now, {constant.type}")
    return said.values()


def _foldable(scope: EditedScope, skip: Skips) -> dict[str, Node]:
    """Return the nodes that depend on constants alone, in order."""
    found: dict[str, Node] = {}
    made: set[str] = set()
    for node in scope.edit.graph.nodes:
        if not all(v in made or scope.array(v) is not None for v in node.reads):
            continue
        reason = _why_not(scope, node)
        if reason:
            skip(node, reason)
        elif reason is None:
            found[node.name] = node
            made.update(node.outputs)
    return found


def _why_not(scope: EditedScope, node: Node) -> str | None:
    """Say why a node of constants stays; "": it goes without saying; None: it does not stay."""
    row = scope.ops.get(node.kind)
    if node.kind in KEPT or (node.kind == IDENTITY and scope.is_output(node.outputs[0])):
        return ""
    if row is None:
        return f"nothing is known of operator {node.kind}: it may not be a function of its operands"
    if row.random:
        return "its result is random"
    if node.bodies:
        return "it has a body"
    if any(not isinstance(scope.type_of(v), TensorType | None) for v in node.outputs if v):
        return "its result is no tensor"
    large = max((_size_bytes(scope, v) or 0 for v in node.outputs if v), default=0)
    return f"its result takes {large} bytes" if large > LARGEST else None


def _leave_large(scope: EditedScope, nodes: dict[str, Node], max_growth: int, skip: Skips) -> None:
    """Take out of `nodes` those whose constants would make the file too much larger."""
    freed: dict[str, int] = {}
    for node in nodes.values():
        alone = [v for v in node.reads if scope.count_users(v) == 1 and not scope.is_output(v)]
        freed[node.name] = sum(freed.get(v, _constant_bytes(scope, v)) for v in alone)
        freed.update((v, freed[node.name]) for v in node.outputs)
    for node in reversed(list(nodes.values())):
        sizes = [_size_bytes(scope, v) or 0 for v in _leaving(scope, node, nodes)]
        if sum(sizes) > freed[node.name] + max_growth:
            skip(node, _too_large(sum(sizes) - freed[node.name], max_growth))
            del nodes[node.name]


def _too_large(size_bytes: int, max_growth: int) -> str:
    return f"the constant would add {size_bytes} bytes, more than max_growth ({max_growth})"


def _leaving(scope: EditedScope, node: Node, nodes: Mapping[str, Node]) -> list[str]:
    """Return the results of a node that something outside `nodes` reads."""
    return [
        v
        for v in node.outputs
        if v and (scope.is_output(v) or any(u.name not in nodes for u in scope.users(v)))
    ]


def _size_bytes(scope: EditedScope, value: str) -> int | None:
    kind = scope.tensor(value)
    shape = static_shape(kind)
    if shape is None or kind is None:
        return None
    return prod(shape) * max(1, kind.dtype.bits // 8)


def _constant_bytes(scope: EditedScope, value: str) -> int:
    constant = scope.edit.constant(value)
    return 0 if constant is None else constant.size_bytes


def _evaluate(
    scope: EditedScope, nodes: Sequence[Node], wanted: Sequence[str], skip: Skips
) -> Mapping[str, np.ndarray]:
    """Compute values: all at once, or, where onnxruntime refuses that, node by node."""
    if not wanted:
        return {}
    try:
        return evaluate(_alone(scope, nodes, wanted, {}))
    except SlimcError:
        known: dict[str, np.ndarray] = {}
        for node in nodes:
            outputs = [v for v in node.outputs if v]
            if all(v in known or scope.array(v) is not None for v in node.reads):
                try:
                    known |= evaluate(_alone(scope, [node], outputs, known))
                except SlimcError as refused:
                    skip(node, f"onnxruntime does not compute it: {refused.message}")
        return known


def _alone(
    scope: EditedScope,
    nodes: Sequence[Node],
    outputs: Sequence[str],
    known: Mapping[str, np.ndarray],
) -> Graph:
    """Return the graph of these nodes, which has no inputs."""
    made = {v for node in nodes for v in node.outputs}
    operands = dict.fromkeys(v for node in nodes for v in node.reads if v not in made)
    arrays = {v: known[v] if v in known else scope.array(v) for v in operands}
    constants = {v: Constant(a) for v, a in arrays.items() if a is not None}
    types = {v: kind for v in made if v and (kind := scope.type_of(v)) is not None}
    return replace(
        scope.edit.graph,
        inputs=(),
        outputs=tuple(outputs),
        nodes=tuple(nodes),
        constants=constants,
        types=types,
        records={},
    )
