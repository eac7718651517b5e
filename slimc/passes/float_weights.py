"""What changes weights wants them in floats: a quantized graph is refused."""

from __future__ import annotations

from slimc.analysis.integer_weights import integer_weights
from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.ops.op import OpTable


def check_float_weights(graph: Graph, ops: OpTable, what: str, where: str, help: str) -> None:
    """Raise SlimcError "already-quantized" where scales are chosen or weights are integers.

    Integers that stay behind their scales are nothing that a least-squares fit or a norm can judge,
    and scales would have to be chosen anew. what: cannot be done with such a graph.
    """
    if graph.records:
        message = f"{what} a graph whose scales are already chosen"
        raise SlimcError("already-quantized", message, where, help)
    held = integer_weights(graph, ops)
    if held:
        others = f" and {len(held) - 1} more" if len(held) > 1 else ""
        message = f"{what} a graph with quantized weights (of '{held[0]}'{others})"
        raise SlimcError("already-quantized", message, where, help)
