"""Signal processing: Fourier transforms need every index of what they transform."""

from __future__ import annotations

from slimc.ir import dims
from slimc.ir.types import Dim, DType
from slimc.ops import values
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Laid, Op, table
from slimc.ops.spelling import labels, replaced, words


def _number(call: Call, operand: int) -> Dim:
    """Return the one element of an operand, None if it is computed at run time."""
    found = call.value(operand)
    return None if found is None else values.whole(found.ravel().tolist()[0])


def fourier_axes(call: Call) -> Laid:
    """DFT along one axis; the last axis holds real and imaginary parts."""
    rank, axis = call.rank(0), int(call.attr("axis", -2))
    if call.present(2):
        given = _number(call, 2)
        if not isinstance(given, int):
            raise Unmatched("its axis is computed at run time")
        axis = given
    axis %= rank
    size = call.shape(0)[axis]
    half, back = bool(call.attr("onesided", 0)), bool(call.attr("inverse", 0))
    length = _number(call, 1) if call.present(1) else size
    if half and back and not call.present(1):
        length = dims.multiply(2, dims.subtract(size, 1))
    made = dims.add(dims.floor_divide(length, 2), 1) if half and not back else length
    axes = replaced(labels(rank), rank - 1, "c!")
    left, right = replaced(axes, axis, "x!"), replaced(axes, axis, "y!")
    right[-1] = "z!"
    sizes: dict[str, Dim] = {"y": made, "z": 1 if half and back else 2}
    return f"{words(left)}, []?, []? -> {words(right)}", sizes


def frames_axes(call: Call) -> Laid:
    """STFT: signal, step, window, length -> frames of frequencies."""
    size, step = call.shape(0)[1], _number(call, 1)
    length = call.shape(2)[0] if call.present(2) else size
    if call.present(3):
        length = _number(call, 3)
    room = dims.subtract(size, length)
    frames = dims.add(dims.floor_divide(room, step), 1) if isinstance(step, int) else None
    half = dims.add(dims.floor_divide(length, 2), 1)
    sizes = {"f": frames, "y": half if call.attr("onesided", 1) else length, "z": 2}
    return "n s! c!, []?, w!?, []? -> n f! y! z!", sizes


def window_axes(call: Call) -> Laid:
    """A window function has as many elements as its operand says."""
    return "[] -> y!", {"y": _number(call, 0)}


def mel_axes(call: Call) -> Laid:
    """MelWeightMatrix: one row per frequency, one column per mel bin."""
    rows = dims.add(dims.floor_divide(_number(call, 1), 2), 1)
    return "[], [], [], [], [] -> f! m!", {"f": rows, "m": _number(call, 0)}


def _output_type(call: Call) -> tuple[DType | None, ...]:
    return (DType.of_code(call.attr("output_datatype", DType.F32.code)),)


SIGNAL = table(
    Op("DFT", fourier_axes),
    Op("STFT", frames_axes),
    Op("HannWindow", window_axes, dtypes=_output_type),
    Op("HammingWindow", window_axes, dtypes=_output_type),
    Op("BlackmanWindow", window_axes, dtypes=_output_type),
    Op("MelWeightMatrix", mel_axes, dtypes=_output_type),
)
