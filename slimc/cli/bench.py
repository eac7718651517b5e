"""`slimc bench`: the latency of one model or two, interleaved in one process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np

from slimc.calib.feeds import specs_of
from slimc.calib.images import Images
from slimc.cli.console import say, say_table, working
from slimc.cli.options import PATH, calib_option, json_option, samples_or_made_up
from slimc.errors import SlimcError
from slimc.execute.ort import Feed, time_rounds
from slimc.execute.speedup import speedup
from slimc.ir.graph import Graph
from slimc.pipeline.input_sizes import at_sizes_of
from slimc.pipeline.prepare import load
from slimc.pipeline.runner import TEXT_SUFFIX

ROUNDS = 50
THREADS = (1, 0)


_EXAMPLES = """\b
Examples:
  slimc bench model.onnx model.cpu.onnx --calib samples/
  slimc bench model.onnx small.onnx --threads 1 --threads 4 --json
"""


@click.command("bench", short_help="Time one model, or two in turn.", epilog=_EXAMPLES)
@click.argument("a", type=PATH)
@click.argument("b", type=PATH, required=False)
@calib_option
@click.option(
    "--rounds",
    type=click.IntRange(min=6),
    default=ROUNDS,
    show_default=True,
    help="Runs of each model, in turn; the median counts.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    multiple=True,
    default=THREADS,
    metavar="N",
    help="Threads of a run, 0 for all; may be given several times. Default: 1, then 0.",
)
@json_option
def bench_command(
    a: Path,
    b: Path | None,
    calib: Path | Images | None,
    rounds: int,
    threads: Sequence[int],
    as_json: bool,
) -> None:
    """Measure how long onnxruntime takes for model A, and B, on this machine.

    Both run in turn, so that what else the machine does meets both alike. A ratio comes with what
    the median of the rounds lies between, with a confidence of 95 %. With one thread seconds are
    the processor's, with more the wall clock's.
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
    models = [
        graph if file.suffix == TEXT_SUFFIX else file
        for file, graph in zip(files, graphs, strict=True)
    ]
    feed = _feed(at_sizes_of(graphs[0], graphs[-1]), calib)
    found: list[dict[str, Any]] = []
    for count in dict.fromkeys(threads):
        with working(f"{rounds} rounds, {_threads_text(count)}"):
            found.append(_summary(count, files, time_rounds(models, feed, rounds, count)))
    feed_text = ", ".join(f"{name} {spec}" for name, spec in specs_of(feed).items())
    if as_json:
        say(json.dumps({"feed": feed_text, "rounds": rounds, "runs": found}, indent=1))
        return
    _tell(found, feed_text, rounds)


def _feed(graph: Graph, calib: Path | Images | None) -> Feed:
    data = samples_or_made_up(calib, graph)
    return dict(next(iter(data)))


def _summary(threads: int, files: Sequence[Path], seconds: np.ndarray) -> dict[str, Any]:
    """Return medians and quartiles, in plain values. seconds: f64[models, rounds]."""
    models = []
    for file, taken in zip(files, seconds, strict=True):
        lower, median, upper = (float(q) for q in np.quantile(taken, (0.25, 0.5, 0.75)))
        models.append(
            {"model": str(file), "median_seconds": median, "quartile_seconds": [lower, upper]}
        )
    found: dict[str, Any] = {"threads": threads, "models": models}
    if len(models) == 2:
        ratio = speedup(*seconds)
        found["ratio"] = {
            "median": ratio.median,
            "quartiles": list(ratio.quartiles),
            "bounds": list(ratio.bounds),
        }
    return found


def _tell(found: Sequence[dict[str, Any]], feed: str, rounds: int) -> None:
    for run in found:
        rows = [
            (
                one["model"],
                f"{1e3 * one['median_seconds']:.3f} ms",
                " to ".join(f"{1e3 * s:.3f}" for s in one["quartile_seconds"]),
            )
            for one in run["models"]
        ]
        say_table((_threads_text(run["threads"]), "median", "middle half"), rows)
        if "ratio" in run:
            first, second = _short_names([one["model"] for one in run["models"]])
            low, high = run["ratio"]["bounds"]
            middle = " to ".join(f"{q:.2f}" for q in run["ratio"]["quartiles"])
            say(
                f"{second} is {run['ratio']['median']:.2f} times as fast as {first} "
                f"({low:.2f} to {high:.2f}; middle half of the rounds {middle})"
            )
        say()
    say(f"{rounds} rounds in turn on {feed}")


def _short_names(paths: Sequence[str]) -> list[str]:
    """Return file names, or whole paths where files are named alike."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _threads_text(threads: int) -> str:
    return {0: "all threads", 1: "one thread"}.get(threads, f"{threads} threads")
