from __future__ import annotations

import numpy as np

from slimc.analysis.index_space import AxisOf, IndexSpace


def three() -> tuple[IndexSpace, list[AxisOf]]:
    space, places = IndexSpace(), [AxisOf(name, 0) for name in "abc"]
    for place in places:
        space.add(place, 3)
    return space, places


def test_ties_make_units_numbered_by_first_index() -> None:
    space, (a, b, c) = three()
    space.tie(space.of(a), space.of(c))
    assert space.solve().tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2]
    assert space.solve()[space.of(b)].tolist() == [3, 4, 5]


def test_a_pin_holds_its_whole_unit() -> None:
    space, (a, _, c) = three()
    space.tie(space.of(a), space.of(c))
    space.pin(space.of(c)[:1], "because")
    unit = space.solve()
    assert space.pinned_units(unit)[unit[space.of(a)]].tolist() == [True, False, False]


def test_the_way_to_a_pin_is_a_shortest_one() -> None:
    space, (a, b, c) = three()
    space.tie(space.of(a), space.of(b))
    space.tie(space.of(b), space.of(c))
    space.pin(space.of(c), "because")
    following = space.toward(space.reason_at() >= 0)
    assert following[[0, 3, 6]].tolist() == [3, 6, 6]


def test_what_reaches_no_pin_has_no_way() -> None:
    space, (_, _, c) = three()
    space.pin(space.of(c), "because")
    assert space.toward(space.reason_at() >= 0)[:6].tolist() == [-1] * 6


def test_a_tie_repeated_many_times_is_a_tie() -> None:
    space, (a, b, _) = three()
    for _ in range(256):
        space.tie(space.of(a), space.of(b))
    assert np.array_equal(space.solve()[:3], space.solve()[3:6])


def test_the_first_reason_is_told() -> None:
    space, (a, _, _) = three()
    space.pin(space.of(a), "first")
    space.pin(space.of(a), "second")
    assert space.reasons[space.reason_at()[0]] == "first"
