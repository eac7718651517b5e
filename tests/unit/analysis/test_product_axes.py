from __future__ import annotations

import numpy as np

from slimc.analysis.index_space import AxisOf, IndexSpace, LabelOf
from slimc.analysis.product_axes import Product, resolve

AXIS = AxisOf("v", 0)
HEADS, WIDTH = LabelOf("split", "h"), LabelOf("split", "d")


def product_of(heads: int, width: int) -> tuple[IndexSpace, Product]:
    """Return an axis that is heads x width, both free, and the product that says so."""
    space = IndexSpace()
    space.add(AXIS, heads * width)
    space.add(HEADS, heads)
    space.add(WIDTH, width)
    made = Product(space.start[AXIS], (HEADS, WIDTH), (heads, width), (0, 1), "'split' (Reshape)")
    return space, made


def pinned(space: IndexSpace, place: AxisOf | LabelOf) -> list[bool]:
    unit = space.solve()
    return [bool(p) for p in space.pinned_units(unit)[unit[space.of(place)]]]


def test_the_larger_factor_is_chosen_for_it_cuts_in_finer_steps() -> None:
    space, product = product_of(2, 3)
    resolve(space, [product])
    unit = space.solve()
    assert unit[space.of(AXIS)].tolist() == [*unit[space.of(WIDTH)].tolist()] * 2
    assert pinned(space, HEADS) == [True, True]
    assert pinned(space, WIDTH) == [False] * 3


def test_a_pinned_factor_leaves_the_other_one() -> None:
    space, product = product_of(2, 3)
    space.pin(space.of(WIDTH), "because")
    resolve(space, [product])
    unit = space.solve()
    heads = unit[space.of(HEADS)].tolist()
    assert unit[space.of(AXIS)].tolist() == [heads[0]] * 3 + [heads[1]] * 3
    assert pinned(space, HEADS) == [False, False]


def test_a_factor_of_which_some_indices_are_free_is_alive() -> None:
    space, product = product_of(2, 3)
    space.pin(space.of(WIDTH)[:1], "because")
    space.pin(space.of(HEADS), "because")
    resolve(space, [product])
    assert pinned(space, WIDTH) == [True, False, False]
    assert pinned(space, AXIS) == [True, False, False] * 2


def test_without_a_free_factor_the_whole_axis_stays_and_says_why() -> None:
    space, product = product_of(2, 3)
    space.pin(space.of(WIDTH), "because")
    space.pin(space.of(HEADS), "because")
    resolve(space, [product])
    assert all(pinned(space, AXIS))
    assert "'split' (Reshape), which needs whole rows of it" in space.reasons


def test_a_factor_without_statistics_goes_first() -> None:
    space, product = product_of(2, 3)
    space.soften(space.of(WIDTH), "statistics")
    resolve(space, [product])
    assert pinned(space, HEADS) == [False, False]
    assert pinned(space, WIDTH) == [True] * 3


def test_products_of_one_node_are_cut_along_one_factor() -> None:
    space, first = product_of(2, 3)
    other = AxisOf("w", 0)
    space.add(other, 6)
    second = Product(space.start[other], first.labels, first.extents, first.free, first.node)
    resolve(space, [first, second])
    unit = space.solve()
    np.testing.assert_array_equal(unit[space.of(AXIS)], unit[space.of(other)])


def test_a_choice_can_force_another_product() -> None:
    """The second product shares its width with the heads of the first, which the choice pins."""
    space, first = product_of(2, 3)
    other, rows, columns = AxisOf("w", 0), LabelOf("next", "r"), LabelOf("next", "c")
    space.add(other, 10)
    space.add(rows, 5)
    space.add(columns, 2)
    space.tie(space.of(columns), space.of(HEADS))
    second = Product(space.start[other], (rows, columns), (5, 2), (0, 1), "'next' (Reshape)")
    resolve(space, [first, second])
    assert pinned(space, columns) == [True, True]
    assert pinned(space, rows) == [False] * 5


def test_the_reason_names_the_factor_that_is_cut() -> None:
    space, product = product_of(2, 3)
    resolve(space, [product])
    reason = space.reasons[space.reason_at()[space.start[HEADS]]]
    assert reason == "'split' (Reshape), where the other factor 'd' of the axis is cut"
