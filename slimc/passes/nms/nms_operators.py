"""The computation of the plug-in EfficientNMS_TRT in ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.parse import parse_text
from slimc.ir.types import DType

# Texts of a graph with inputs %given_boxes [B,N,4] and %given_scores [B,N,C].
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
_SOME_BOXES = """\
  %boxes_in = Identity(%boxes_cast)
  %scores_in = Identity(%scores_cast)
"""
# An image may have no box: a box is appended that is never picked.
_MAYBE_NO_BOX = """\
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
# A pair of box and class that is picked keeps its score, all others get -inf. The K highest of an
# image are its detections; K more without a score follow them, for images with fewer.
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
    """Parameters of the suppression."""

    score_threshold: float
    """Boxes with lower scores are dropped."""
    iou_threshold: float
    """Overlap from which the lower score is dropped."""
    max_boxes: int
    """Detections per image."""
    centers: bool
    """Whether boxes are [x,y,w,h] of their centres, not corners."""
    logits: bool
    """Whether scores need a sigmoid."""
    class_agnostic: bool
    """Whether boxes suppress those of other classes too."""
    background: int | None
    """The background class; None: there is none."""
    classes: int
    """Number of classes."""
    may_be_empty: bool
    """Whether an image may have no box: their number is unknown."""

    def graph(self, dtype: DType) -> Graph:
        """Return the suppression as a graph. dtype: of boxes and scores."""
        but = ["-inf" if i == self.background else "0" for i in range(self.classes)]
        parts = (
            _CONSTANTS.format(
                most=self.max_boxes, overlap=self.iou_threshold, least=self.score_threshold
            ),
            _MAYBE_NO_BOX if self.may_be_empty else _SOME_BOXES,
            _CENTERS if self.centers else _CORNERS,
            _SIGMOID if self.logits else _NO_SIGMOID,
            _NO_BACKGROUND
            if self.background is None
            else _BACKGROUND.format(classes=self.classes, but=", ".join(but)),
            _BEST_CLASS if self.class_agnostic else _EACH_CLASS,
            _PICK,
            _CLASS_FOUND if self.class_agnostic else _CLASS_BY_PLACE,
            _RESULTS.format(dtype=dtype.code),
        )
        inputs = f"%given_boxes: {dtype.text}[B,N,4], %given_scores: {dtype.text}[B,N,C]"
        head = f"graph ({inputs}) -> (%number, %box_out, %score_out, %class_out)\n"
        return parse_text(head + "".join(parts))


def inline_graph(
    editor: Editor, graph: Graph, operands: Sequence[str], results: Sequence[str]
) -> None:
    """Add the nodes of a graph, with `operands` as its inputs and `results` as its outputs."""
    names = dict(zip(graph.inputs, operands, strict=True))
    names |= dict(zip(graph.outputs, results, strict=True))
    for value, constant in graph.constants.items():
        names[value] = editor.add_constant(constant, f"nms.{value}")
    for node in graph.nodes:
        for value in node.outputs:
            names.setdefault(value, editor.fresh_name(f"nms.{value}"))
        editor.add(
            node.op,
            [names[value] for value in node.inputs],
            outputs=[names[value] for value in node.outputs],
            types=[graph.types.get(value) for value in node.outputs],
            attrs=node.attrs,
            name=f"nms/{node.name}",
        )
