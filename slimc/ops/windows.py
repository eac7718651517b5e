"""Sliding windows of convolutions and poolings: sizes of results, and which data they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slimc.ir import dims
from slimc.ir.types import Dim
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call


@dataclass(frozen=True)
class Window:
    """How a kernel slides along one spatial axis."""

    kernel: Dim
    """Size of the kernel."""
    stride: int
    """Distance of neighbouring windows."""
    dilation: int
    """Distance of neighbouring taps."""
    pads: tuple[int, int]
    """Padding before and after the data."""
    auto: str
    """SAME_UPPER, SAME_LOWER or VALID; "" for explicit pads."""
    ceil: bool
    """Whether a partial window at the end counts."""

    @property
    def is_point(self) -> bool:
        """Return whether each result depends only on the element at the same position."""
        return self.kernel == 1 and self.stride == 1 and (bool(self.auto) or self.pads == (0, 0))

    def result_size(self, size: Dim) -> Dim:
        """Return the number of windows along an axis of `size`."""
        if self.auto.startswith("SAME"):
            return dims.ceil_divide(size, self.stride)
        reach = dims.add(dims.multiply(self.dilation, dims.subtract(self.kernel, 1)), 1)
        room = dims.subtract(dims.add(size, *self.pads), reach)
        if not self.ceil:
            return dims.add(dims.floor_divide(room, self.stride), 1)
        count = dims.add(dims.ceil_divide(room, self.stride), 1)
        if isinstance(count, int) and isinstance(size, int):
            # a window that would start in the padding after the data is left out
            return count - ((count - 1) * self.stride >= size + self.pads[0])
        return None if self.stride > 1 else count

    def transposed_size(self, size: Dim, extra: int) -> Dim:
        """Return the result size of a transposed convolution over an axis of `size`."""
        if self.auto.startswith("SAME"):
            return dims.multiply(size, self.stride)
        reach = dims.add(dims.multiply(self.dilation, dims.subtract(self.kernel, 1)), 1)
        moved = dims.multiply(self.stride, dims.subtract(size, 1))
        return dims.add(moved, reach, extra, -self.pads[0], -self.pads[1])


def windows(call: Call, kernel: Sequence[Dim]) -> list[Window]:
    """Return the windows of a call along its spatial axes, one per number in `kernel`."""
    rank = len(kernel)
    strides = call.attr("strides") or (1,) * rank
    dilations = call.attr("dilations") or (1,) * rank
    pads = call.attr("pads") or (0,) * (2 * rank)
    if not len(strides) == len(dilations) == len(pads) // 2 == rank:
        raise Unmatched(f"window attributes are not for {rank} spatial axes")
    auto = str(call.attr("auto_pad", "NOTSET"))
    if auto != "NOTSET":
        pads = (0,) * (2 * rank)
    return [
        Window(
            kernel[i],
            int(strides[i]),
            int(dilations[i]),
            (int(pads[i]), int(pads[rank + i])),
            "" if auto == "NOTSET" else auto,
            bool(call.attr("ceil_mode", 0)),
        )
        for i in range(rank)
    ]


def spatial_axes(
    sizes: Sequence[Dim], axis_windows: Sequence[Window]
) -> tuple[str, str, dict[str, Dim]]:
    """Return spatial axes of operand and result and their sizes: `s0! s1`, `t0! s1`, {t0: 7}.

    An axis along which the kernel is a point is tied.
    """
    points = [w.is_point for w in axis_windows]
    data = " ".join(f"s{i}" + "!" * (not point) for i, point in enumerate(points))
    result = " ".join(f"s{i}" if point else f"t{i}!" for i, point in enumerate(points))
    result_sizes = {
        f"t{i}": w.result_size(d)
        for i, (d, w) in enumerate(zip(sizes, axis_windows, strict=True))
        if not w.is_point
    }
    if any(isinstance(size, int) and size < 0 for size in result_sizes.values()):
        raise Unmatched("a kernel is larger than its input")
    return data, result, result_sizes


def conv_taps(call: Call, data: Sequence[int], result: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Return which data each result y reads at tap k: y * stride - pad + k * dilation."""
    taps_by_axis = []
    for i, window in enumerate(windows(call, call.shape(1)[2:])):
        taps = np.arange(int(window.kernel or 0)) * window.dilation
        room = (result[i] - 1) * window.stride + int(taps[-1]) + 1 - data[i]
        places = np.arange(result[i])[:, None] * window.stride - _leading_pad(window, room) + taps
        taps_by_axis.append(_mark_padding(places, data[i]))
    return tuple(taps_by_axis)


def conv_transpose_taps(
    call: Call, data: Sequence[int], result: Sequence[int]
) -> tuple[np.ndarray, ...]:
    """Return which data each result y reads at tap k: (y + pad - k * dilation) / stride."""
    taps_by_axis = []
    for i, window in enumerate(windows(call, call.shape(1)[2:])):
        taps = np.arange(int(window.kernel or 0)) * window.dilation
        room = (data[i] - 1) * window.stride + int(taps[-1]) + 1 - result[i]
        if "output_shape" in call.attrs or window.auto:
            room += int((call.attr("output_padding") or (0,) * (i + 1))[i])
            before = room // 2 if window.auto == "SAME_UPPER" else room - room // 2
        else:
            before = window.pads[0]
        reach = np.arange(result[i])[:, None] + before - taps
        places = np.where(reach % window.stride == 0, reach // window.stride, -1)
        taps_by_axis.append(_mark_padding(places, data[i]))
    return tuple(taps_by_axis)


def _leading_pad(window: Window, room: int) -> int:
    """Return the leading padding, where `room` positions are missing in total."""
    if not window.auto.startswith("SAME"):
        return window.pads[0]
    room = max(room, 0)
    return room // 2 if window.auto == "SAME_UPPER" else room - room // 2


def _mark_padding(places: np.ndarray, size: int) -> np.ndarray:
    """Replace positions in the padding by -1."""
    return np.where((places >= 0) & (places < size), places, -1)
