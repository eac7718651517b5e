"""`slimc explain`: what a pass would do to each node of a model, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import click

from slimc.analysis.shapes import default_sizes
from slimc.calib.images import Images
from slimc.cli.console import say, working
from slimc.cli.options import (
    PATH,
    calib_option,
    json_option,
    names_with,
    plugin_option,
    samples_or_made_up,
)
from slimc.errors import SlimcError, did_you_mean
from slimc.ir.graph import Form, Graph
from slimc.passes.base import Pass, quantizes
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.pipeline.catalogue import Catalogue
from slimc.pipeline.prepare import load
from slimc.remarks import Remark


@click.command("explain", short_help="Say what a pass would do to each node, and why.")
@click.argument("model", type=PATH)
@click.option("--pass", "text", required=True, metavar="TEXT", help="Passes: prune{ratio=0.5}")
@click.option("--target", default="generic-onnx", show_default=True, metavar="NAME")
@click.option("--node", default="*", metavar="PATTERN", help="Only nodes of these names: 'head/*'.")
@calib_option
@json_option
@plugin_option
def explain_command(
    model: Path,
    text: str,
    target: str,
    node: str,
    calib: Path | Images | None,
    as_json: bool,
    plugin: tuple[Path, ...],
) -> None:
    """Say for each node of MODEL what a pass would do to it, or what keeps it from it.

    Example: slimc explain model.onnx --pass prune
    """
    names = names_with(plugin)
    passes = names.parse(text)
    with working("analysing"):
        remarks = _remarks(load(model), passes, target, calib, names)
    shown = [one for one in remarks if fnmatchcase(one.node, node)]
    if not shown:
        raise SlimcError(
            "unknown-node",
            f"nothing is said of a node '{node}'",
            help=did_you_mean(node, dict.fromkeys(one.node for one in remarks if one.node)),
        )
    if as_json:
        say(json.dumps([vars(one) for one in shown], indent=1, ensure_ascii=False))
    else:
        say("\n".join(one.message if one.kind == "note" else str(one) for one in shown))


def _remarks(
    graph: Graph,
    passes: Sequence[Pass],
    target: str,
    calib: Path | Images | None,
    names: Catalogue,
) -> list[Remark]:
    sizes = default_sizes(graph)
    data = samples_or_made_up(calib, graph)
    ctx = Context(
        names.ops,
        names.target(target),
        data,
        sizes | data.sizes(),
        scores=names.scores,
        quantizes=quantizes(passes),
        sparsifies=any(one.sparsifies for one in passes),
    )
    if graph.form is Form.IMPORTED:
        graph = Canonicalize().run(graph, ctx).graph
    remarks: list[Remark] = []
    for one in passes:
        remarks += one.explain(graph, ctx)
        graph = one.run(graph, ctx).graph
    return remarks
