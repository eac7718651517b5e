"""`slimc show`: a model as summary, table or text."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import click

from slimc.analysis.cost import macs
from slimc.analysis.shapes import infer
from slimc.cli.console import say, say_table
from slimc.cli.options import PATH, json_option, names_with, plugin_option
from slimc.ir.graph import Graph
from slimc.ir.literal import write_type
from slimc.ir.text import to_text
from slimc.ops.op import OpTable
from slimc.pipeline.input_sizes import measure_sample, sizes_of_a_sample
from slimc.pipeline.prepare import load
from slimc.report.text import format_bytes, format_count


@click.command("show", short_help="Show a model as summary, table or text.")
@click.argument("model", type=PATH)
@click.option(
    "--as",
    "form",
    type=click.Choice(["summary", "table", "text"]),
    default="summary",
    show_default=True,
    help="Sums; a row per node; or the graph as text.",
)
@click.option("--full", is_flag=True, help="With --as text: write all constants, to read it back.")
@json_option
@plugin_option
def show_command(
    model: Path, form: str, full: bool, as_json: bool, plugin: tuple[Path, ...]
) -> None:
    """Show MODEL.

    Example: slimc show model.onnx --as text --full > model.txt
    """
    graph = load(model)
    ops = names_with(plugin).ops
    if as_json:
        say(json.dumps(_summary(graph, ops), indent=1, ensure_ascii=False))
    elif form == "text":
        say(to_text(graph, "full" if full else "short"))
    elif form == "table":
        say_table(("node", "operator", "result", "MACs"), _rows(graph, ops))
    else:
        _say_summary(_summary(graph, ops))


def _summary(graph: Graph, ops: OpTable) -> dict[str, Any]:
    sizes = sizes_of_a_sample(graph)
    found = measure_sample(graph, ops)
    facts = infer(graph, ops, sizes)
    kinds = Counter(node.kind for node in graph.walk())
    return {
        "name": graph.name,
        "inputs": {v: _type(graph, v) for v in graph.inputs},
        "outputs": {v: _type(graph, v) for v in graph.outputs},
        "bytes": found.size_bytes,
        "parameters": found.parameters,
        "macs": found.macs,
        "nodes": found.nodes,
        "sizes": dict(sizes),
        "operators": dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        "opaque": dict(sorted(facts.opaque.items())),
        "metadata": dict(graph.metadata),
    }


def _type(graph: Graph, value: str) -> str:
    kind = graph.type_of(value)
    return "?" if kind is None else write_type(kind)


def _say_summary(found: dict[str, Any]) -> None:
    say(f"graph {found['name']}")
    for side in ("inputs", "outputs"):
        for value, kind in found[side].items():
            say(f"  {side[:-1]:<7} {value}: {kind}")
    say(
        f"  {format_bytes(found['bytes'])}, {format_count(found['parameters'])} parameters, "
        f"{format_count(found['macs'])} MACs per sample, {found['nodes']} nodes"
    )
    if found["sizes"]:
        taken = ", ".join(f"{name}={size}" for name, size in found["sizes"].items())
        say(f"  counted with {taken}")
    say()
    say_table(("operator", "nodes"), [(k, str(n)) for k, n in found["operators"].items()])
    if found["opaque"]:
        say("\nnot understood, so left as it is:")
        for node, reason in found["opaque"].items():
            say(f"  {node}: {reason}")


def _rows(graph: Graph, ops: OpTable) -> list[tuple[str, str, str, str]]:
    facts = infer(graph, ops, sizes_of_a_sample(graph))
    work = macs(graph, ops, facts)
    return [
        (
            node.name,
            node.kind,
            ", ".join(_type(graph, v) for v in node.outputs if v),
            format_count(work[node.name]) if work.get(node.name) else "",
        )
        for node in graph.walk()
    ]
