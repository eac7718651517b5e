from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimc.ir import dims
from slimc.ir.types import Dim


@pytest.mark.parametrize(
    ("computed", "text"),
    [
        (dims.multiply(4, "h"), "4*h"),
        (dims.multiply("w", "h", 2), "2*h*w"),
        (dims.add("h", "h", -3), "2*h-3"),
        (dims.add("h", dims.multiply(-1, "h")), 0),
        (dims.floor_divide(dims.add(dims.multiply(2, "h"), 1), 2), "h"),
        (dims.add(dims.floor_divide("h-1", 2), 1), "(h+1)//2"),
        (dims.multiply(2, dims.floor_divide("h", 2)), "2*(h//2)"),
        (dims.ceil_divide("h", 2), "(h+1)//2"),
        (dims.divide("4*h", 2), "2*h"),
        (dims.divide("4*h*w", "2*w"), "2*h"),
        (dims.divide("h+1", "h+1"), 1),
        (dims.divide("h+1", 2), None),
        (dims.divide("h", "w"), None),
        (dims.subtract("h", "h-2"), 2),
        (dims.multiply("h", None), None),
        (dims.floor_divide(None, 2), None),
    ],
)
def test_computed_sizes(computed: Dim, text: Dim) -> None:
    assert computed == text


def test_spelling_does_not_matter() -> None:
    assert dims.are_equal("s0 + s1", "s1+s0")
    assert dims.are_equal("2*(h + 1)", "2*h+2")
    assert not dims.are_equal("h", "w")
    assert not dims.are_equal(None, None)


@pytest.mark.parametrize("name", ["batch/2", "max(a, b)", "DynamicDimension.0", "a b", "unk__3"])
def test_odd_names_stand_for_themselves(name: str) -> None:
    assert dims.add(name, 0) == name
    assert dims.evaluate(dims.multiply(3, name), {name: 5}) == 15


def test_names_of_a_computed_size() -> None:
    assert dims.collect_names("2*(h*w)//3+b-1") == ("b", "h", "w")
    assert dims.collect_names(4) == ()


sizes = st.recursive(
    st.sampled_from(["h", "w", "batch"]) | st.integers(-3, 9),
    lambda inner: st.one_of(
        st.tuples(st.just("+"), inner, inner),
        st.tuples(st.just("*"), inner, inner),
        st.tuples(st.just("//"), inner, st.integers(1, 5)),
    ),
    max_leaves=8,
)


def made(tree: object, numbers: dict[str, int], *, symbolic: bool) -> Dim:
    if isinstance(tree, str):
        return tree if symbolic else numbers[tree]
    if isinstance(tree, int):
        return tree
    assert isinstance(tree, tuple)
    operator, left, right = tree
    a, b = (made(t, numbers, symbolic=symbolic) for t in (left, right))
    if operator == "//":
        assert isinstance(b, int)
        return dims.floor_divide(a, b)
    return dims.add(a, b) if operator == "+" else dims.multiply(a, b)


@given(sizes, st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_evaluation_commutes_with_computation(tree: object, h: int, w: int, batch: int) -> None:
    numbers = {"h": h, "w": w, "batch": batch}
    symbol = made(tree, numbers, symbolic=True)
    assert dims.evaluate(symbol, numbers) == made(tree, numbers, symbolic=False)
    assert dims.add(symbol, 0) == symbol
