"""`slimc bench`: the latency of one model or two, interleaved in one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from slimc.calib.data import Data
from slimc.cli.console import say, say_table, working
from slimc.cli.options import PATH, calib_option, json_option
from slimc.errors import SlimcError
from slimc.execute.ort import measure_latency
from slimc.ir.graph import Graph
from slimc.pipeline.compiler import load
from slimc.pipeline.sizing import made_up_samples

ROUNDS = 50


@click.command("bench", short_help="Time one model, or two in turn.")
@click.argument("a", type=PATH)
@click.argument("b", type=PATH, required=False)
@calib_option
@click.option(
    "--rounds",
    type=click.IntRange(min=3),
    default=ROUNDS,
    show_default=True,
    help="Runs of each model, in turn; the median counts.",
)
@json_option
def bench_command(a: Path, b: Path | None, calib: Path | None, rounds: int, as_json: bool) -> None:
    """Measure how long onnxruntime takes for model A, and B, on this machine.

    Both run in turn, so that what else the machine does meets both alike.

    Example: slimc bench model.onnx model.cpu.onnx --calib samples/
    """
    files = [a] if b is None else [a, b]
    graphs = [load(file) for file in files]
    for graph in graphs[1:]:
        if graph.inputs != graphs[0].inputs:
            raise SlimcError(
                "inputs-differ",
                f"'{a}' and '{b}' have other inputs",
                f"{', '.join(graphs[0].inputs)} and {', '.join(graph.inputs)}",
                "bench them one by one",
            )
    with working(f"{rounds} rounds"):
        seconds = measure_latency(
            [file.read_bytes() for file in files], _feed(graphs[0], calib), rounds
        )
    _tell(files, seconds, as_json)


def _feed(graph: Graph, calib: Path | None) -> Any:
    data = Data.from_path(calib, graph) if calib else made_up_samples(graph)
    return dict(next(iter(data)))


def _tell(files: list[Path], seconds: list[float], as_json: bool) -> None:
    ratio = seconds[0] / seconds[1] if len(seconds) == 2 else None
    if as_json:
        found: dict[str, Any] = {
            "median_seconds": {str(f): s for f, s in zip(files, seconds, strict=True)}
        }
        say(json.dumps(found | ({} if ratio is None else {"ratio": ratio}), indent=1))
        return
    rows = [(str(f), f"{1000 * s:.3f} ms") for f, s in zip(files, seconds, strict=True)]
    say_table(("model", "median"), rows)
    if ratio is not None:
        say(f"\n{files[1].name} is {ratio:.2f} times as fast as {files[0].name}")
