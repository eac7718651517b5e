"""Fixes of Q/DQ parameters that leave every value as it is.

Each works on the nodes that its rule finds, and says of those that it leaves what is in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from slimc.ir.editor import Editor
from slimc.ir.types import DType, TensorType
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.remarks import Remark, applied, skipped
from slimc.targets.contractions import Conversion, conversions
from slimc.targets.target import Mended, Subject

MADE_BY = "lint"
_MIDDLE = 128  # of u8: the zero point of what is symmetric

Change = Callable[[Editor, Conversion], Remark | None]


def _each(subject: Subject, change: Change) -> Mended:
    """Offer every Q and DQ to a change, which says what it did; None: nothing is wrong with it."""
    editor = Editor(subject.graph, made_by=MADE_BY)
    said = [change(editor, one) for one in conversions(subject.graph)]
    return done(subject, editor, (remark for remark in said if remark is not None))


def done(subject: Subject, editor: Editor, said: Iterable[Remark]) -> Mended:
    """Make the graph that an editor holds; the subject itself if nothing changed."""
    remarks = tuple(said)
    if not editor.changed:
        return Mended(subject, remarks)
    return Mended(replace(subject, graph=editor.finish()), remarks)


def add_zero_points(subject: Subject) -> Mended:
    """Write zero points of 0 where the type of the integers says i8 already."""
    return _each(subject, _add_zero)


def _add_zero(editor: Editor, one: Conversion) -> Remark | None:
    if one.has_zero and one.integers is DType.I8 and one.zero is not None and one.zero.any():
        text = "its i8 integers lie around another number than 0: symmetric ones are other values"
        return skipped(one.node.name, text, "quantize it anew, symmetric")
    if one.has_zero or one.scale is None:
        return None
    dtype = _integers(one)
    if dtype is not DType.I8:
        text = "without a zero point its integers are u8 by ONNX; whether i8 was meant no one says"
        return skipped(one.node.name, text, "export it with an i8 zero point") if dtype else None
    zero = editor.add_constant(np.zeros(one.scale.shape, np.int8), f"{one.node.name}.zero")
    attrs = {
        k: v for k, v in one.node.attrs.items() if k != "output_dtype" or one.node.op != QUANTIZE
    }
    editor.update(one.node.name, inputs=(*one.node.inputs[:2], zero), attrs=attrs)
    return applied(one.node.name, "zero points of 0 written, which ONNX implies")


def _integers(one: Conversion) -> DType | None:
    """Return the type of the integers: of a Q's result, of a DQ's operand."""
    value = one.node.outputs[0] if one.node.op == QUANTIZE else one.node.inputs[0]
    return one.graph.dtype_of(value)


def make_scales_scalar(subject: Subject) -> Mended:
    """Let one scale for all elements be a scalar, not a list of one."""
    return _each(subject, _make_scalar)


def _make_scalar(editor: Editor, one: Conversion) -> Remark | None:
    if one.scale is None or one.scale.size != 1 or not one.scale.ndim:
        return None
    if one.has_zero and one.zero is None:
        return skipped(one.node.name, "its zero point is computed at run time")
    inputs = list(one.node.inputs)
    for i, array in enumerate((one.scale, one.zero), start=1):
        if array is not None:
            inputs[i] = editor.add_constant(array.reshape(()), f"{inputs[i]}.scalar")
    attrs = {k: v for k, v in one.node.attrs.items() if k not in ("axis", "block_size")}
    editor.update(one.node.name, inputs=tuple(inputs), attrs=attrs)
    return applied(one.node.name, "its scale of shape [1] became a scalar")


def spread_zero_points(subject: Subject) -> Mended:
    """Give every scale of a list its zero point, where one was written for all."""
    return _each(subject, _spread_zero)


def _spread_zero(editor: Editor, one: Conversion) -> Remark | None:
    if one.scale is None or one.zero is None or one.zero.size == one.scale.size:
        return None
    if one.zero.size != 1:
        text = f"{one.scale.size} scales and {one.zero.size} zero points: which belong together?"
        return skipped(one.node.name, text)
    zero = np.broadcast_to(one.zero.reshape(()), one.scale.shape).copy()
    name = editor.add_constant(zero, f"{one.node.inputs[2]}.spread")
    editor.set_input(one.node.name, 2, name)
    return applied(one.node.name, f"its one zero point was written {one.scale.size} times")


def revive_dead_scales(subject: Subject) -> Mended:
    """Let weights that a scale of 0 makes 0 be integers that are 0, with a scale of 1."""
    return _each(subject, _revive)


def _revive(editor: Editor, one: Conversion) -> Remark | None:
    scale, stored = one.scale, one.graph.array(one.node.inputs[0])
    if scale is None or not (scale == 0).any():
        return None
    if stored is None or one.node.op != DEQUANTIZE or one.block:
        text = "with a scale of 0 data have no integers: which scale was meant no one says"
        return skipped(one.node.name, text, "calibrate this value anew")
    zero = np.zeros(scale.shape, stored.dtype) if one.zero is None else one.zero
    dead, zeros = one.spread(scale == 0, stored.shape), one.spread(zero, stored.shape)
    if dead is None or zeros is None:
        return skipped(one.node.name, "which scale is whose is not known: they do not fit the data")
    integers = np.where(dead, zeros, stored)
    inputs = list(one.node.inputs)
    inputs[0] = editor.add_constant(integers.astype(stored.dtype), f"{inputs[0]}.revived")
    ones = np.where(scale == 0, np.ones_like(scale), scale)
    inputs[1] = editor.add_constant(ones, f"{inputs[1]}.revived")
    editor.update(one.node.name, inputs=tuple(inputs))
    return applied(one.node.name, "weights of scale 0 became integers of 0 with a scale of 1")


def make_signed(subject: Subject) -> Mended:
    """Let u8 integers around 128 be i8 around 0: the same numbers stand for the same values."""
    editor = Editor(subject.graph, made_by=MADE_BY)
    said: list[Remark] = []
    moved: dict[str, str] = {}  # constant of u8 -> the same of i8
    for one in conversions(subject.graph):
        if one.integers is not DType.U8:
            continue
        why = _keeps_unsigned(one)
        if why:
            said.append(skipped(one.node.name, why, "quantize it anew, symmetric and i8"))
            continue
        _sign(editor, one, moved)
        said.append(applied(one.node.name, "u8 around 128 became i8 around 0"))
    return done(subject, editor, said)


def _keeps_unsigned(one: Conversion) -> str:
    """Return why the integers of a Q or DQ cannot be i8 as exactly; empty if they can."""
    graph = one.graph
    integers = one.node.outputs[0] if one.node.op == QUANTIZE else one.node.inputs[0]
    maker = graph.producers.get(integers)
    if integers not in graph.constants and (maker is None or maker.op != QUANTIZE):
        return "its integers are made by another operator, or come from outside"
    ends = [Conversion(graph, node) for node in graph.users.get(integers, ())]
    ends += [Conversion(graph, maker)] if maker is not None else []
    if integers in graph.outputs or any(end.node.op not in (QUANTIZE, DEQUANTIZE) for end in ends):
        return "its integers are also read as what they are"
    if any(end.zero is None or (end.zero != _MIDDLE).any() for end in ends):
        return "its zero point is not 128: no i8 without a zero point says the same"
    return ""


def _sign(editor: Editor, one: Conversion, moved: dict[str, str]) -> None:
    """Write zero points, and integers that are stored, as i8."""
    inputs = list(one.node.inputs)
    for i in (0, 2):
        array = one.graph.array(inputs[i])
        if array is None or array.dtype != np.uint8:
            continue
        if inputs[i] not in moved:
            signed = (array.astype(np.int16) - _MIDDLE).astype(np.int8)
            moved[inputs[i]] = editor.add_constant(signed, f"{inputs[i]}.signed")
        inputs[i] = moved[inputs[i]]
    editor.update(one.node.name, inputs=tuple(inputs))
    if one.node.op == QUANTIZE:
        shape = one.graph.shape_of(one.node.outputs[0])
        editor.set_type(one.node.outputs[0], TensorType(DType.I8, shape))
