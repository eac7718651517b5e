"""What the plug-in EfficientNMS_TRT computes, in operators of ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.parse import parse_text
from slimc.ir.types import DType

# Texts of a graph: %given_boxes [B,N,4] and %given_scores [B,N,C] go in.
_CONSTANTS = """\
  %most = constant i64[1] [{most}]
  %overlap = constant f32[1] [{overlap}]
  %least = constant f32[1] [{least}]
  %behind = constant i64[4] [0, 0, 0, {most}]
  %unscored = constant f32[] -inf
  %zero = constant f32[] 0.0
  %zero_class = constant i64[] 0
  %one = constant i64[1] [1]
  %two = constant i64[1] [2]
  %three = constant i64[1] [3]
  %boxes_cast = Cast(%given_boxes) {{to=1}}
  %scores_cast = Cast(%given_scores) {{to=1}}
"""
_SOME = """\
  %boxes_in = Identity(%boxes_cast)
  %scores_in = Identity(%scores_cast)
"""
# An image may have no box: there is always one to take from, that is never picked.
_PERHAPS_NONE = """\
  %row = constant i64[6] [0, 0, 0, 0, 1, 0]
  %boxes_in = Pad(%boxes_cast, %row)
  %scores_in = Pad(%scores_cast, %row, %unscored)
"""
_CORNERS = """\
  %b = Identity(%boxes_in)
"""
_CENTERS = """\
  %twos = constant i64[2] [2, 2]
  %half = constant f32[] 0.5
  %center, %size = Split(%boxes_in, %twos) {axis=2}
  %reach = Mul(%size, %half)
  %low = Sub(%center, %reach)
  %high = Add(%center, %reach)
  %b = Concat(%low, %high) {axis=2}
"""
_SIGMOID = """\
  %probable = Sigmoid(%scores_in)
"""
_NO_SIGMOID = """\
  %probable = Identity(%scores_in)
"""
_BACKGROUND = """\
  %but = constant f32[{classes}] [{but}]
  %meant = Add(%probable, %but)
"""
_NO_BACKGROUND = """\
  %meant = Identity(%probable)
"""
_BEST_CLASS = """\
  %s = ReduceMax(%meant, %two) {keepdims=1}
  %class_of = ArgMax(%meant) {axis=2, keepdims=0}
"""
_EACH_CLASS = """\
  %s = Identity(%meant)
"""
# A pair of box and class that is picked keeps its score, all others have none: -inf. The K highest
# of an image are its detections; K more without a score stand behind them, for images with fewer.
_PICK = """\
  %by_class = Transpose(%s) {perm=[0,2,1]}
  %picked: i64[?,3] = NonMaxSuppression(%b, %by_class, %most, %overlap, %least)
  %shape = Shape(%by_class)
  %none = Expand(%unscored, %shape)
  %theirs = GatherND(%by_class, %picked)
  %kept = ScatterND(%none, %picked, %theirs)
  %flat = Flatten(%kept) {axis=1}
  %padded = Pad(%flat, %behind, %unscored)
  %top, %index = TopK(%padded, %most) {axis=1}
  %valid = Greater(%top, %unscored)
  %boxes = Slice(%shape, %two, %three)
  %which = Mod(%index, %boxes)
  %at = Unsqueeze(%which, %two)
  %box = GatherND(%b, %at) {batch_dims=1}
  %valid_box = Unsqueeze(%valid, %two)
  %count = Cast(%valid) {to=6}
"""
_CLASS_FOUND = """\
  %class = GatherElements(%class_of, %which) {axis=1}
"""
_CLASS_BY_PLACE = """\
  %class = Div(%index, %boxes)
"""
_RESULTS = """\
  %valid_class = Where(%valid, %class, %zero_class)
  %found_box = Where(%valid_box, %box, %zero)
  %found_score = Where(%valid, %top, %zero)
  %number = ReduceSum(%count, %one) {{keepdims=1}}
  %box_out = Cast(%found_box) {{to={dtype}}}
  %score_out = Cast(%found_score) {{to={dtype}}}
  %class_out = Cast(%valid_class) {{to=6}}
"""


@dataclass(frozen=True)
class Suppression:
    """How to suppress: thresholds of score and overlap, detections per image, and the rest.

    background: the class that is none, of so many `classes`; None: there is none. may_be_none: how
    many boxes there are is not known, there may be none.
    """

    least: float
    overlap: float
    most: int
    centers: bool
    logits: bool
    agnostic: bool
    background: int | None
    classes: int
    may_be_none: bool

    def graph(self, dtype: DType) -> Graph:
        """Return it as a graph, of boxes and scores of an element type."""
        but = ["-inf" if i == self.background else "0" for i in range(self.classes)]
        parts = (
            _CONSTANTS.format(most=self.most, overlap=self.overlap, least=self.least),
            _PERHAPS_NONE if self.may_be_none else _SOME,
            _CENTERS if self.centers else _CORNERS,
            _SIGMOID if self.logits else _NO_SIGMOID,
            _NO_BACKGROUND
            if self.background is None
            else _BACKGROUND.format(classes=self.classes, but=", ".join(but)),
            _BEST_CLASS if self.agnostic else _EACH_CLASS,
            _PICK,
            _CLASS_FOUND if self.agnostic else _CLASS_BY_PLACE,
            _RESULTS.format(dtype=dtype.code),
        )
        inputs = f"%given_boxes: {dtype.text}[B,N,4], %given_scores: {dtype.text}[B,N,C]"
        head = f"graph ({inputs}) -> (%number, %box_out, %score_out, %class_out)\n"
        return parse_text(head + "".join(parts))


def put_in(editor: Editor, graph: Graph, operands: Sequence[str], results: Sequence[str]) -> None:
    """Add the nodes of a graph, which reads `operands` and makes values of the names `results`."""
    names = dict(zip(graph.inputs, operands, strict=True))
    names |= dict(zip(graph.outputs, results, strict=True))
    for value, constant in graph.constants.items():
        names[value] = editor.add_constant(constant, f"nms.{value}")
    for node in graph.nodes:
        for value in node.outputs:
            names.setdefault(value, editor.fresh(f"nms.{value}"))
        editor.add(
            node.op,
            [names[value] for value in node.inputs],
            outputs=[names[value] for value in node.outputs],
            types=[graph.types.get(value) for value in node.outputs],
            attrs=node.attrs,
            name=f"nms/{node.name}",
        )
