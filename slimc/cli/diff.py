"""`slimc diff`: what became of a model."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slimc.calib.images import Images
from slimc.cli.console import say, say_table
from slimc.cli.options import (
    PATH,
    calib_option,
    json_option,
    names_with,
    plugin_option,
    samples_or_made_up,
)
from slimc.ir.graph import Graph, Node
from slimc.ir.literal import write_type
from slimc.ops.op import OpTable
from slimc.pipeline.agreement import agreement, comparable
from slimc.pipeline.input_sizes import at_sizes_of, measure_sample
from slimc.pipeline.prepare import load
from slimc.pipeline.summary import AGREEMENT_SAMPLES
from slimc.remarks import Agreement, GraphSize
from slimc.report.json import agreement_dict, measure_dict
from slimc.report.text import agreement_lines, measure_lines


@click.command("diff", short_help="Compare two models and their outputs.")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH)
@calib_option
@json_option
@plugin_option
def diff_command(
    a: Path, b: Path, calib: Path | Images | None, as_json: bool, plugin: tuple[Path, ...]
) -> None:
    """Compare models A and B: sizes, nodes, constants, and outputs on the same samples.

    Example: slimc diff model.onnx model.jetson.onnx --calib samples/
    """
    ops = names_with(plugin).ops
    graphs = load(a), load(b)
    sized = at_sizes_of(*graphs), at_sizes_of(*reversed(graphs))
    measures = [_measure(path, graph, ops) for path, graph in zip((a, b), sized, strict=True)]
    nodes = operators_changed(*graphs)
    constants = _constants(*graphs)
    shared = comparable(*graphs)
    reason = _not_comparable(*graphs, shared[0].outputs)
    other_inputs = not set(graphs[1].inputs) <= set(graphs[0].inputs)
    outputs = () if other_inputs or not shared[0].outputs else _agreement(shared, sized[0], calib)
    if as_json:
        say(json.dumps(_as_dict(measures, nodes, constants, outputs, reason), indent=1))
        return
    say("\n".join(measure_lines(*measures)))
    _say_changes("operator changed in number", ("operator", "before", "after"), nodes)
    _say_changes("constant changed its type or shape", ("constant", "before", "after"), constants)
    say("\n".join(agreement_lines(outputs)))
    if reason:
        say(f"\nnot compared: {reason}")
    if outputs and calib is None:
        say("\nsamples are made up: on real ones outputs agree otherwise (--calib)")


def _measure(path: Path, graph: Graph, ops: OpTable) -> GraphSize:
    found = measure_sample(graph, ops)
    return replace(found, size_bytes=max(found.size_bytes, path.stat().st_size))


def operators_changed(a: Graph, b: Graph) -> list[tuple[str, str, str]]:
    """Return the operators whose number changed."""
    before, after = (Counter(node.kind for node in graph.walk()) for graph in (a, b))
    return [
        (kind, str(before[kind]), str(after[kind]))
        for kind in sorted({*before, *after})
        if before[kind] != after[kind]
    ]


def _constants(a: Graph, b: Graph) -> list[tuple[str, str, str]]:
    """Return the operands of nodes of one name whose constants have another type or shape."""
    found: list[tuple[str, str, str]] = []
    for node in a.nodes:
        other = b.by_name.get(node.name)
        if other is None or other.kind != node.kind:
            continue
        for i in range(min(len(node.inputs), len(other.inputs))):
            before, after = _constant_type(a, node, i), _constant_type(b, other, i)
            if before and after and before != after:
                found.append((f"{node.name}, operand {i}", before, after))
    return found


def _constant_type(graph: Graph, node: Node, i: int) -> str:
    """Return the type of what is stored for an operand, behind a DequantizeLinear too."""
    value = node.inputs[i]
    maker = graph.producers.get(value)
    if maker is not None and all(one in graph.constants for one in maker.inputs if one):
        value = next(iter(maker.inputs), "")
    constant = graph.constants.get(value)
    return "" if constant is None else write_type(constant.type)


def _not_comparable(a: Graph, b: Graph, shared: tuple[str, ...]) -> str:
    """Return why outputs, or which of them, are not compared; empty if all are."""
    if not set(b.inputs) <= set(a.inputs):
        return f"the inputs differ: {', '.join(a.inputs)} and {', '.join(b.inputs)}"
    lost = [output for output in a.outputs if output not in shared]
    if lost:
        return f"the second model makes no value, before its plug-ins, named {', '.join(lost)}"
    return ""


def _agreement(
    graphs: tuple[Graph, Graph], sized: Graph, calib: Path | Images | None
) -> tuple[Agreement, ...]:
    """Compare outputs on samples of sizes that both take."""
    data = samples_or_made_up(calib, sized)
    return agreement(*graphs, data.first_samples(AGREEMENT_SAMPLES))


def _say_changes(what: str, head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> None:
    say()
    if rows:
        say_table(head, rows)
    else:
        say(f"no {what}")


def _as_dict(
    measures: list[GraphSize],
    nodes: list[tuple[str, str, str]],
    constants: list[tuple[str, str, str]],
    outputs: tuple[Agreement, ...],
    reason: str,
) -> dict[str, Any]:
    return {
        "before": measure_dict(measures[0]),
        "after": measure_dict(measures[1]),
        "operators": {kind: [int(a), int(b)] for kind, a, b in nodes},
        "constants": {name: [a, b] for name, a, b in constants},
        "agreement": [agreement_dict(one) for one in outputs],
        "not_compared": reason,
    }
