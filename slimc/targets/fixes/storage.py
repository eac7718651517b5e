"""Fixes of how weights and biases are stored: the values stay what they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.types import DType
from slimc.ops.qdq import DEQUANTIZE, QUANTIZE
from slimc.remarks import Remark, applied, skipped
from slimc.targets.contractions import Conversion, conversions
from slimc.targets.fixes.scales import MADE_BY, done
from slimc.targets.stored_numbers import real_numbers, stored_numbers
from slimc.targets.target import Mended, Subject


def store_biases_as_floats(subject: Subject) -> Mended:
    """Put the numbers that biases of i32 stand for in their place."""
    return _folded(subject, lambda one: one.integers is DType.I32)


def store_weights_as_floats(subject: Subject) -> Mended:
    """Put the numbers that stored integers stand for in their place; Q/DQ of data stay."""
    return _folded(subject, lambda one: True)


def _folded(subject: Subject, wanted: Callable[[Conversion], bool]) -> Mended:
    editor = Editor(subject.graph, made_by=MADE_BY)
    said: list[Remark] = []
    for one in conversions(subject.graph):
        if one.node.op != DEQUANTIZE or one.node.inputs[0] not in subject.graph.constants:
            continue
        if not wanted(one):
            continue
        real = real_numbers(one)
        if real is None:
            said.append(skipped(one.node.name, "its scale or zero point is computed at run time"))
            continue
        value = one.node.outputs[0]
        editor.redirect(value, editor.add_constant(real, f"{value}.float"))
        editor.remove(one.node.name)
        kind = one.integers.text if one.integers is not None else "integers"
        said.append(applied(one.node.name, f"the floats that {kind} stood for are stored"))
    return done(subject, editor, said)


def store_weights_before_q(subject: Subject) -> Mended:
    """Store weights as f32 with Q and DQ behind them: Q makes of them the integers of before."""
    editor = Editor(subject.graph, made_by=MADE_BY)
    said: list[Remark] = []
    for one in conversions(subject.graph):
        if one.node.op != DEQUANTIZE or one.integers is not DType.I8 or one.block:
            continue
        if one.node.inputs[0] not in subject.graph.constants:
            continue
        real = real_numbers(one)
        if real is None or not _comes_back(one, real):
            text = "its floats do not round to the same integers, or are not known"
            said.append(skipped(one.node.name, text))
            continue
        _put_before_q(editor, subject.graph, one, real)
        said.append(applied(one.node.name, "its weight is stored as f32, with Q and DQ behind it"))
    return done(subject, editor, said)


def _comes_back(one: Conversion, real: np.ndarray) -> bool:
    """Tell whether Q gives the stored integers of `real` again."""
    stored = one.graph.array(one.node.inputs[0])
    scale = one.spread(one.scale, real.shape) if one.scale is not None else None
    if stored is None or scale is None or not (scale > 0).all():
        return False
    low, high = DType.I8.span
    zero = 0 if one.zero is None else one.spread(one.zero.astype(np.float32), real.shape)
    again = np.clip(np.rint(real.astype(np.float32) / scale) + zero, low, high)
    return bool(np.array_equal(again, stored))


def _put_before_q(editor: Editor, graph: Graph, one: Conversion, real: np.ndarray) -> None:
    node = one.node
    zero = node.inputs[2] if one.has_zero else ""
    if not zero and one.scale is not None:
        zero = editor.add_constant(np.zeros(one.scale.shape, np.int8), f"{node.name}.zero")
    weight = editor.add_constant(real, f"{node.inputs[0]}.float")
    integers = editor.add(
        QUANTIZE,
        (weight, node.inputs[1], zero),
        types=[graph.type_of(node.inputs[0])],
        attrs=dict(node.attrs),
        name=f"{node.name}.quantize",
        near=node.name,
    )
    editor.update(node.name, inputs=(integers[0], node.inputs[1], zero))


def store_integers_of_constants(subject: Subject) -> Mended:
    """Put the integers that Q makes of constants in their place."""
    editor = Editor(subject.graph, made_by=MADE_BY)
    said: list[Remark] = []
    for one in conversions(subject.graph):
        if one.node.op != QUANTIZE or not one.stored:
            continue
        stored = stored_numbers(subject.graph, one.node.inputs[0])
        integers = None if stored is None else _quantized(one, stored)
        if integers is None:
            said.append(skipped(one.node.name, "its operand, scale or zero point is not known"))
            continue
        value = one.node.outputs[0]
        editor.redirect(value, editor.add_constant(integers, f"{value}.stored"))
        editor.remove(one.node.name)
        said.append(applied(one.node.name, "the integers that it made of a constant are stored"))
    return done(subject, editor, said)


def _quantized(one: Conversion, array: np.ndarray) -> np.ndarray | None:
    """Return the integers of 8 bits that a Q makes of an array."""
    if one.integers not in (DType.I8, DType.U8) or one.scale is None or one.block:
        return None
    scale = one.spread(one.scale, array.shape)
    zero = np.zeros(()) if one.zero is None else one.spread(one.zero, array.shape)
    if scale is None or zero is None or not (scale > 0).all():
        return None
    steps = np.rint(array.astype(np.float32) / scale.astype(np.float32)) + zero.astype(np.float32)
    integers: np.ndarray = np.clip(steps, *one.integers.span).astype(one.integers.numpy)
    return integers
