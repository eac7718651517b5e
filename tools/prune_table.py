"""Halve every family of channels of many models and write the table of what that removes.

usage: python tools/prune_table.py FOLDER [FOLDER ...] [--calib DIR] [--ratio 0.5] [--align 1]
           [--only NAME ...] [--peers FILE] [--out DIR] [--json]

Per model: parameters and MACs removed of the canonical graph; families cut, weighted nodes left
whole; whether onnxruntime loads and runs the file that is written; how far its outputs are from
those of the original with the same channels masked, relative to the largest magnitude (`=` where
only rounding may differ, `~` where statistics run over removed channels, so that it cannot be
exact); and the seconds that the whole compile takes, on the clock and (in brackets) of all cores.
Widths are multiples of --align: 1, as the peers do. --calib: a folder of .npz feeds for each model;
without one, samples are made up. --peers: a JSON file {model: {tool: parameters removed}}, shown
beside. --out: keep the files.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from table import find_models

import slimc
from slimc.analysis.cost import macs, parameters
from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.removal_cost import constant_uses
from slimc.analysis.shapes import default_sizes, infer
from slimc.calib.data import Data
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.mask_axes import mask_axes
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.checks import few
from slimc.pipeline.input_sizes import made_up_samples
from slimc.rewrite.result import PassResult

TARGET = "generic-onnx"
EXACT = 1e-3  # f32 sums in another order, through a hundred layers


@dataclass(frozen=True)
class Row:
    """What became of one model. Shares in 0..1; exact: whether it must equal the masked model."""

    model: str
    parameters: float = 0.0
    macs: float = 0.0
    families: int = 0
    whole: int = 0
    loads: bool = False
    exact: bool = True
    difference: float = float("nan")
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    error: str = ""

    def cells(self) -> list[str]:
        if self.error:
            return [self.model, "", "", "", "", "no", self.error, self.times()]
        equal = f"{'=' if self.exact else '~'} {self.difference:.0e}"
        return [
            self.model,
            f"{self.parameters:.0%}",
            f"{self.macs:.0%}",
            str(self.families),
            str(self.whole),
            "yes" if self.loads else "no",
            equal if not self.exact or self.difference < EXACT else f"**differs** {equal}",
            self.times(),
        ]

    def times(self) -> str:
        return f"{self.seconds:.1f} ({self.cpu_seconds:.1f})"


HEADER = [
    "model",
    "parameters",
    "MACs",
    "families",
    "whole nodes",
    "runs",
    "as masked",
    "seconds (CPU)",
]


def measure(model: Path, calib: Path | None, prune: RemoveChannels, out: Path) -> Row:
    """Compile one model, run the file, and compare with the masked model."""
    data = str(calib) if calib is not None and calib.is_dir() else None
    start, cpu = time.perf_counter(), time.process_time()
    try:
        made = slimc.compile(model, (prune,), TARGET, data)
        file = out / f"{model.stem}.pruned.onnx"
        made.save(file)
        spent = time.perf_counter() - start, time.process_time() - cpu
        loaded = slimc.load(file)
        graph = slimc.compile(model, "", TARGET, data, stop_after="canonicalize").graph
        samples = Data.from_path(data, graph) if data else made_up_samples(graph)
        (feed,) = few([dict(f) for f in samples.head(1)], graph)
        Session(loaded).run(feed)
        ctx = _context(graph, samples)
        result = prune.run(graph, ctx)
        sizes = ctx.sizes
        before, after = (_costs(g, sizes) for g in (graph, result.graph))
        cut = sum(row["kept"] < row["width"] for row in result.facts["families"])
        whole = sum(remark.kind == "skipped" for remark in result.remarks)
        apart = _difference(graph, result, ctx, feed)
    except slimc.SlimcError as error:
        spent = time.perf_counter() - start, time.process_time() - cpu
        return Row(model.stem, seconds=spent[0], cpu_seconds=spent[1], error=error.message)
    parts = [1 - b / a if a else 0.0 for a, b in zip(before, after, strict=True)]
    exact = result.expected is not None
    return Row(model.stem, *parts, cut, whole, True, exact, apart, *spent)


def _context(graph: Graph, samples: Data) -> Context:
    sizes = default_sizes(graph) | samples.sizes()
    return Context(OPS, catalogue().target(TARGET), samples, sizes, 0)


def _costs(graph: Graph, sizes: Mapping[str, int]) -> tuple[int, int]:
    return parameters(graph), sum(macs(graph, OPS, infer(graph, OPS, sizes)).values())


def _difference(
    graph: Graph, result: PassResult, ctx: Context, feed: Mapping[str, np.ndarray]
) -> float:
    """Return how far the cut graph is from the masked one, relative to the largest magnitude."""
    masked = result.expected or _masked(graph, result, ctx)
    wanted, found = Session(masked).run(feed), Session(result.graph).run(feed)
    return max(difference(wanted[output], found[output]) for output in graph.outputs)


def _masked(graph: Graph, result: PassResult, ctx: Context) -> Graph:
    """Return the original with the removed channels masked, also where that is another function."""
    coupling = couple(graph, OPS, infer(graph, OPS, ctx.sizes))
    removed = _removed(coupling, result)
    masked = mask_axes(replace(coupling, soft=np.zeros_like(coupling.soft)), removed, "prune-table")
    assert masked is not None  # with nothing soft it always is a graph
    return masked


def _removed(coupling: Coupling, result: PassResult) -> np.ndarray:
    """Return the units that left, from the indices of constants that the report keeps."""
    names = {node.name: node.inputs for node in result.graph.walk()}
    removed = np.zeros(len(coupling.pinned), bool)
    for node, operand, _ in constant_uses(coupling):
        made = names.get(node.name, ())[operand : operand + 1]
        for axis, ranges in result.facts["kept"].get(made[0] if made else "", {}).items():
            units = coupling.units_at(coupling.axis(node, operand, int(axis)))
            removed[np.delete(units, _indices(ranges))] = True
    return removed


def _indices(ranges: str) -> list[int]:
    """Read "0-3,5"."""
    found: list[int] = []
    for run in ranges.split(","):
        first, _, last = run.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def markdown(rows: list[Row], peers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the table."""
    tools = list(dict.fromkeys(tool for row in rows for tool in peers.get(row.model, {})))
    lines = [[*HEADER, *tools], ["---"] * (len(HEADER) + len(tools))]
    for row in rows:
        beside = peers.get(row.model, {})
        lines.append([*row.cells(), *(str(beside.get(tool, "")) for tool in tools)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--calib", type=Path)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--align", type=int, default=1)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    peers = json.loads(options.peers.read_text()) if options.peers else {}
    prune = RemoveChannels(
        ratio=options.ratio, budget="channels", score="magnitude", align=options.align
    )
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        out.mkdir(parents=True, exist_ok=True)
        for model in find_models(options.folders, options.only):
            calib = options.calib / model.stem if options.calib else None
            rows.append(measure(model, calib, prune, out))
            print(*rows[-1].cells(), sep="  ", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps([vars(row) for row in rows], indent=1))
    else:
        print(markdown(rows, peers))


if __name__ == "__main__":
    main()
