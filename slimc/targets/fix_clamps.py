"""Delete a clamp before a Q that clamps as much by itself."""

from __future__ import annotations

import numpy as np

from slimc.analysis.shapes import call_of
from slimc.ir.editor import Editor
from slimc.ir.graph import Node
from slimc.passes.emit_qdq import QUANTIZE
from slimc.passes.target import Mended, Subject
from slimc.remarks import Remark, applied, skipped
from slimc.targets.contractions import Conversion
from slimc.targets.fix_scales import MADE_BY, done


def delete_covered_clamps(subject: Subject) -> Mended:
    """Delete a Relu or Clip that every Q behind it makes superfluous.

    Q is monotone and ends at its least and largest integer: Q(max(x, low)) = Q(x) for all x where
    Q(low) is the least, and likewise for high.
    """
    graph = subject.graph
    editor = Editor(graph, made_by=MADE_BY)
    said: list[Remark] = []
    for node in graph.nodes:
        bounds = clamp_bounds(subject, node)
        readers = graph.users.get(node.outputs[0], ()) if node.outputs else ()
        if bounds is None or not readers or any(one.op != QUANTIZE for one in readers):
            continue
        if node.outputs[0] in graph.outputs:
            continue
        if not all(covers(Conversion(graph, one), *bounds) for one in readers):
            text = "the Q behind it does not clamp as much: without it values would change"
            help = "calibrate with a range that starts where it does"
            said.append(skipped(node.name, text, help))
            continue
        editor.redirect(node.outputs[0], node.inputs[0])
        editor.remove(node.name)
        said.append(applied(node.name, "deleted: the Q behind it clamps as much"))
    return done(subject, editor, said)


def clamp_bounds(subject: Subject, node: Node) -> tuple[float, float] | None:
    """Return what a node clamps its operand to; None if it is no clamp, or its bounds computed."""
    row = subject.ops.get(node.kind)
    if row is None or row.clamp is None:
        return None
    return row.clamp(call_of(subject.graph, subject.facts, node))


def covers(one: Conversion, low: float, high: float) -> bool:
    """Tell whether Q gives its least integer at `low`, and its largest at `high`."""
    if one.scale is None or one.integers is None or not (one.scale > 0).all():
        return False
    least, largest = one.integers.span
    zero = np.zeros(()) if one.zero is None else one.zero.astype(np.float64)
    with np.errstate(over="ignore"):
        ends = [np.rint(end / one.scale.astype(np.float64)) + zero for end in (low, high)]
    return bool((ends[0] <= least).all() and (ends[1] >= largest).all())
