from __future__ import annotations

import pytest

from slimc.ir.types import Dim
from slimc.ops.axes import BoundSignature, Unmatched, bind, labels_of, parse


def laid(
    text: str, *shapes: tuple[Dim, ...] | None, results: int = 1, **given: Dim
) -> BoundSignature:
    return bind(parse(text), shapes, results, given)


def test_sizes_and_shapes_follow_from_the_operands() -> None:
    bound = laid(
        "n (g i) *s!, (g o) i *k! -> n (g o) *t!", (2, 8, 5, 5), (6, 4, 3, 3), g=2, t0=3, t1=3
    )
    assert bound.sizes == {
        "n": 2, "g": 2, "i": 4, "o": 3, "s0": 5, "s1": 5, "k0": 3, "k1": 3, "t0": 3, "t1": 3
    }  # fmt: skip
    assert bound.output_shapes() == ((2, 6, 3, 3),)
    assert {name for name, label in bound.labels().items() if label.pinned} == {
        "s0", "s1", "k0", "k1", "t0", "t1"
    }  # fmt: skip


def test_concatenation_and_scalars() -> None:
    assert laid("a, b -> a+b", (3,), (4,)).output_shapes() == ((7,),)
    assert laid("a+b -> a, b", (7,), results=2, a=3).output_shapes() == ((3,), (4,))
    assert laid("[] -> []", ()).output_shapes() == ((),)
    assert laid("(a b)+c -> a", (7,), b=2, c=1).output_shapes() == ((3,),)


def test_axes_of_size_one() -> None:
    assert laid("n c *s -> n c *1", (2, 3, 4, 5)).output_shapes() == ((2, 3, 1, 1),)
    with pytest.raises(Unmatched, match="an axis of size 2, but its signature gives 1"):
        laid("1 a -> a", (2, 3))


def test_names_are_sizes_too_and_a_number_takes_the_place_of_a_name() -> None:
    assert laid("a (b c) -> a b c", ("n", "2*h"), c=2).output_shapes() == (("n", "h", 2),)
    assert laid("a b, a b -> a b", ("n", "h"), ("n", 5)).output_shapes() == (("n", 5),)
    assert laid("a+b -> b", ("h",), a=1).output_shapes() == (("h-1",),)


def test_what_is_not_known_stays_unknown() -> None:
    assert laid("a b -> a b c", (2, None)).output_shapes() == ((2, None, None),)
    assert laid("a -> *t", (2,)).output_shapes() == (None,)
    assert laid(", a -> ", (5,), (2,)).inputs[0] is None
    assert laid("a, b? -> a", (2,), None).inputs[1] is None


def test_operands_that_do_not_fit_say_why() -> None:
    with pytest.raises(Unmatched, match="an axis of size 4, but its signature gives 3"):
        laid("a, a -> a", (3,), (4,))
    with pytest.raises(Unmatched, match="an axis of size 5 is not a multiple of 2"):
        laid("(a b) -> a", (5,), b=2)
    with pytest.raises(Unmatched, match="rank 2, but its signature has 1 axes"):
        laid("a -> a", (5, 2))
    with pytest.raises(Unmatched, match="rank 1 is too small"):
        laid("n c *s -> n", (5,))
    with pytest.raises(Unmatched, match="2 operands, but its signature has 1"):
        laid("a -> a", (5,), (5,))


@pytest.mark.parametrize("text", ["a, b", "a ( -> b", "a2+ -> b", "*s! 2x -> a"])
def test_texts_that_are_no_signatures(text: str) -> None:
    with pytest.raises(ValueError, match=r"signature|cannot parse"):
        parse(text)


def test_marks_hold_for_a_label_wherever_it_stands() -> None:
    labels = laid("a! b~, a b -> a b", (2, 3), (2, 3)).labels()
    assert labels["a"].pinned
    assert not labels["a"].soft
    assert labels["b"].soft


def test_labels_are_a_set_in_their_order() -> None:
    (first, second), _ = bind(parse("(g i) *k, o i? -> o"), [(6, 3), None], 1, {"i": 3}).inputs, 0
    assert list(labels_of(first, second)) == ["g", "i", "k0"]
    assert labels_of(first) & {"i", "o"} == {"i"}
    assert not labels_of(None)
