"""Append non-maximum suppression to a detection head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from slimc.analysis.shapes import retype
from slimc.errors import SlimcError
from slimc.ir.editor import Editor
from slimc.ir.graph import Attr, Graph
from slimc.ir.types import DType, TensorType
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.canonical.remove_identities import RemoveIdentities
from slimc.passes.context import Context
from slimc.passes.nms.detection_head import DetectionHead, find_head
from slimc.passes.nms.nms_operators import Suppression, inline_graph
from slimc.passes.traits import Trait
from slimc.remarks import applied, note

PLUGIN = "EfficientNMS_TRT"
RESULTS = ("num_detections", "detection_boxes", "detection_scores", "detection_classes")
_CODES = {"corner": 0, "center-size": 1}


@dataclass(frozen=True)
class AppendNms(Pass):
    """Append non-maximum suppression to a detection head: four outputs replace those of the head.

    num_detections: i32[B,1]; detection_boxes: f32[B,K,4], corners; detection_scores: f32[B,K],
    descending; detection_classes: i32[B,K]; entries beyond the number of detections of an image are
    0. A pair of box and class is kept if its score reaches the threshold, and no kept box of its
    class (of any, if class-agnostic) with a higher score overlaps it by the threshold; at most K.

    If the target has TensorRT's plug-in EfficientNMS_TRT, a node of it is added; it considers the
    4096 best pairs of an image. Otherwise ONNX's NonMaxSuppression is added, which keeps boxes
    exactly at the overlap threshold, and drops those exactly at the score threshold.
    Source: NVIDIA/TensorRT, plugin/efficientNMSPlugin (README, efficientNMSInference.cu,
    efficientNMSPlugin.cpp).
    """

    name: ClassVar[str] = "append-nms"
    promise: ClassVar[Promise] = "approximate"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.ENDS})

    head: str = option(
        "", "the output with boxes and scores, [B,4+C,N] or [B,N,4+C]; default: the only such one"
    )
    boxes: str = option("", "the output with boxes, [B,N,4], if scores are another output")
    scores: str = option("", "the output with scores, [B,N,C]")
    objectness: bool = option(
        False, "the head has an objectness after the box, 5+C, that scores are multiplied with"
    )
    box_coding: Literal["center-size", "corner"] = option(
        "center-size", "boxes are [x,y,w,h] of their centres (YOLO), or [x1,y1,x2,y2]"
    )
    score_threshold: float = option(0.25, "boxes with lower scores are dropped", least=0)
    iou_threshold: float = option(
        0.45, "overlap from which the lower score is dropped", above=0, most=1
    )
    max_output_boxes: int = option(100, "detections per image, K", least=1)
    background_class: int = option(-1, "the background class; -1: there is none", least=-1)
    score_activation: bool = option(False, "scores are logits: a sigmoid makes them probabilities")
    class_agnostic: bool = option(False, "boxes suppress those of other classes too")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objectness and (self.boxes or self.scores):
            message = "objectness follows the box in a joined head, and boxes have their own output"
            raise self.bad_option(message, "leave objectness out")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        head = find_head(graph, self.head, self.boxes, self.scores, self.objectness)
        self._check(graph, head, ctx)
        plugin = PLUGIN in ctx.target.plugins
        editor = Editor(graph, made_by=self.name)
        operands = head.parts(editor)
        if plugin:
            attrs, types = self._attributes(), _result_types(head, self.max_output_boxes)
            editor.add(PLUGIN, operands, name="nms", outputs=RESULTS, types=types, attrs=attrs)
        else:
            suppression = retype(self._suppression(head).graph(head.dtype), ctx.ops)
            inline_graph(editor, RemoveIdentities().run(suppression, ctx).graph, operands, RESULTS)
        kept = [o for o in graph.outputs if o not in head.outputs]
        first = min(graph.outputs.index(o) for o in head.outputs)
        before = [o for o in graph.outputs[:first] if o in kept]
        outputs = (*before, *RESULTS, *kept[len(before) :])
        appended = retype(replace(editor.finish(keep_dead=True), outputs=outputs), ctx.ops)
        operator = f"the plug-in {PLUGIN}" if plugin else "NonMaxSuppression of ONNX"
        remarks = (
            applied("", f"{operator} after {head}: at most {self.max_output_boxes} detections"),
            *(
                note(f"output '{o}' is now its input, and no longer an output")
                for o in head.outputs
            ),
        )
        return PassResult(appended, remarks)

    def _check(self, graph: Graph, head: DetectionHead, ctx: Context) -> None:
        """Raise SlimcError "bad-option-value" or "name-taken"."""
        where = f"pass {self.name}"
        if self.objectness and not head.objectness:
            message = (
                "objectness needs boxes and scores in one output, and boxes are an output alone"
            )
            raise SlimcError("bad-option-value", message, where, "leave objectness out")
        names = {*graph.inputs, *graph.constants, *graph.producers}
        if twice := [name for name in RESULTS if name in names]:
            message = f"the graph has a value '{twice[0]}' already"
            raise SlimcError(
                "name-taken", message, where, "does the graph end in a suppression already?"
            )
        classes = head.classes if isinstance(head.classes, int) else 0
        if self.background_class >= 0 and self.background_class >= classes:
            message = f"background_class is {self.background_class}, and there are {head.classes}"
            raise SlimcError("bad-option-value", f"{message} classes", where)
        why = ctx.target.lacks.get(f"{PLUGIN}.class_agnostic", "")
        if PLUGIN in ctx.target.plugins and self.class_agnostic and why:
            raise SlimcError("bad-option-value", why, where, "leave class_agnostic out")

    def _attributes(self) -> dict[str, Attr]:
        """Return the attributes of the plug-in, version 1."""
        return {
            "plugin_version": b"1",
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_output_boxes": self.max_output_boxes,
            "background_class": self.background_class,
            "score_activation": int(self.score_activation),
            "box_coding": _CODES[self.box_coding],
            # By default it is off, and onnxruntime's TensorRT provider does not know it.
            **({"class_agnostic": 1} if self.class_agnostic else {}),
        }

    def _suppression(self, head: DetectionHead) -> Suppression:
        return Suppression(
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
            max_boxes=self.max_output_boxes,
            centers=self.box_coding == "center-size",
            logits=self.score_activation,
            class_agnostic=self.class_agnostic,
            background=self.background_class if self.background_class >= 0 else None,
            classes=head.classes if isinstance(head.classes, int) else 0,
            may_be_empty=not isinstance(head.boxes, int),
        )


def _result_types(head: DetectionHead, max_boxes: int) -> tuple[TensorType, ...]:
    """Return the types of the results."""
    return (
        TensorType(DType.I32, (head.batch, 1)),
        TensorType(head.dtype, (head.batch, max_boxes, 4)),
        TensorType(head.dtype, (head.batch, max_boxes)),
        TensorType(DType.I32, (head.batch, max_boxes)),
    )
