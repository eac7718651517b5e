"""Quantize models in several ways and write what each way costs and what it leaves.

usage: python tools/quant_table.py --models DIR [--models DIR ...] --calib DIR --out DIR
           [--configs FILE] [--unseen DIR] [--tasks module:TASKS] [--beside DIR]
           [--bind INPUT=VALUE] [--only NAME ...] [--ways NAME ...] [--rounds 30] [--no-latency]

A line of --configs is `name target passes` (default: tools/quant_ablation.txt). Per model and way,
in a process of its own: the task's score; the least signal-to-noise ratio of the outputs, in dB, on
--unseen (a folder of .npz feeds for each model, as --calib; none of those of --calib); bytes of the
file, times as small as the original; layers that onnxruntime runs in integers of those intended;
CPU seconds and peak memory of the compile; and how many times as fast the file is (one thread,
seconds of the processor, by turns, on four samples, with bounds). Inputs that --bind makes
constants are so in the original as well.

--beside: files that other tools made, DIR/<tool>/<model>.onnx, measured in the same way, with
{"cpu_seconds", "peak_mb"} in DIR/<tool>/<model>.json. --out gets the files, table.md and
rows.jsonl; a row that is there is not measured again. --no-latency: for a machine that is busy; a
later call without it times what has no latency yet, from the files in --out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from table import find_models, find_tasks, timed

import slimc
from slimc.calib.data import Data
from slimc.calib.feeds import count_samples, specs_of
from slimc.execute.oracles.ask import ask_onnxruntime
from slimc.execute.ort import Session, time_rounds
from slimc.execute.speedup import speedup
from slimc.ir.graph import Graph
from slimc.pipeline.agreement import agreement

CONFIGS = Path(__file__).with_name("quant_ablation.txt")
SAMPLES = 4  # of a feed that is timed


@dataclass(frozen=True)
class Way:
    """How a file comes to be: by passes for a target, or (both empty) by another tool."""

    name: str
    target: str = ""
    passes: str = ""


ORIGINAL = Way("original")


@dataclass(frozen=True)
class Row:
    """What one way makes of one model. integer: layers run, and intended; faster: with bounds."""

    model: str
    way: Way
    score: float | None = None
    sqnr_db: float | None = None
    size_bytes: int = 0
    smaller: float = 0.0
    integer: tuple[int | None, int | None] = (None, None)
    cpu_seconds: float | None = None
    peak_mb: int | None = None
    faster: tuple[float, float, float] | None = None
    error: str = ""

    @property
    def key(self) -> tuple[str, Way]:
        return self.model, self.way

    def cells(self) -> list[str]:
        if self.error:
            return [self.model, self.way.name, self.error.splitlines()[0][:120], *[""] * 6]
        achieved, intended = ("-" if n is None else str(n) for n in self.integer)
        return [
            self.model,
            self.way.name,
            _text(self.score, "{:.2%}"),
            _text(self.sqnr_db, "{:.1f}"),
            f"{self.size_bytes / 1000:.0f} kB ({self.smaller:.2f}x)",
            f"{achieved} of {intended}",
            _text(self.cpu_seconds, "{:.1f}"),
            _text(self.peak_mb, "{}"),
            "{:.2f} ({:.2f} to {:.2f})".format(*self.faster) if self.faster else "-",
        ]


HEADER = ("model", "way", "score", "SQNR dB", "size", "integer", "CPU s", "peak MB", "faster")


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


@dataclass(frozen=True)
class Model:
    """A model with its samples and its task."""

    path: Path
    calib: Path
    unseen: Path | None
    task: Any
    bind: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def graph(self) -> Graph:
        """The original, its inputs bound."""
        graph = slimc.load(self.path)
        if not self.bound:
            return graph
        last, data = "canonicalize", str(self.calib)
        return slimc.compile(graph, "", data=data, bind=self.bound, stop_after=last).graph

    @cached_property
    def bound(self) -> dict[str, str]:
        inputs = slimc.load(self.path).inputs
        return {name: value for name, value in self.bind.items() if name in inputs}

    @cached_property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    def score(self, file: Path) -> float | None:
        """Score a file on the task; the task's feeds may hold inputs that are bound."""
        if self.task is None:
            return None
        session = Session(slimc.load(file))
        inputs = session.inputs
        return float(self.task.score(lambda f: [*session.run({i: f[i] for i in inputs}).values()]))

    def sqnr_db(self, file: Path) -> float | None:
        """Return the least ratio of signal to noise of an output over the samples unseen."""
        if self.unseen is None:
            return None
        made = slimc.load(file)
        graph = self.graph if set(made.inputs) <= set(self.graph.inputs) else slimc.load(self.path)
        return min(one.sqnr_db for one in agreement(graph, made, Data.from_path(self.unseen, made)))

    def faster(self, file: Path, rounds: int) -> tuple[float, float, float]:
        """Return how many times as fast a file is as the original, with bounds."""
        made = slimc.load(file)
        same = set(made.inputs) == set(slimc.load(self.path).inputs)
        first = self.path if same else self.graph
        feed = _few(dict(next(iter(Data.from_path(self.calib, made)))), made)
        found = speedup(*time_rounds((first, file), feed, rounds, threads=1))
        return (found.median, *found.bounds)


def _few(feed: dict[str, np.ndarray], graph: Graph) -> dict[str, np.ndarray]:
    """Cut a feed to a few samples, if all its arrays hold one sample per index of axis 0."""
    samples = count_samples(specs_of(feed), graph)
    if any(array.shape[:1] != (samples,) for array in feed.values()):
        return feed
    return {name: array[:SAMPLES] for name, array in feed.items()}


def produce(model: Model, way: Way, file: Path) -> Row:
    """Return what it costs to make a file; it is made if slimc makes it."""
    row = Row(model.path.stem, way)
    if way == ORIGINAL:
        return row
    if way.target:
        return compiled(model, row, file)
    facts = file.with_suffix(".json")
    told = json.loads(facts.read_text()) if facts.exists() else {}
    row = replace(row, cpu_seconds=told.get("cpu_seconds"), peak_mb=told.get("peak_mb"))
    if not file.exists():
        return replace(row, error="made no file")
    kernels = ask_onnxruntime(file, {}).kernels
    return replace(row, integer=(sum(one.computes == "integers" for one in kernels), None))


def compiled(model: Model, row: Row, file: Path) -> Row:
    """Compile a model in a process of its own; return what its report says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    report = file.with_suffix(".report.json")
    command = [sys.executable, "-m", "slimc", str(model.path), "--target", row.way.target]
    command += ["--passes", row.way.passes, "--calib", str(model.calib), "-o", str(file)]
    for name, value in model.bound.items():
        command += ["--bind", f"{name}={value}"]
    run = timed([*command, "--report", str(report)])
    row = replace(row, cpu_seconds=run["cpu_seconds"], peak_mb=run["peak_mb"])
    if run["status"]:
        return replace(row, error=f"exit {run['status']}: {_complaint(run['tail'])}")
    layers = json.loads(report.read_text())["integer_layers"]
    return replace(row, integer=(layers["achieved"], layers["intended"]))


def _complaint(text: str) -> str:
    """Return the error that slimc tells, or the last line of a traceback."""
    lines = [line for line in text.splitlines() if line.strip() and "report it" not in line]
    return next((line for line in lines if line.startswith("error[")), lines[-1] if lines else "")


def measured(model: Model, row: Row, file: Path) -> Row:
    """Measure a file: size, score and agreement."""
    size = file.stat().st_size
    row = replace(row, size_bytes=size, smaller=model.size_bytes / size)
    return replace(row, score=model.score(file), sqnr_db=model.sqnr_db(file))


def complete(model: Model, way: Way, row: Row | None, options: argparse.Namespace) -> Row:
    """Return a row with all that is wanted; row: what is known of it."""
    file = options.folders[way] / way.name / model.path.name if way != ORIGINAL else model.path
    try:
        if row is None:
            row = produce(model, way, file)
            row = row if row.error else measured(model, row, file)
        if row.error or row.faster or way == ORIGINAL or options.no_latency:
            return row
        return replace(row, faster=model.faster(file, options.rounds))
    except slimc.SlimcError as error:
        return replace(row or Row(model.path.stem, way), error=str(error))


def read_ways(path: Path) -> tuple[Way, ...]:
    """Read `name target passes`, one a line; # starts a comment."""
    lines = (line.partition("#")[0].split() for line in path.read_text().splitlines())
    return tuple(Way(words[0], words[1], "".join(words[2:])) for words in lines if words)


def read_rows(path: Path) -> dict[tuple[str, Way], Row]:
    """Read the rows of a file; the last one of a model and a way counts."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = {}
    for told in map(json.loads, lines):
        pairs = {name: told[name] and tuple(told[name]) for name in ("integer", "faster")}
        row = Row(**told | pairs | {"way": Way(**told["way"])})
        rows[row.key] = row
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = [HEADER, ["---"] * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, action="append", required=True)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--configs", type=Path, default=CONFIGS)
    parser.add_argument("--unseen", type=Path)
    parser.add_argument("--tasks", default="")
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--bind", action="append", default=[])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--ways", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--no-latency", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tasks = find_tasks(options.tasks) if options.tasks else {}
    bind, stored = dict(pair.split("=", 1) for pair in options.bind), options.out / "rows.jsonl"
    folders = dict.fromkeys((ORIGINAL, *read_ways(options.configs)), options.out)
    tools = sorted(options.beside.iterdir()) if options.beside else ()
    options.folders = folders | {Way(tool.name): options.beside for tool in tools}
    ways = [w for w in options.folders if not options.ways or w.name in (*options.ways, "original")]
    known, rows = read_rows(stored), []
    for path in find_models(options.models, options.only):
        unseen = options.unseen / path.stem if options.unseen else None
        model = Model(path, options.calib / path.stem, unseen, tasks.get(path.stem), bind)
        for way in ways:
            before = known.get((path.stem, way))
            rows.append(complete(model, way, before, options))
            if rows[-1] != before:
                print(*rows[-1].cells(), sep="  ", file=sys.stderr, flush=True)
                with stored.open("a") as file:
                    file.write(json.dumps(asdict(rows[-1])) + "\n")
    (options.out / "table.md").write_text(markdown(rows) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
