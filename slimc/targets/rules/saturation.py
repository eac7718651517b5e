"""Rule for x86 without VNNI, where ONNX Runtime adds products of integers in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from slimc.analysis.contraction_axes import sum_order
from slimc.ir.graph import Node
from slimc.ir.pairs import MAX_PAIR_SUM, sum_pairs
from slimc.ir.types import DType
from slimc.targets.contractions import dequantized, integer_contractions
from slimc.targets.node_units import keeps_signed
from slimc.targets.qoperators import qoperators
from slimc.targets.target import Finding, Subject, TargetRule

_ANY = "any"  # the runtime of targets that any may run
_NAMED = 3  # contractions that are named
_EXACT = "set session.x64quantprecision=1: exact, and slower"

Sums = tuple[Node, np.ndarray]  # a contraction, and what its pairs of weights add up to


def _unsaturated_weights(subject: Subject) -> Iterator[Finding]:
    """Without VNNI, u8 times s8 is summed in pairs of 16 bits, which saturate (`ir.pairs`).

    On targets without VNNI that is wrong. Files of others may get there: those that any runtime
    may run, and those for x86 with VNNI.
    """
    wishes = subject.target.quantize.values()
    beyond = [one for one in _pairs_of_weights(subject) if (one[1] > MAX_PAIR_SUM).any()]
    if any(wish.weights is not None and wish.weights.paired for wish in wishes):
        yield from (_wrong(*one) for one in beyond)
    elif beyond and (subject.target.runtime == _ANY or not keeps_signed(subject)):
        yield _elsewhere(beyond)


def _wrong(node: Node, sums: np.ndarray) -> Finding:
    message = (
        f"{int((sums > MAX_PAIR_SUM).sum())} of {sums.size} pairs of weights sum up to "
        f"{sums.max()}: with u8 data sums saturate beyond {MAX_PAIR_SUM}, and results are wrong"
    )
    return Finding("silent", node.name, message, f"give weights 7 bits, or {_EXACT}")


def _elsewhere(beyond: Sequence[Sums]) -> Finding:
    names = ", ".join(f"'{node.name}'" for node, _ in beyond[:_NAMED])
    more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
    message = (
        "ONNX Runtime on x86 without VNNI may saturate sums of integers, and results are wrong "
        f"there: {names}{more}"
    )
    return Finding("info", "", message, f"for such processors use target cpu-avx2, or {_EXACT}")


def _pairs_of_weights(subject: Subject) -> Iterator[Sums]:
    """Yield contractions of 8-bit data with s8 weights, and what pairs of these add up to."""
    for node, stored, order in _integer_products(subject):
        if stored.ndim > max(order, default=-1):  # else it has fewer axes than the operator needs
            yield node, sum_pairs(stored.astype(np.int32), order)


def _integer_products(subject: Subject) -> Iterator[tuple[Node, np.ndarray, tuple[int, ...]]]:
    """Yield contractions of u8 data: the s8 numbers of the weight, and the axes that are summed.

    s8 data become u8 on x86, where any runtime may run the file.
    """
    graph, bounds = subject.graph, subject.facts.bounds
    data_types = (DType.U8, DType.I8) if subject.target.runtime == _ANY else (DType.U8,)
    for node, parts in integer_contractions(graph, subject.ops):
        data = dequantized(graph, node.inputs[parts.data])
        weight = dequantized(graph, node.inputs[parts.weight])
        if data is None or weight is None or data.integers not in data_types:
            continue
        stored, bound = graph.array(weight.node.inputs[0]), bounds.get(node.name)
        if stored is not None and stored.dtype == np.int8 and bound is not None:
            yield node, stored, sum_order(bound, parts)
    for product in qoperators(graph):
        if product.data is DType.U8 and product.weight.dtype == np.int8:
            yield product.node, product.weight, product.sums


UNSATURATED_WEIGHTS = TargetRule(
    "L29", "unsaturated-weights", "pairs of weights fit 16 bits", _unsaturated_weights
)
