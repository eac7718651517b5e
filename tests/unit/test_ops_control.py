from __future__ import annotations

from slimc.ir.types import DType, TensorType
from slimc.ops.control import RESULTS_OF
from slimc.ops.op import Call


def f(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


STEPS, GO = TensorType(DType.I64, ()), TensorType(DType.BOOL, ())


def text(kind: str, results: int, *types: TensorType | None, **attrs: object) -> str:
    rule = RESULTS_OF[kind].axes
    assert callable(rule)
    made = rule(Call("results", attrs, types, (None,) * len(types), results))
    assert isinstance(made, str)
    return made


def test_branches_of_one_shape_are_tied_to_the_result() -> None:
    assert text("If", 1, GO, f(2, 8), f(2, 8)) == ", r0_0 r0_1, r0_0 r0_1 -> r0_0 r0_1"


def test_nothing_is_said_of_branches_of_unlike_shapes() -> None:
    assert text("If", 2, GO, f(2), f(), f(3), f()) == ", , [], , [] -> , []"


def test_carried_values_have_the_same_axes_at_every_end_and_stacked_ones_none() -> None:
    ends = text("Loop", 2, STEPS, None, f(4), STEPS, GO, f(4), GO, f(4), f(4, 3))
    assert ends == ", , r0_0, , , r0_0, , r0_0,  -> r0_0, "


def test_a_slice_has_the_axes_of_what_is_scanned_but_one() -> None:
    shapes = (f(8), f(2, 5, 8), f(8), f(2, 8), f(8), f(3))
    ends = text("Scan", 2, *shapes, num_scan_inputs=1, scan_input_axes=(1,))
    assert ends == "r0_0, s0_0 step! s0_1, r0_0, s0_0 s0_1, r0_0,  -> r0_0, "


def test_axes_of_a_scan_count_from_the_end_too() -> None:
    shapes = (f(8), f(2, 8, 5), f(8), f(2, 8), f(8))
    ends = text("Scan", 1, *shapes, num_scan_inputs=1, scan_input_axes=(-1,))
    assert ends == "r0_0, s0_0 s0_1 step!, r0_0, s0_0 s0_1, r0_0 -> r0_0"
