"""How much a unit matters, comparable between families: the mean over a family is 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from slimc.analysis.channels import Coupling, labels_of
from slimc.analysis.families import Family
from slimc.analysis.index_space import Place
from slimc.analysis.removal_cost import constant_uses
from slimc.ir.graph import Node

Score = Literal["magnitude", "magnitude-l1", "random"]


def scores(
    coupling: Coupling, families: Sequence[Family], score: Score, seed: int
) -> tuple[np.ndarray, ...]:
    """Return, per family, the score of every unit.

    magnitude: the L2 norm of the weights that make the unit times that of the weights that read it
    (magnitude-l1: L1), each per weight constant relative to the mean over the family, and averaged
    over the constants on each side. The product, because what a unit adds to its readers scales
    with both.
    Source: Li et al., ICLR 2017, section 3.1; grouped as in Fang et al., CVPR 2023, section 3.3.
    random: uniform in 0..2, by `seed`.
    """
    if score == "random":
        return tuple(
            np.random.default_rng([seed, number]).uniform(0, 2, family.width)
            for number, family in enumerate(families)
        )
    return _magnitudes(coupling, families, _NORMS[score])


def _squares(array: np.ndarray, axis: int) -> np.ndarray:
    flat = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    squares: np.ndarray = np.einsum("ij,ij->i", flat, flat)
    return squares


def _absolutes(array: np.ndarray, axis: int) -> np.ndarray:
    flat = np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1).astype(np.float64)
    absolutes: np.ndarray = np.abs(flat).sum(axis=1)
    return absolutes


Norm = tuple[Callable[[np.ndarray, int], np.ndarray], Callable[[np.ndarray], np.ndarray]]

_NORMS: Mapping[str, Norm] = {
    "magnitude": (_squares, np.sqrt),
    "magnitude-l1": (_absolutes, np.abs),
}


def _magnitudes(
    coupling: Coupling, families: Sequence[Family], norm: Norm
) -> tuple[np.ndarray, ...]:
    measure, finish = norm
    position = np.zeros(len(coupling.pinned), np.int64)
    for family in families:
        position[family.units] = np.arange(family.width)
    at = _families_at(families)
    found: list[dict[bool, list[np.ndarray]]] = [{True: [], False: []} for _ in families]
    for node, operand, value in constant_uses(coupling):
        if not _is_weight(coupling, node, operand):
            continue
        array = coupling.graph.constants[value].array
        for axis in range(array.ndim):
            place = coupling.axis(node, operand, axis)
            if place not in at:
                continue
            sums, units = measure(array, axis), coupling.units_at(place)
            for number in at[place]:
                own = np.isin(units, families[number].units)
                slices = np.bincount(position[units[own]], sums[own], families[number].width)
                reads = _is_summed(coupling, node, operand, axis)
                found[number][reads].append(_relative(finish(slices)))
    return tuple(
        _relative(_mean(sides[False], family) * _mean(sides[True], family))
        for sides, family in zip(found, families, strict=True)
    )


def _families_at(families: Sequence[Family]) -> dict[Place, list[int]]:
    found: dict[Place, list[int]] = {}
    for number, family in enumerate(families):
        for member in family.members:
            found.setdefault(member.place, []).append(number)
    return found


def _is_weight(coupling: Coupling, node: Node, operand: int) -> bool:
    """Tell whether a constant operand is multiplied with in a contraction (a bias is not)."""
    row = coupling.ops.get(node.kind)
    if row is None or coupling.bound_of(node) is None:
        return False
    if row.weighted is not None:
        return operand == row.weighted.weight
    return any(operand in group for group in row.macs)


def _is_summed(coupling: Coupling, node: Node, operand: int, axis: int) -> bool:
    """Tell whether a contraction sums over an axis of its weight: it reads those channels."""
    bound = coupling.facts.bounds[node.name]
    axes = bound.inputs[operand] or ()
    return any(name not in labels_of(bound.outputs) for name in labels_of(((axes[axis],),)))


def _mean(norms: Sequence[np.ndarray], family: Family) -> np.ndarray:
    return np.mean(norms, axis=0) if norms else np.ones(family.width)


def _relative(norms: np.ndarray) -> np.ndarray:
    mean = float(norms.mean())
    relative: np.ndarray = norms / mean if mean > 0 else np.ones_like(norms)
    return relative
