"""Delete a clamp before a Q that clamps as much by itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from slimc.analysis.shapes import clamp_bounds
from slimc.ir.editor import Editor
from slimc.ir.graph import Node
from slimc.ops.qdq import QUANTIZE
from slimc.remarks import applied
from slimc.targets.contractions import Conversion
from slimc.targets.fixes.scales import MADE_BY, done
from slimc.targets.target import Mended, Subject


def delete_covered_clamps(subject: Subject) -> Mended:
    """Delete a Relu or Clip that every Q behind it makes superfluous."""
    editor = Editor(subject.graph, made_by=MADE_BY)
    said = []
    for node in covered_clamps(subject):
        editor.redirect(node.outputs[0], node.inputs[0])
        editor.remove(node.name)
        said.append(applied(node.name, "deleted: the Q behind it clamps as much"))
    return done(subject, editor, said)


def covered_clamps(subject: Subject) -> Iterator[Node]:
    """Yield clamps that only Q read, all of which clamp as much.

    Q is monotone and ends at its least and largest integer: Q(max(x, low)) = Q(x) for all x where
    Q(low) is the least, and likewise for high.
    """
    graph = subject.graph
    for node in graph.nodes:
        bounds = clamp_bounds(graph, subject.ops, subject.facts, node)
        if bounds is None or node.outputs[0] in graph.outputs:
            continue
        readers = graph.users.get(node.outputs[0], ())
        if not readers or any(one.op != QUANTIZE for one in readers):
            continue
        if all(_covers(Conversion(graph, one), *bounds) for one in readers):
            yield node


def _covers(one: Conversion, low: float, high: float) -> bool:
    """Tell whether Q gives its least integer at `low`, and its largest at `high`."""
    if one.scale is None or one.integers is None or not (one.scale > 0).all():
        return False
    if one.has_zero and one.zero is None:
        return False
    least, largest = one.integers.span
    zero = np.zeros(()) if one.zero is None else one.zero.astype(np.float64)
    with np.errstate(over="ignore"):
        ends = [np.rint(end / one.scale.astype(np.float64)) + zero for end in (low, high)]
    return bool((ends[0] <= least).all() and (ends[1] >= largest).all())
