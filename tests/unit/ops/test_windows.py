from __future__ import annotations

import pytest

from slimc.ir.types import Dim, DType, TensorType
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call
from slimc.ops.windows import spatial_axes, windows


def after(size: Dim, kernel: int, **attrs: object) -> Dim:
    call = Call("MaxPool", attrs, (TensorType(DType.F32, (1, 1, size)),), (None,))
    return windows(call, [kernel])[0].result_size(size)


def test_places_that_a_kernel_takes() -> None:
    assert after(7, 3) == 5
    assert after(7, 3, strides=(2,), pads=(1, 1)) == 4
    assert after(7, 3, dilations=(2,)) == 3
    assert after(7, 3, auto_pad=b"SAME_UPPER", strides=(2,)) == 4
    assert after(7, 3, auto_pad=b"VALID", pads=(9, 9)) == 5
    assert after("h", 3, strides=(2,)) == "(h+1)//2-1"
    assert after(None, 3) is None


def test_a_window_that_would_start_behind_the_data_is_left_out() -> None:
    assert after(8, 3, strides=(2,), ceil_mode=1) == 4
    assert after(10, 2, strides=(3,), ceil_mode=1, pads=(1, 1)) == 4
    assert after("h", 2, strides=(2,), ceil_mode=1) is None


def test_a_transposed_kernel_spreads() -> None:
    call = Call("ConvTranspose", {"strides": (2,)}, (TensorType(DType.F32, (1, 1, 5)),), (None,))
    (window,) = windows(call, [3])
    assert window.transposed_size(5, 0) == 11
    assert window.transposed_size("h", 1) == "2*h+2"


def test_an_axis_on_which_the_kernel_is_a_point_stays_the_same() -> None:
    call = Call("Conv", {"strides": (1, 2)}, (TensorType(DType.F32, (1, 1, 5, 6)),), (None,))
    assert spatial_axes((5, 6), windows(call, [1, 1])) == ("s0 s1!", "s0 t1!", {"t1": 3})


def test_what_does_not_fit() -> None:
    with pytest.raises(Unmatched, match="window attributes are not for 1 spatial axes"):
        after(7, 3, strides=(2, 2))
    call = Call("Conv", {}, (TensorType(DType.F32, (1, 1, 2)),), (None,))
    with pytest.raises(Unmatched, match="a kernel is larger than its input"):
        spatial_axes((2,), windows(call, [4]))
