"""What signatures say of indices, checked by execution.

An index of an axis influences only the indices tied to it; and a node that loses an index of a
label everywhere, refitted, computes what it computed before with zeros in that index's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import pytest
from op_catalogue import EXAMPLES
from op_examples import Arrays, Example, feeds, graph_of
from test_ops_shapes import executed

from slimc.analysis.shapes import Facts, call_of, infer
from slimc.ops import OPS
from slimc.ops.axes import Axis, BoundSignature

CLOSE = 1e-5  # f32 sums of a few dozen numbers around one, in another order
Axes = tuple[Axis, ...] | None


def sizes_of(bound: BoundSignature) -> dict[str, int]:
    return {name: size for name, size in bound.sizes.items() if isinstance(size, int)}


def names_of(axis: Axis) -> set[str]:
    return {label.name for term in axis for label in term}


def digits(axis: Axis, sizes: Mapping[str, int]) -> Iterator[dict[str, int]]:
    """Yield, for every position of an axis, the index that it has of each label."""
    for term in axis:
        for index in np.ndindex(*(sizes[label.name] for label in term)):
            yield {label.name: k for label, k in zip(term, index, strict=True)}


def standing_at(axis: Axis, name: str, index: int, sizes: Mapping[str, int]) -> np.ndarray:
    """Return, for every position of an axis, whether it stands at an index of a label."""
    return np.array([place.get(name) == index for place in digits(axis, sizes)], bool)


def tied(
    axes: Axes, name: str, index: int, sizes: Mapping[str, int], shape: tuple[int, ...]
) -> np.ndarray:
    """Return a mask of the elements that stand at an index of a label on every axis with it."""
    mask = np.ones(shape, bool)
    for k, axis in enumerate(axes or ()):
        if name in names_of(axis):
            hit = standing_at(axis, name, index, sizes)
            mask &= hit.reshape([-1 if j == k else 1 for j in range(len(shape))])
    return mask


def without(
    array: np.ndarray, axes: Axes, name: str, index: int, sizes: Mapping[str, int]
) -> np.ndarray:
    """Return an array without the positions that stand at an index of a label."""
    for k, axis in enumerate(axes or ()):
        array = np.compress(~standing_at(axis, name, index, sizes), array, axis=k)
    return array


def masked(
    array: np.ndarray, axes: Axes, name: str, index: int, sizes: Mapping[str, int]
) -> np.ndarray:
    """Return an array with zeros at the positions that stand at an index of a label."""
    made = array.copy()
    for k, axis in enumerate(axes or ()):
        if name in names_of(axis):
            hit = standing_at(axis, name, index, sizes)
            made[(slice(None),) * k + (hit,)] = np.zeros((), array.dtype)
    return made


def run(example: Example, arrays: Arrays, attrs: Mapping[str, object]) -> list[np.ndarray]:
    """Run the call on other arrays; the inferred types must be those of the results."""
    operands = tuple(
        o if o is None or o.array is None else replace(o, array=a)
        for o, a in zip_longest(example.operands, arrays)
    )
    graph = graph_of(replace(example, operands=operands), arrays, attrs)
    results, facts = executed(graph, feeds(graph, arrays)), infer(graph, OPS)
    assert [facts.shape(o) for o in graph.outputs] == [results[o].shape for o in graph.outputs]
    return [results[o] for o in graph.outputs]


def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind != "f":
        return np.asarray(a != b)
    return ~np.isclose(a, b, CLOSE, CLOSE, equal_nan=True)


def facts_of(example: Example) -> Facts:
    return infer(graph_of(example, example.arrays(), example.attrs), OPS)


DETERMINED = [e for e in EXAMPLES if not OPS.rows[e.kind].random and not e.dynamic]


@pytest.mark.parametrize("example", DETERMINED, ids=lambda e: e.id)
def test_an_index_influences_only_indices_tied_to_it(example: Example) -> None:
    arrays, bound = example.arrays(), facts_of(example).bounds["call"]
    sizes, labels = sizes_of(bound), bound.labels()
    before = run(example, arrays, example.attrs)
    for k, operand in enumerate(example.operands):
        array = arrays[k]
        if operand is None or operand.array is not None or array is None or not array.size:
            continue
        for place, axis in enumerate(bound.inputs[k] or ()):
            varied = list(arrays)
            last = (slice(None),) * place + (-1,)
            varied[k] = array.copy()
            varied[k][last] = operand.other(array[last])
            after = run(example, varied, example.attrs)
            for name, index in list(digits(axis, sizes))[-1].items():
                if labels[name].pinned or labels[name].soft or name == example.mixes:
                    continue
                for axes, old, new in zip(bound.outputs, before, after, strict=True):
                    loose = differ(old, new) & ~tied(axes, name, index, sizes, old.shape)
                    assert not loose.any(), f"label {name} of operand {k}"


def removable() -> Iterator[tuple[Example, str]]:
    """Yield the labels of examples that may lose an index: a node that reads sizes has none."""
    for example in DETERMINED:
        facts, row = facts_of(example), OPS.rows[example.kind]
        if "y0" in facts.values:
            continue
        bound = facts.bounds["call"]
        read = {name for axes in bound.inputs for axis in axes or () for name in names_of(axis)}
        for name, label in bound.labels().items():
            follows = name in read or row.refit is not None
            size = bound.sizes[name]
            if follows and isinstance(size, int) and size > 1 and not label.pinned:
                yield example, name


@pytest.mark.parametrize(
    ("example", "name"), [*removable()], ids=lambda v: v if isinstance(v, str) else v.id
)
def test_a_removed_index_is_a_masked_index(example: Example, name: str) -> None:
    arrays, row = example.arrays(), OPS.rows[example.kind]
    bound = facts_of(example).bounds["call"]
    sizes = sizes_of(bound)
    gone = sizes[name] - 1
    said = list(zip_longest(arrays, bound.inputs))
    smaller = [a if a is None else without(a, axes, name, gone, sizes) for a, axes in said]
    after = run(example, *refitted(example, bound, smaller, {**sizes, name: gone}))
    within = [name in {n for a in axes or () for n in names_of(a)} for axes in bound.outputs]
    if row.macs or not all(within):
        arrays = [a if a is None else masked(a, axes, name, gone, sizes) for a, axes in said]
    before = run(example, arrays, example.attrs)
    for old, new, axes in zip(before, after, bound.outputs, strict=True):
        expected = without(old, axes, name, gone, sizes)
        assert new.shape == expected.shape
        assert bound.labels()[name].soft or not differ(expected, new).any()


def refitted(
    example: Example, bound: BoundSignature, arrays: Arrays, after: Mapping[str, int]
) -> tuple[Arrays, Mapping[str, object]]:
    """Return operands and attributes as the row's refit wants them."""
    refit = OPS.rows[example.kind].refit
    if refit is None:
        return arrays, example.attrs
    graph = graph_of(example, example.arrays(), example.attrs)
    wanted = refit(call_of(graph, infer(graph, OPS), graph.nodes[0]), bound, after)
    made = arrays + [None] * (max(wanted.operands, default=-1) + 1 - len(arrays))
    for operand, elements in wanted.elements.items():
        for position, number in elements.items():
            changed = np.array(made[operand])
            changed.reshape(-1)[position] = number
            made[operand] = changed
    for operand, array in wanted.operands.items():
        made[operand] = array
    attrs = {**example.attrs, **wanted.attrs}
    return made, {k: v for k, v in attrs.items() if v is not None}
