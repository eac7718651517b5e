"""Time what data-driven channel removal costs: moments, elimination, repair.

usage: python tools/bench_moments.py MODEL=CALIB [MODEL=CALIB ...] [--samples 64 256] [--ratio 0.3]

MODEL: an .onnx file; CALIB: a folder of .npz feeds. Every line is a process of its own, so that its
peak memory is that of one part: moments: one walk, sums of what the readers of all families read;
elimination: the rankings from them; repair: a cut by `ratio` of every family, then the lock-step
refit. Seconds are of the processor. rows: results looked at, readers and layers together; columns:
the most that one of them reads. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slimc import compile, load
from slimc.analysis.coupling import Coupling, couple
from slimc.analysis.prune_groups import Family, families
from slimc.analysis.shapes import default_sizes, infer
from slimc.calib.data import Data
from slimc.fit.linear import Linear, as_linear
from slimc.fit.repair import repair_layers
from slimc.fit.sampling import ROWS, ROWS_PER_COLUMN
from slimc.ir.graph import Graph
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune import input_scores as reader_rankings
from slimc.passes.prune.input_scores import ReaderRankings
from slimc.passes.prune.slice_axes import kept_of_values, slice_axes
from slimc.targets.target import Target

PARTS = ("moments", "elimination", "repair")
HEADER = "| model | part | samples | layers | columns | rows | s | MiB |"


class Bench:
    """One model, ready to be measured."""

    def __init__(self, model: Path, calib: Path, samples: int, ratio: float) -> None:
        self.graph: Graph = compile(load(model), stop_after="canonicalize").graph
        self.data = Data.from_path(calib, self.graph)
        self.sizes = {**default_sizes(self.graph), **self.data.sizes()}
        self.samples, self.ratio = samples, ratio
        facts = infer(self.graph, OPS, self.sizes)
        self.coupling: Coupling = couple(self.graph, OPS, facts)
        self.families: tuple[Family, ...] = tuple(families(self.coupling))
        self.context = Context(OPS, Target("bench", "onnxruntime", ""), self.data, self.sizes)
        found = (as_linear(self.graph, OPS, facts, node) for node in self.graph.nodes)
        self.layers: list[Linear] = [one for one in found if one is not None]

    def moments(self) -> ReaderRankings:
        """Run the samples, and sum."""
        reader_rankings.SAMPLES = self.samples
        return ReaderRankings(self.coupling, self.families, self.context)

    def cut(self) -> np.ndarray:
        """Return which units leave: every so many, of every family."""
        removed = np.zeros(len(self.coupling.pinned), bool)
        for family in self.families:
            count = int(family.width * self.ratio) if family.width > 1 else 0
            removed[np.random.default_rng(0).permutation(family.units)[:count]] = True
        return removed

    def repair_layers(self) -> None:
        """Cut, and refit what stays."""
        removed = self.cut()
        student = slice_axes(self.coupling, removed, "bench").graph
        kept = kept_of_values(self.coupling, removed)
        repair_layers(self.graph, student, kept, OPS, self.data, self.sizes, samples=self.samples)

    def rows(self) -> int:
        """Return how many results are looked at, at most."""
        return sum(max(ROWS, ROWS_PER_COLUMN * one.columns) for one in self.layers)


def measure(bench: Bench, part: str) -> dict[str, Any]:
    """Run one part and return its figures."""
    start = time.process_time()
    if part == "repair":
        bench.repair()
    else:
        with bench.moments() as ready:
            if part == "elimination":
                start = time.process_time()
                ready.rankings("obs")
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    columns = max(one.columns for one in bench.layers)
    return {"layers": len(bench.layers), "columns": columns, "rows": bench.rows(),
            "s": seconds, "MiB": peak}  # fmt: skip


def apart(arguments: Sequence[str]) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(run.stdout.decode().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("models", nargs="+", metavar="MODEL=CALIB")
    parser.add_argument("--samples", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--ratio", type=float, default=0.3)
    parser.add_argument("--part", choices=PARTS, help="this part alone, in this process, as JSON")
    given = parser.parse_args()
    pairs = [pair.partition("=")[::2] for pair in given.models]
    if given.part:
        (model, calib), (samples,) = pairs[0], given.samples
        bench = Bench(Path(model), Path(calib), samples, given.ratio)
        print(json.dumps(measure(bench, given.part)))
        return
    print(HEADER, "|---|---|---|---|---|---|---|---|", sep="\n")
    for model, calib in pairs:
        for samples in given.samples:
            for part in PARTS:
                options = ["--samples", str(samples), "--ratio", str(given.ratio), "--part", part]
                row = apart([f"{model}={calib}", *options])
                print(
                    f"| {Path(model).stem} | {part} | {samples} | {row['layers']} | "
                    f"{row['columns']} | {row['rows']} | {row['s']:.1f} | {row['MiB']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
