"""Fold Pad into the windows that read what it makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.rewrite.rule import Made, Match, Rule, Skip, rewrite


@dataclass(frozen=True)
class FoldPadding(Pass):
    """Let a Conv or AveragePool pad by itself what a Pad of zeros pads before it.

    Only spatial axes, and only outward; an AveragePool then counts its padding. Exact.
    """

    name: ClassVar[str] = "fold-padding"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return rewrite(graph, RULES, ops=ctx.ops, made_by=self.name)


SAID = "pads by itself what a Pad padded before it"
PAD = "Pad(x, const pads, const value?, const axes?)"


def _pads(m: Match) -> tuple[int, ...] | Skip | None:
    """Return what the Pad adds to the spatial axes: all begins, then all ends."""
    rank = m.rank("x")
    mode = m.attr("mode", "constant", of="Pad")
    if rank is None:
        return None
    if mode != "constant" or np.any(m.optional_numbers("value", 0.0)):
        said = mode if mode != "constant" else f"{m.numbers('value').item():g}"
        return Skip(f"'{m.node('Pad').name}' before it pads with {said}, not with zeros")
    pads = np.zeros((2, rank), np.int64)
    axes = m.array("axes").ravel() % rank if m.has("axes") else np.arange(rank)
    pads[:, axes] = m.array("pads").reshape(2, -1)
    if pads[:, :2].any() or (pads < 0).any():
        return Skip(f"'{m.node('Pad').name}' before it pads the batch or channels, or cuts")
    return tuple(int(p) for p in pads[:, 2:].ravel())


def _own(m: Match) -> bool:
    """Tell whether the root states its padding in numbers."""
    return m.attr("auto_pad", "NOTSET") in ("NOTSET", "VALID")


def _conv(m: Match) -> Made | Skip | None:
    pads = _pads(m)
    if not isinstance(pads, tuple) or not _own(m):
        return pads if isinstance(pads, Skip) else None
    old = m.attr("pads", (0,) * len(pads))
    attrs = {**m.root.attrs, "pads": tuple(a + b for a, b in zip(old, pads, strict=True))}
    attrs.pop("auto_pad", None)
    return Made(m.root.op, (m.value("x"), *m.root.inputs[1:]), attrs, says=SAID)


CONV = Rule(f"Conv({PAD}, ...)", _conv)


def _average(m: Match) -> Made | Skip | None:
    pads = _pads(m)
    if not isinstance(pads, tuple) or not _own(m) or any(m.attr("pads", ())):
        return pads if isinstance(pads, Skip) else None
    kernel = m.attr("kernel_shape")
    if m.attr("ceil_mode", 0) or any(p >= k for p, k in zip(pads, (*kernel, *kernel), strict=True)):
        return Skip("its windows may lie in the padding of the Pad before it alone")
    attrs = {**m.root.attrs, "pads": pads, "count_include_pad": 1}
    attrs.pop("auto_pad", None)
    return Made(m.root.op, (m.value("x"),), attrs, says=SAID)


AVERAGE = Rule(f"AveragePool({PAD})", _average)
RULES = (CONV, AVERAGE)
