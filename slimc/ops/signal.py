"""Signal processing: Fourier transforms need every index of the transformed axis."""

from __future__ import annotations

from slimc.ir import dims
from slimc.ir.types import Dim, DType
from slimc.ops import values
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Op, SizedSignature, make_table
from slimc.ops.spelling import labels, replace_axis, spell


def _scalar(call: Call, operand: int) -> Dim:
    """Return the one element of an operand, None if it is computed at run time."""
    elements = call.value(operand)
    return None if elements is None else values.as_size(elements.ravel().tolist()[0])


def fourier_axes(call: Call) -> SizedSignature:
    """DFT along one axis; the last axis holds real and imaginary parts."""
    rank, axis = call.rank(0), int(call.attr("axis", -2))
    if call.has_operand(2):
        stated_axis = _scalar(call, 2)
        if not isinstance(stated_axis, int):
            raise Unmatched("its axis is computed at run time")
        axis = stated_axis
    axis %= rank
    size = call.shape(0)[axis]
    half, inverse = bool(call.attr("onesided", 0)), bool(call.attr("inverse", 0))
    length = _scalar(call, 1) if call.has_operand(1) else size
    if half and inverse and not call.has_operand(1):
        length = dims.multiply(2, dims.subtract(size, 1))
    bins = dims.add(dims.floor_divide(length, 2), 1) if half and not inverse else length
    axes = replace_axis(labels(rank), rank - 1, "c!")
    data, result = replace_axis(axes, axis, "x!"), replace_axis(axes, axis, "y!")
    result[-1] = "z!"
    sizes: dict[str, Dim] = {"y": bins, "z": 1 if half and inverse else 2}
    return f"{spell(data)}, []?, []? -> {spell(result)}", sizes


def frames_axes(call: Call) -> SizedSignature:
    """STFT: signal, step, window, length -> frames of frequencies."""
    size, step = call.shape(0)[1], _scalar(call, 1)
    length = call.shape(2)[0] if call.has_operand(2) else size
    if call.has_operand(3):
        length = _scalar(call, 3)
    room = dims.subtract(size, length)
    frames = dims.add(dims.floor_divide(room, step), 1) if isinstance(step, int) else None
    half = dims.add(dims.floor_divide(length, 2), 1)
    sizes = {"f": frames, "y": half if call.attr("onesided", 1) else length, "z": 2}
    return "n s! c!, []?, w!?, []? -> n f! y! z!", sizes


def window_axes(call: Call) -> SizedSignature:
    """A window function has as many elements as its operand says."""
    return "[] -> y!", {"y": _scalar(call, 0)}


def mel_axes(call: Call) -> SizedSignature:
    """MelWeightMatrix: one row per frequency, one column per mel bin."""
    rows = dims.add(dims.floor_divide(_scalar(call, 1), 2), 1)
    return "[], [], [], [], [] -> f! m!", {"f": rows, "m": _scalar(call, 0)}


def _output_type(call: Call) -> tuple[DType | None, ...]:
    return (DType.of_code(call.attr("output_datatype", DType.F32.code)),)


SIGNAL = make_table(
    Op("DFT", fourier_axes),
    Op("STFT", frames_axes),
    Op("HannWindow", window_axes, dtypes=_output_type),
    Op("HammingWindow", window_axes, dtypes=_output_type),
    Op("BlackmanWindow", window_axes, dtypes=_output_type),
    Op("MelWeightMatrix", mel_axes, dtypes=_output_type),
)
