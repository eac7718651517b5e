"""Softmax, norms and losses: each element depends on all along one axis."""

from __future__ import annotations

import math

from slimc.ops.op import Call, Op, Quant, make_table
from slimc.ops.spelling import labels, mark_axes, spell


def along_axis(call: Call) -> str:
    """Every element depends on all along `axis`."""
    axes = spell(mark_axes(labels(call.rank(0)), [call.axis(-1)], "!"))
    return f"{axes} -> {axes}"


def lp_norm_axes(call: Call) -> str:
    """Every element is divided by the norm over the axis."""
    axes = spell(mark_axes(labels(call.rank(0)), [call.axis(-1)], "~"))
    return f"{axes} -> {axes}"


def loss_axes(call: Call) -> str:
    """Scores n c d..., targets n d..., weights c -> the loss (reduced or n d...), log scores."""
    weights = ", c!?" if len(call.types) > 2 else ""
    loss = "n *d" if call.attr("reduction", "mean") == "none" else "[]"
    return f"n~ c! *d~, n~ *d~{weights} -> {loss}, n~ c! *d~"


SOFTMAX = make_table(
    Op("Softmax", along_axis, quant=Quant.POINTWISE, growth="exponential", along="axis",
       result=(0.0, 1.0)),
    Op("LogSoftmax", along_axis, quant=Quant.POINTWISE, growth="exponential", along="axis",
       result=(-math.inf, 0.0)),
    Op("Hardmax", along_axis, along="axis", result=(0.0, 1.0)),
    Op("LpNormalization", lp_norm_axes, along="axis"),
    Op("SoftmaxCrossEntropyLoss", loss_axes),
    Op("NegativeLogLikelihoodLoss", loss_axes, dtypes=lambda c: (c.dtype(0),)),
)  # fmt: skip
