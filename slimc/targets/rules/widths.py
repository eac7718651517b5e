"""Advice on speed that several runtimes share. Nothing here makes a file invalid."""

from __future__ import annotations

from collections.abc import Iterator

from slimc.ir.types import DType
from slimc.targets.contractions import contractions, integer_contractions
from slimc.targets.fixes.file import fold_normalisations
from slimc.targets.target import Finding, Subject, TargetRule

_NAMED = 3  # nodes that a finding on many names


def aligned_channels(subject: Subject) -> Iterator[Finding]:
    """Count contractions whose results have a number of channels that kernels must pad."""
    graph, ops, target = subject.graph, subject.ops, subject.target
    integer = {node.name for node, _ in integer_contractions(graph, ops)}
    odd = []
    every = list(contractions(graph, ops))
    for node, _ in every:
        multiple = target.align_integer if node.name in integer else target.align_float
        shape = graph.shape_of(node.outputs[0])
        if not shape:
            continue
        spatial = (graph.rank_of(node.inputs[1]) or 0) > 2
        channels = shape[1] if spatial else shape[-1]
        if isinstance(channels, int) and channels % multiple:
            odd.append((node.name, channels, multiple))
    if odd:
        shown = ", ".join(f"'{name}' {channels}" for name, channels, _ in odd[:_NAMED])
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        multiples = " or ".join(str(m) for m in sorted({m for _, _, m in odd}))
        message = (
            f"the channels of {len(odd)} of {len(every)} contractions are no multiple of "
            f"{multiples} and are padded: {shown}{more}"
        )
        yield Finding("perf", "", message)


def folded_normalisation(subject: Subject) -> Iterator[Finding]:
    """Find normalisations by constants that stand behind a contraction alone."""
    graph, ops = subject.graph, subject.ops
    made = {node.outputs[0] for node, _ in contractions(graph, ops)}
    for node in graph.nodes:
        if node.kind != "BatchNormalization" or node.inputs[0] not in made:
            continue
        if len(graph.users[node.inputs[0]]) == 1:
            message = "it could be folded into the contraction before it"
            yield Finding("perf", node.name, message)


def stored_float16(subject: Subject) -> Iterator[Finding]:
    """Say where a runtime computes in f32 what the file holds in f16."""
    graph, target = subject.graph, subject.target
    half = [v for v in graph.types if graph.dtype_of(v) is DType.F16]
    half += [v for v, constant in graph.constants.items() if constant.dtype is DType.F16]
    if half:
        message = (
            f"{len(half)} values are f16: {target.name} computes in f32 and casts around every "
            "operator, so f16 only makes the file smaller"
        )
        yield Finding("perf", "", message)


FOLDED = TargetRule(
    "L31",
    "folded-normalisation",
    "no BatchNormalization is left",
    folded_normalisation,
    fold_normalisations,
)
