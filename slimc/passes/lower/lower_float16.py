"""Lower a graph to floats of 16 bits, f16 or bf16, inside; its inputs and outputs stay f32."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Literal

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.execute.ort import Session
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node, is_f32
from slimc.ir.types import DType, TensorType
from slimc.ops.op import Quant
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.lower.float16_guards import Guards
from slimc.passes.lower.float_casts import Borders
from slimc.passes.schemes import AUTO, Scheme, check_mixed, float_types
from slimc.remarks import Remark, note, skipped

SAMPLES = 64  # that magnitudes are measured on


@dataclass(frozen=True)
class LowerFloat16(Pass):
    """Let every node compute in f16 or bf16 that can, with a Cast where types meet.

    In f32 stay: nodes whose operators take no such floats; nodes where a value is larger than
    `data_max` on the samples; of f16, constants beyond 65504 or wholly below 6.1e-5, and sums that
    may overflow; exponentials of large numbers; nodes with bodies; and what is not finite any more
    when the samples run through the lowered graph. Constants below 6e-8 become that. Values that
    become integers take their records along.
    Source: NVIDIA Model-Optimizer, modelopt/onnx/autocast.
    """

    name: ClassVar[str] = "lower-float16"
    promise: ClassVar[Promise] = "approximate"

    scheme: Scheme = option(
        AUTO, "fp16 or bf16: what all nodes compute in; of integers: see `rest`; auto: the target's"
    )
    rest: Literal["auto", "fp32", "fp16", "bf16"] = option(
        "auto", "what computes where the scheme is of integers; auto: what the target prefers"
    )
    mixed: tuple[str, ...] = option(
        (), 'other floats for some nodes: "pattern=fp16", or "=fp32"; the last match counts'
    )
    keep: tuple[str, ...] = option((), "nodes to leave in f32 (names, with * and ?)")
    data_max: float = option(
        512.0, "largest magnitude of a value, on the samples, in 16 bits", above=0
    )
    depth_max: int = option(
        0, "terms of the longest sum that 16 bits take: 0: any, kernels add in f32", least=0
    )
    io: Literal["f32", "f16", "bf16"] = option("f32", "type of the graph's inputs and outputs")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_mixed(self.mixed, self.name)

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Raise SlimcError: scheme-unsupported, bad-option-value, unknown-node."""
        types = float_types(
            graph, ctx.target, self.scheme, self.rest, self.mixed, self.keep, self.name
        )
        ends = DType.of_text(self.io)
        if ends not in ctx.target.floats:
            raise SlimcError(
                "scheme-unsupported",
                f"target {ctx.target.name} computes in "
                f"{', '.join(dtype.text for dtype in ctx.target.floats)}, not in {self.io}",
                f"option io of pass {self.name}",
                "leave io out",
            )
        if not types and ends is DType.F32:
            return PassResult(graph)
        data = ctx.data.first_samples(SAMPLES)
        measured = self._measured(graph, data)
        facts = infer(graph, ctx.ops, ctx.sizes)
        guards = Guards(graph, ctx, facts, measured, self.data_max, self.depth_max)
        reasons = {
            node.name: reason
            for node in graph.nodes
            if (reason := _reason(guards, node, types)) is not None
        }
        kinds = {name: dtype for name, dtype in types.items() if name not in reasons}
        reasons |= _drop_stranded(graph, ctx, kinds)
        lowered = _lower_finite(graph, ctx, kinds, ends, reasons, measured)
        return PassResult(lowered, _remarks(graph, lowered, kinds, reasons, ctx.data))

    def _measured(self, graph: Graph, data: Data) -> Mapping[str, float]:
        results = [v for node in graph.nodes for v in node.outputs]
        values = [v for v in (*graph.inputs, *results) if is_f32(graph, v)]
        return magnitudes(graph, data, values)


def _reason(guards: Guards, node: Node, types: Mapping[str, DType]) -> str | None:
    """Say why a node that has to do with f32 stays in it."""
    if not any(is_f32(guards.graph, v) for v in (*node.reads, *node.outputs)):
        return None
    if node.name not in types:
        return "kept by option"
    return guards.reason(node, types[node.name])


def _drop_stranded(graph: Graph, ctx: Context, kinds: dict[str, DType]) -> dict[str, str]:
    """Leave in f32 what only moves elements from nodes in f32 to nodes in f32: it saves two Casts.

    Takes them out of `kinds`.
    """
    reasons: dict[str, str] = {}
    for node in graph.nodes:
        if node.name not in kinds or ctx.ops.quant(node) is not Quant.PASS_THROUGH:
            continue
        makers = [graph.producers.get(v) for v in node.inputs if v not in graph.constants]
        floats = [m for m in makers if m is None or any(is_f32(graph, v) for v in m.outputs)]
        readers = [user for v in node.outputs for user in graph.users.get(v, ())]
        single = all(m is None or m.name not in kinds for m in floats)
        if single and not any(user.name in kinds for user in readers):
            reasons[node.name] = "it moves elements between nodes in f32"
            del kinds[node.name]
    return reasons


def _lower_finite(
    graph: Graph,
    ctx: Context,
    kinds: dict[str, DType],
    ends: DType,
    reasons: dict[str, str],
    measured: Mapping[str, float],
) -> Graph:
    """Lower, run the samples, and leave in f32 what makes infinity or NaN of finite numbers.

    A node in f32 that does so reads what 16 bits have lost: the nodes before it stay in f32 too.
    """
    data = ctx.data.first_samples(SAMPLES)
    while True:
        borders = Borders(graph, ctx.ops, kinds, ends)
        lowered = borders.lower()
        names = {v: borders.native.get(v, v) for v, most in measured.items() if most < inf}
        largest = magnitudes(lowered, data, names.values())
        lost = {v for v, name in names.items() if largest[name] == inf}
        guilty = {
            name: value
            for node in graph.nodes
            if not lost.intersection(node.reads)
            for value in node.outputs
            if value in lost
            for name in _lowered_before(graph, node, kinds)
        }
        if not guilty:
            return lowered
        for name, value in guilty.items():
            reasons[name] = f"'{value}' is not finite on the samples in {kinds.pop(name).text}"


def _lowered_before(graph: Graph, node: Node, kinds: Mapping[str, DType]) -> list[str]:
    """Return a node that is lowered, or else the nearest such nodes that it depends on."""
    pending, seen, names = [node], {node.name}, []
    while pending:
        current = pending.pop()
        if current.name in kinds:
            names.append(current.name)
            continue
        makers = [graph.producers[v] for v in current.reads if v in graph.producers]
        pending += [maker for maker in makers if maker.name not in seen]
        seen.update(maker.name for maker in makers)
    return names


def _remarks(
    graph: Graph,
    result: Graph,
    kinds: Mapping[str, DType],
    reasons: Mapping[str, str],
    data: Data,
) -> tuple[Remark, ...]:
    casts = sum((n.op == "Cast") for n in result.nodes) - sum((n.op == "Cast") for n in graph.nodes)
    lowered = [
        dtype.text
        for node in graph.nodes
        if (dtype := kinds.get(node.name)) is not None
        and any(is_f32(graph, v) for v in (*node.reads, *node.outputs))
    ]
    names = " or ".join(dict.fromkeys(lowered)) or "16 bits"
    notes = [
        note(
            f"{len(lowered)} of {len(lowered) + len(reasons)} floating nodes compute in {names}, "
            f"with {casts} Casts between types"
        )
    ]
    if data.synthetic:
        notes.append(note("magnitudes were measured on made-up samples"))
    float_remarks = [skipped(name, f"stays in f32: {why}") for name, why in reasons.items()]
    return (*notes, *float_remarks)


def magnitudes(graph: Graph, data: Data, values: Iterable[str]) -> dict[str, float]:
    """Return max |x| of every floating value over `data`, in one run; infinity: one is not finite.

    The values stay in onnxruntime: one number of each comes out, max |x| + sum(0 x). The sum is
    NaN where an element is not finite, which a maximum may pass over.
    """
    editor = Editor(graph)
    none = editor.add_constant(np.zeros((), np.float32), "none")
    names = {}
    for value in values:
        dtype, wide = graph.dtype_of(value), TensorType(DType.F32, graph.shape_of(value))
        source = value
        if dtype is not None and dtype is not DType.F32:
            source = editor.add("Cast", [value], types=[wide], attrs={"to": DType.F32.code})[0]
        size = editor.add("Abs", [source], types=[wide])[0]
        nothing = editor.add("Mul", [source, none], types=[wide])[0]
        most, sound = (
            editor.add(op, [of], types=[TensorType(DType.F32, ())], attrs={"keepdims": 0})[0]
            for op, of in (("ReduceMax", size), ("ReduceSum", nothing))
        )
        names[value] = editor.add("Add", [most, sound], types=[TensorType(DType.F32, ())])[0]
    if not names:
        return {}
    session = Session(editor.finish(keep_dead=True), list(names.values()))
    found = dict.fromkeys(names, 0.0)
    for feed in data:
        results = session.run(feed)
        for value, name in names.items():
            most_now = float(np.nan_to_num(results[name], nan=np.inf, posinf=np.inf))
            found[value] = max(found[value], most_now)
    return found
