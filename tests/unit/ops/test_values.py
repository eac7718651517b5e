from __future__ import annotations

import numpy as np
import pytest

from slimc.ir.types import DType, TensorType
from slimc.ops import OPS
from slimc.ops.op import Call

Elements = list[int | str | None]


def result(op: str, *operands: Elements | int, **attrs: object) -> list[object]:
    arrays = [np.array(o, object) if isinstance(o, list) else np.array(o) for o in operands]
    tidy = [a.astype(np.int64) if all(isinstance(v, int) for v in a.ravel()) else a for a in arrays]
    types = tuple(TensorType(DType.I64, a.shape) for a in tidy)
    (made,) = OPS.rows[op].elements(Call(op, attrs, types, tuple(tidy)))
    assert made is not None
    found: list[object] = made.tolist()
    return found


@pytest.mark.parametrize(
    ("op", "operands", "expected"),
    [
        ("Add", ([1, "h", None], [1, 1, 1]), [2, "h+1", None]),
        ("Sub", (["h", "h"], ["h", 1]), [0, "h-1"]),
        ("Mul", (["h", "h", None], [2, 0, 0]), ["2*h", 0, 0]),
        ("Div", (["4*h", "h", -7], [2, 2, 2]), ["2*h", "h//2", -3]),
        ("Mod", (["2*h", "h", -7], [2, 2, 4]), [0, "h-2*(h//2)", 1]),
        ("Equal", (["h", "h", "h"], ["h", -1, 3]), [True, False, None]),
        ("Neg", (["h", 2],), ["-h", -2]),
        ("Max", ([1, "h"], [3, 2]), [3, None]),
        ("Squeeze", (["h"], [0]), "h"),
        ("Gather", (["n", 3, "h"], [2, 0]), ["h", "n"]),
        ("ReduceProd", (["n", 3, 2], [0]), ["6*n"]),
        ("Reshape", (["n", 3], [2, 1]), [["n"], [3]]),
        ("Slice", ([1, "h", 3], [1], [3]), ["h", 3]),
        ("Slice", ([1, 2, 3], [-1], [-4], [0], [-1]), [3, 2, 1]),
        ("Range", (1, 7, 2), [1, 3, 5]),
        ("Expand", ([1], [3]), [1, 1, 1]),
    ],
)
def test_shape_arithmetic(op: str, operands: tuple[Elements | int, ...], expected: object) -> None:
    assert result(op, *operands) == expected


def test_shapes_are_joined_and_cut() -> None:
    assert result("Concat", ["n"], [3, "h"], axis=0) == ["n", 3, "h"]
    kind = TensorType(DType.F32, ("n", 3, 4))
    (sizes,) = OPS.rows["Shape"].elements(Call("Shape", {"start": -3, "end": -1}, (kind,), (None,)))
    assert sizes is not None
    assert sizes.tolist() == ["n", 3]
    (size,) = OPS.rows["Size"].elements(Call("Size", {}, (kind,), (None,)))
    assert size is not None
    assert size.item() == "12*n"


def test_long_arrays_are_left_alone() -> None:
    long = np.zeros(2000, np.int64)
    kind = TensorType(DType.I64, long.shape)
    assert OPS.rows["Neg"].elements(Call("Neg", {}, (kind,), (long,))) == (None,)


def test_texts_are_no_names_of_sizes() -> None:
    texts = np.array(["a", "b"], object)
    call = Call("Identity", {}, (TensorType(DType.STRING, (2,)),), (texts,))
    assert OPS.rows["Identity"].elements(call) == (None,)
