"""A node that can run in integers, with ranges that are fixed ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from slimc.ir.graph import Graph, Node
from slimc.ops.op import Op, Quant
from slimc.targets.target import Grid, Quantize


@dataclass(frozen=True)
class Site:
    """A node that can run in integers.

    takes: operands taken as integers (bias excepted). weight: the second of them where it is a
    constant of a contraction, with its axis of output channels, and those it is summed over, in the
    order of the kernel (`sum_order`). adds_bias_of: the contraction whose bias this node adds: the
    kernel of that one does it, in the integers of its sums.
    """

    node: Node
    row: Op
    config: Quantize
    takes: tuple[int, ...]
    weight: str | None = None
    channel_axis: int | None = None
    sums: tuple[int, ...] = ()
    adds_bias_of: str = ""

    @property
    def activations(self) -> Grid:
        """The grid of the values that it takes and makes."""
        if self.config.activations is None:
            raise ValueError(f"{self.node.name} takes no integers")
        return self.config.activations

    @property
    def operands(self) -> tuple[str, ...]:
        """Values taken as integers."""
        return tuple(self.node.inputs[i] for i in self.takes)

    @property
    def shares_scale(self) -> bool:
        """Tell whether operands and results have one scale."""
        if self.config.scales != "operator":
            return self.config.scales == "shared"
        return self.row.quant in (Quant.PASS_THROUGH, Quant.SHARED_SCALE)


def is_sole_reader(graph: Graph, sites: Mapping[str, Site], value: str, reader: Node) -> bool:
    """Tell whether an integer contraction makes a value for one reader alone."""
    maker = graph.producers.get(value)
    site = sites.get(maker.name) if maker is not None else None
    if site is None or site.row.weighted is None or value in graph.outputs:
        return False
    return graph.users[value] == (reader,) and reader.inputs.count(value) == 1
