"""Find the boxes and the scores of a detector among its outputs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from slimc.errors import SlimcError, did_you_mean
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.types import Dim, DType

WHERE = "pass append-nms"
_BOX = 4  # coordinates
_HELP = "name them: head=NAME, or boxes=NAME,scores=NAME"


@dataclass(frozen=True)
class DetectionHead:
    """Boxes and scores: two outputs, [B,N,4] and [B,N,C], or one, joined along `axis` (1 or 2)."""

    outputs: tuple[str, ...]
    """The output with boxes and scores, or boxes and scores."""
    batch: Dim
    """B."""
    boxes: Dim
    """N."""
    classes: Dim
    """C."""
    dtype: DType
    """Element type of boxes and scores."""
    axis: int = 0
    """The axis of boxes and scores in a joint output."""
    objectness: bool = False
    """Whether a number after the box multiplies all scores."""

    def __str__(self) -> str:
        names = " and ".join(f"'{name}'" for name in self.outputs)
        return f"{names} ({self.classes} classes)"

    def parts(self, editor: Editor) -> tuple[str, str]:
        """Split the outputs; return the values of boxes [B,N,4] and scores [B,N,C].

        y: f32[B,N,4+C], or [B,N,5+C] with objectness o: boxes = y[:,:,:4], scores = o * y[:,:,5:].
        """
        if len(self.outputs) == 2:
            return self.outputs[0], self.outputs[1]
        (rows,) = self.outputs
        if self.axis == 1:
            (rows,) = editor.add("Transpose", [rows], attrs={"perm": (0, 2, 1)}, name="nms/rows")
        sizes = [_BOX, *([1] if self.objectness else []), self.classes]
        lengths = editor.add_constant(np.array(sizes, np.int64), "nms.sizes")
        names = [editor.fresh_name(f"nms.{part}") for part in ("boxes", "objectness", "scores")]
        parts = [names[0], *([names[1]] if self.objectness else []), names[2]]
        editor.add("Split", [rows, lengths], outputs=parts, attrs={"axis": 2}, name="nms/split")
        if not self.objectness:
            return parts[0], parts[1]
        return parts[0], editor.add("Mul", parts[1:], name="nms/confidence")[0]


def find_head(graph: Graph, head: str, boxes: str, scores: str, objectness: bool) -> DetectionHead:
    """Return the outputs that the options name, or the only possible ones.

    Raises SlimcError "unknown-output", "no-detection-head".
    """
    if bool(boxes) != bool(scores) or (boxes and (head or boxes == scores)):
        message = "give either head, or boxes and scores"
        raise SlimcError("no-detection-head", message, WHERE, _HELP)
    for name in filter(None, (head, boxes, scores)):
        if name not in graph.outputs:
            message = f"the graph has no output '{name}'"
            raise SlimcError("unknown-output", message, WHERE, did_you_mean(name, graph.outputs))
    if head:
        return _joint_head(graph, head, objectness) or _raise_no_head(graph, head)
    if boxes:
        return _separate_head(graph, boxes, scores) or _raise_no_head(graph, boxes, scores)
    heads = list(_possible_heads(graph, objectness))
    if len(heads) == 1:
        return heads[0]
    outputs = ", ".join(f"'{o}' {graph.type_of(o)}" for o in graph.outputs)
    subject = "no output looks" if not heads else "several outputs look"
    raise SlimcError(
        "no-detection-head", f"{subject} like boxes and scores: {outputs}", WHERE, _HELP
    )


def _possible_heads(graph: Graph, objectness: bool) -> Iterator[DetectionHead]:
    boxes = [o for o in graph.outputs if _shape(graph, o)[-1:] == (_BOX,)]
    if len(boxes) == 1 and not objectness:
        pairs = (_separate_head(graph, boxes[0], o) for o in graph.outputs if o != boxes[0])
        yield from (pair for pair in pairs if pair)
        return
    joined = (_joint_head(graph, o, objectness) for o in graph.outputs)
    yield from (detection_head for detection_head in joined if detection_head)


def _joint_head(graph: Graph, name: str, objectness: bool) -> DetectionHead | None:
    """Return the head of one output: its features are on the axis of known, smaller size."""
    shape, least = _shape(graph, name), _BOX + objectness
    if len(shape) != 3 or not _dtype(graph, name).is_float:
        return None
    sizes = {axis: size for axis, size in ((1, shape[1]), (2, shape[2])) if isinstance(size, int)}
    if not sizes or len(set(sizes.values())) < len(sizes):
        return None
    axis = min(sizes, key=lambda candidate: sizes[candidate])
    classes = sizes[axis] - least
    if classes < 1:
        return None
    dtype = _dtype(graph, name)
    return DetectionHead((name,), shape[0], shape[3 - axis], classes, dtype, axis, objectness)


def _separate_head(graph: Graph, boxes: str, scores: str) -> DetectionHead | None:
    first, second = _shape(graph, boxes), _shape(graph, scores)
    dtype = _dtype(graph, scores)
    if len(first) != 3 or len(second) != 3 or first[2] != _BOX or first[:2] != second[:2]:
        return None
    if not dtype.is_float or _dtype(graph, boxes) is not dtype:
        return None
    return DetectionHead((boxes, scores), *second, dtype)


def _raise_no_head(graph: Graph, *names: str) -> DetectionHead:
    message = " and ".join(f"'{name}' is of type {graph.type_of(name)}" for name in names)
    raise SlimcError(
        "no-detection-head",
        f"{message}, which cannot hold boxes and scores",
        WHERE,
        "a head is [B,4+C,N] or [B,N,4+C], boxes [B,N,4] and scores [B,N,C], floats of one type; "
        "--shape fixes sizes",
    )


def _shape(graph: Graph, name: str) -> tuple[Dim, ...]:
    return graph.shape_of(name) or ()


def _dtype(graph: Graph, name: str) -> DType:
    return graph.dtype_of(name) or DType.F32
