"""Recurrent layers: gates are stacked row-major, hidden units are the label h.

A hidden unit whose weights, biases and initial states are zero stays zero, so removing it is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from slimc.ops.axes import BoundSignature
from slimc.ops.op import RESULT, Call, Op, ShapeRefit, SizedSignature, make_table


def recurrent_axes(gates: int, states: int) -> Callable[[Call], SizedSignature]:
    """Make the axes rule of a layer: X, W, R, B, lengths, initial states, P -> Y, last states.

    t: steps, n: batch, i: inputs, d: directions, q: gates, p: biases of W and R, r: peepholes.
    """

    def rule(call: Call) -> SizedSignature:
        batch_first = bool(call.attr("layout", 0))
        data, result, state = (
            ("n t! i", "n t! d! h", "n d! h") if batch_first else ("t! n i", "t! d! n h", "d! n h")
        )
        weights = "d! (q! h) i, d! (q! h) h, d! (p! q! h)?"
        initial = ", ".join([f"{state}?"] * states)
        peepholes = ", d! (r! h)?" if states == 2 else ""
        last = ", ".join([state] * states)
        text = f"{data}, {weights}, n?, {initial}{peepholes} -> {result}, {last}"
        return text, {"q": gates, "p": 2, "r": 3}

    return rule


def refit_hidden_size(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the attribute `hidden_size`, which repeats the size of label h."""
    return ShapeRefit(attrs={"hidden_size": after["h"]} if after["h"] != bound.sizes["h"] else {})


MACS = ((0, 1), (2, RESULT))  # W with the inputs of every step, R with its states

RECURRENT = make_table(
    Op("RNN", recurrent_axes(1, 1), macs=MACS, refit=refit_hidden_size),
    Op("GRU", recurrent_axes(3, 1), macs=MACS, refit=refit_hidden_size),
    Op("LSTM", recurrent_axes(4, 2), macs=MACS, refit=refit_hidden_size),
)
