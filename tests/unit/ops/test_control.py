from __future__ import annotations

import numpy as np

from slimc.ir.types import DType, TensorType
from slimc.ops.control import ENDS, OPEN_OPS
from slimc.ops.op import Call


def f(*shape: int) -> TensorType:
    return TensorType(DType.F32, shape)


STEPS, GO = TensorType(DType.I64, ()), TensorType(DType.BOOL, ())


def text(
    kind: str, results: int, ends: tuple[int, ...], *types: TensorType | None, **attrs: object
) -> str:
    rule = OPEN_OPS[kind].axes
    assert callable(rule)
    values = (np.array(4), *(None,) * (len(types) - 1)) if kind == "Loop" else (None,) * len(types)
    made = rule(Call("results", {ENDS: ends, **attrs}, types, values, results))
    return made if isinstance(made, str) else made[0]


def test_branches_of_one_shape_are_tied_to_the_result() -> None:
    made = text("If", 1, (1, 1, 1), GO, f(2, 8), f(2, 8))
    assert made == ", r0_0 r0_1, r0_0 r0_1 -> r0_0 r0_1"


def test_nothing_is_said_of_branches_of_unlike_shapes() -> None:
    assert text("If", 2, (1, 2, 2), GO, f(2), f(), f(3), f()) == ", , [], , [] -> , []"


def test_results_at_the_end_may_be_absent() -> None:
    assert text("If", 1, (1, 2, 2), GO, f(2), f(3), f(2), f(3)) == (
        ", r0_0, r1_0, r0_0, r1_0 -> r0_0"
    )


LOOP = (STEPS, None, f(4), STEPS, GO, f(4), GO, f(4), f(4, 3))


def test_carried_values_have_the_same_axes_at_every_end() -> None:
    ends = text("Loop", 2, (3, 3), *LOOP)
    assert ends == ", , r0_0, , , r0_0, , r0_0, r1_0 r1_1 -> r0_0, step! r1_0 r1_1"


def test_nothing_is_said_of_what_an_unknown_number_of_steps_stacks() -> None:
    ends = text("Loop", 2, (3, 3), STEPS, GO, *LOOP[2:])
    assert ends == ", , r0_0, , , r0_0, , r0_0,  -> r0_0, "


SHAPES = (f(8), f(2, 5, 8), f(8), f(2, 8), f(8), f(3))


def test_a_slice_has_the_axes_of_what_is_scanned_but_one() -> None:
    ends = text("Scan", 2, (2, 2), *SHAPES, num_scan_inputs=1, scan_input_axes=(1,))
    assert ends == "r0_0, s1_0 step! s1_1, r0_0, s1_0 s1_1, r0_0, r1_0 -> r0_0, step! r1_0"


def test_axes_of_a_scan_count_from_the_end_too() -> None:
    shapes = (f(8), f(2, 8, 5), *SHAPES[2:])
    ends = text(
        "Scan", 2, (2, 2), *shapes,
        num_scan_inputs=1, scan_input_axes=(-1,), scan_output_axes=(-1,),
    )  # fmt: skip
    assert ends == "r0_0, s1_0 s1_1 step!, r0_0, s1_0 s1_1, r0_0, r1_0 -> r0_0, r1_0 step!"
