"""`slimc explain`: what a pass would do to each node of a model, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click

from slimc.analysis.shapes import default_sizes
from slimc.analysis.tie_graph import CutPoint, cut_points, write_graphml
from slimc.calib.images import Images
from slimc.cli.console import say, working
from slimc.cli.options import (
    PATH,
    calib_option,
    check_outputs,
    json_option,
    names_with,
    plugin_option,
    samples_or_made_up,
)
from slimc.errors import SlimcError, did_you_mean
from slimc.io.places import Output
from slimc.io.write import replace_file
from slimc.ir.graph import Form, Graph
from slimc.passes.base import Pass, traits_of
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.pipeline.catalogue import Catalogue
from slimc.pipeline.prepare import load
from slimc.pipeline.runner import apply
from slimc.remarks import Remark, join_names


@click.command("explain", short_help="Say what a pass would do to each node, and why.")
@click.argument("model", type=PATH)
@click.option("--pass", "text", default="", metavar="TEXT", help="Passes: prune{ratio=0.5}")
@click.option(
    "--graph",
    type=PATH,
    metavar="FILE",
    help="Write which channels leave together, and what pins the others, as a graph for Gephi or "
    "yEd (.graphml), and say where a group could be cut off from what pins it.",
)
@click.option("--target", default="generic-onnx", show_default=True, metavar="NAME")
@click.option("--node", default="*", metavar="PATTERN", help="Only nodes of these names: 'head/*'.")
@calib_option
@json_option
@plugin_option
def explain_command(
    model: Path,
    text: str,
    graph: Path | None,
    target: str,
    node: str,
    calib: Path | Images | None,
    as_json: bool,
    plugin: tuple[Path, ...],
) -> None:
    """Say for each node of MODEL what a pass would do to it, or what keeps it from it.

    Examples: slimc explain model.onnx --pass prune, slimc explain model.onnx --graph ties.graphml
    """
    names = names_with(plugin)
    passes = names.parse(text)
    _check(passes, graph, model)
    with working("analysing"):
        read, ctx = _canonical(load(model), passes, target, calib, names)
        remarks = _remarks(read, passes, ctx)
    shown = [one for one in remarks if fnmatchcase(one.node, node)]
    if passes and not shown:
        raise SlimcError(
            "unknown-node",
            f"nothing is said of a node '{node}'",
            help=did_you_mean(node, dict.fromkeys(one.node for one in remarks if one.node)),
        )
    if as_json:
        say(json.dumps([vars(one) for one in shown], indent=1, ensure_ascii=False))
    elif shown:
        say("\n".join(one.message if one.kind == "note" else str(one) for one in shown))
    if graph is not None:
        for cut in _write_graph(read, passes, ctx, graph):
            say(_cut_sentence(cut), err=as_json)
        say(f"written: {graph}", err=as_json)


def _check(passes: Sequence[Pass], graph: Path | None, model: Path) -> None:
    if not passes and graph is None:
        message = "there is nothing to explain"
        raise SlimcError("bad-option-value", message, "option --pass", "for example --pass prune")
    if graph is not None and graph.suffix != ".graphml":
        message = f"'{graph}' does not end in .graphml"
        raise SlimcError("bad-option-value", message, "option --graph", "--graph ties.graphml")
    if graph is not None:
        check_outputs([Output(graph, "--graph")], model, {})


def _canonical(
    graph: Graph,
    passes: Sequence[Pass],
    target: str,
    calib: Path | Images | None,
    names: Catalogue,
) -> tuple[Graph, Context]:
    """Return the canonical graph, and what passes run in."""
    data = samples_or_made_up(calib, graph)
    ctx = Context(
        names.ops,
        names.target(target),
        data,
        default_sizes(graph) | data.sizes(),
        scores=names.scores,
        traits=traits_of(passes),
    )
    if graph.form is Form.IMPORTED:
        graph = apply([Canonicalize()], graph, ctx)
    return graph, ctx


def _remarks(graph: Graph, passes: Sequence[Pass], ctx: Context) -> list[Remark]:
    remarks: list[Remark] = []
    for pass_ in passes:
        remarks += pass_.explain(graph, ctx)
        graph = apply([pass_], graph, ctx)
    return remarks


def _write_graph(
    graph: Graph, passes: Sequence[Pass], ctx: Context, path: Path
) -> tuple[CutPoint, ...]:
    """Write the ties of the channels; return where several nodes could be cut off from a pin.

    Nodes that a channel removal among the passes keeps are pinned.
    """
    removals = (one for one in passes if isinstance(one, RemoveChannels))
    coupling = next(removals, RemoveChannels()).coupled(graph, ctx)
    with replace_file(path) as file:
        write_graphml(coupling, file)
    return tuple(cut for cut in cut_points(coupling) if len(cut.freed) > 1)


def _cut_sentence(cut: CutPoint) -> str:
    return (
        f"'{cut.node}' alone ties {join_names(list(cut.freed))} to {cut.pinned_by}: "
        "a projection there (1 x 1 Conv, Gemm) would let their output channels leave"
    )
