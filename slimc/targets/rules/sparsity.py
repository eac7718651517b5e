"""Rules on 2:4 weights, for runtimes that skip their zeros: what keeps them from sparse kernels.

Evidence: NVIDIA/TensorRT issues 3849, 4065 (channels), 4054 (groups), 4694 (Q/DQ); for DLA,
NVIDIA's guide, "DLA structured sparsity" (more than 64 channels).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from slimc.analysis.cost import macs
from slimc.analysis.shapes import Facts, default_sizes, infer
from slimc.analysis.sparsity import (
    CHANNELS,
    GROUP,
    crowded,
    input_axis,
    output_channels,
    separate_groups,
)
from slimc.ir.graph import Graph, Node
from slimc.ops.axes import labels_of
from slimc.ops.op import OpTable
from slimc.targets.contractions import contractions, dequantized
from slimc.targets.stored_numbers import stored_numbers
from slimc.targets.target import Finding, Subject, Target, TargetRule

DLA_CHANNELS = 65
HALF, MOST = 0.5, 0.75  # zeros of a weight made sparse; those that pick or add channels have more


@dataclass(frozen=True)
class SparseWeight:
    """The weight of a contraction as its kernel gets it, behind DQ and what moves elements.

    zeros: their share; crowded: groups of four input channels with more than two numbers other than
    zero, of `fours`, None where channels are no multiple of four.
    """

    node: Node
    zeros: float
    crowded: int | None
    fours: int
    groups: int
    ins: int
    outs: int

    @property
    def is_sparse(self) -> bool:
        """Tell whether it is 2:4."""
        return self.crowded == 0

    @property
    def is_meant(self) -> bool:
        """Tell whether someone made it sparse, by the share of zeros."""
        return HALF <= self.zeros < MOST


def sparse_weights(graph: Graph, ops: OpTable, facts: Facts) -> Iterator[SparseWeight]:
    """Yield the constant weights of contractions whose axes are known."""
    for node, parts in contractions(graph, ops):
        bound = facts.bounds.get(node.name)
        if bound is None:
            continue
        data, weight = bound.inputs[parts.data], bound.inputs[parts.weight]
        axis = input_axis(weight, labels_of(data) - labels_of(bound.outputs[0]))
        array = None if axis is None else stored_numbers(graph, node.inputs[parts.weight])
        if axis is None or array is None or array.ndim <= axis or not array.size:
            continue
        ins = array.shape[axis]
        yield SparseWeight(
            node,
            1 - np.count_nonzero(array) / array.size,
            None if ins % GROUP else crowded(array, axis),
            array.size // GROUP,
            separate_groups(bound, parts),
            ins,
            output_channels(bound, parts),
        )


@dataclass(frozen=True)
class Sparsity:
    """How many contractions there are, and of how many the weights are 2:4, with their MACs."""

    contractions: int
    sparse: tuple[str, ...]
    macs_share: float

    def __str__(self) -> str:
        share = f"{100 * self.macs_share:.3g} % of their MACs"
        return f"{len(self.sparse)} of {self.contractions} contractions are 2:4: {share}"


def sparsity(graph: Graph, ops: OpTable, found: Iterable[SparseWeight]) -> Sparsity:
    """Count the 2:4 weights of contractions that are no grouped ones."""
    every = [node.name for node, _ in contractions(graph, ops)]
    sparse = tuple(one.node.name for one in found if one.is_sparse and one.groups == 1)
    known = macs(graph, ops, infer(graph, ops, default_sizes(graph))) if sparse else {}
    total = sum(known.get(name, 0) for name in every)
    share = sum(known.get(name, 0) for name in sparse) / total if total else 0.0
    return Sparsity(len(every), sparse, share)


def _check(channels: int, subject: Subject) -> Iterator[Finding]:
    """Say why weights of which half is zero run dense, and how many run sparse."""
    graph, ops = subject.graph, subject.ops
    if not subject.target.sparsity:
        return
    found = list(sparse_weights(graph, ops, subject.facts))
    for one in found:
        why = _dense(one, channels, subject.target)
        if why and one.is_meant:
            share = f"{100 * one.zeros:.3g} % of its weights are zero"
            yield Finding("perf", one.node.name, f"{share}, but {why}: its kernel is dense")
    counted = sparsity(graph, ops, found)
    if not counted.sparse:
        return
    yield Finding("info", "", str(counted), "add --sparsity=enable to the arguments of trtexec")
    quantized = sum(
        node.name in counted.sparse and dequantized(graph, node.inputs[parts.data]) is not None
        for node, parts in contractions(graph, ops)
    )
    if quantized:
        message = f"{quantized} of the 2:4 contractions have Q/DQ: TensorRT 8.6 chose dense kernels"
        yield Finding("perf", "", message, "compare trtexec with and without --sparsity=enable")


def _dense(one: SparseWeight, channels: int, target: Target) -> str:
    """Return why a weight gains nothing from its zeros, "" where it may."""
    if one.node.kind not in target.sparsity:
        return f"there are no sparse kernels of {one.node.kind}"
    if one.groups > 1:
        return f"its {one.groups} groups have kernels of their own, which are dense"
    if one.crowded is None:
        return f"its {one.ins} input channels are no multiple of {GROUP}"
    if one.crowded:
        return f"{one.crowded} of {one.fours} groups of four input channels hold more than two"
    if min(one.ins, one.outs) < channels:
        few = f"{one.ins} input and {one.outs} output channels"
        return f"{few} are too few: sparse kernels are faster from about {channels}"
    return ""


_NAME, _SUMMARY = (
    "sparse-kernels",
    "weights that are half zero are 2:4, of layers with such kernels",
)
SPARSE_KERNELS = TargetRule("L41", _NAME, _SUMMARY, partial(_check, CHANNELS))
DLA_SPARSE_KERNELS = TargetRule("L41", _NAME, _SUMMARY, partial(_check, DLA_CHANNELS))
