"""Cut models that have a labelled task by every score, and write what each cut leaves of it.

usage: python tools/prune_scores.py --models DIR [--models DIR ...] --calib DIR --tasks module:TASKS
           [--ratios 0.1 0.2 0.3 0.5] [--scores obs activation ...] [--bind INPUT=VALUE ...]
           [--only NAME ...] [--json FILE]

Per model and share of MACs to remove: the score of the task once channels have left by each score
of channels, and once weights are repaired (`cut / repaired`), widths being multiples of 1; then,
for the first of the scores with repair and the widths that the target likes, the score again and
how many times as fast the graph runs (one thread, seconds of the processor, by turns, with bounds).

The widths of the two differ: where weights are to be repaired, families are compared by the outputs
with their readers refitted. All ratios share that comparison. `--bind`: an input, where there is
one so named. `--json`: each row is appended to this file; what it holds is not measured again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby, product
from operator import attrgetter
from pathlib import Path
from typing import Any

from table import find_models, find_tasks

import slimc
from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import default_sizes, infer
from slimc.calib.data import Data
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.prune.rankings import rank_by_outputs
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.latency import Stopwatch

TARGET = "cpu"
SCORES = ("obs", "activation", "geometric-median", "magnitude")
MEASURED = "measured"  # the name under which a compile finds rankings that are known already


@dataclass(frozen=True)
class Setting:
    """One way to cut a model; ratio 0: not at all. aligned: to widths that the target likes."""

    model: str
    ratio: float
    score: str = ""
    repair: bool = False
    aligned: bool = False

    @property
    def passes(self) -> str:
        """The passes, with rankings that are known."""
        if not self.ratio:
            return ""
        align = 0 if self.aligned else 1
        options = f"ratio={self.ratio},score={MEASURED},compare=score,align={align}"
        return f"remove-channels{{{options}}}" + (",repair-weights" if self.repair else "")


@dataclass(frozen=True)
class Row:
    """The task's score, share of MACs removed, times as fast with bounds, seconds for it all."""

    setting: Setting
    result: float = float("nan")
    macs: float = 0.0
    faster: tuple[float, float, float] | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def percent(self) -> str:
        return "-" if self.error else f"{100 * self.result:.1f}"


@dataclass(frozen=True)
class Model:
    """A canonical graph, its task, and its samples in a context."""

    graph: Graph
    task: Any
    ctx: Context

    @classmethod
    def read(cls, path: Path, calib: Path, task: Any, bind: Mapping[str, str]) -> Model:
        given = slimc.load(path)
        bound = {name: value for name, value in bind.items() if name in given.inputs}
        made = slimc.compile(given, "", TARGET, calib, bind=bound, stop_after="canonicalize")
        graph, data = made.graph, Data.from_path(calib, made.graph)
        sizes = default_sizes(graph) | data.sizes()
        return cls(graph, task, Context(OPS, catalogue().target(TARGET), data, sizes))

    def ranked(self, score: str, repairs: bool) -> Catalogue:
        """Return names among which is that of a score that knows how families compare."""
        coupling = couple(self.graph, OPS, infer(self.graph, OPS, self.ctx.sizes))
        found, ctx = families(coupling), replace(self.ctx, repairs=repairs)
        rankings = rank_by_outputs(coupling, found, score, ctx)
        known = {family.name: ranking for family, ranking in zip(found, rankings, strict=True)}
        return replace(catalogue(), scores={MEASURED: lambda view: known[view.name]})

    def score(self, graph: Graph) -> float:
        """Score a graph on the task; the task's feeds may hold inputs that are bound."""
        run, inputs = Session(graph).run, graph.inputs
        return float(self.task.score(lambda feed: [*run({i: feed[i] for i in inputs}).values()]))

    def faster(self, graph: Graph) -> tuple[float, float, float]:
        """Return how many times as fast a graph is as that without a cut, and the bounds."""
        whole = slimc.compile(self.graph, "", TARGET, self.ctx.data).graph
        found = Stopwatch.of(whole, next(iter(self.ctx.data)), self.ctx).compare(whole, graph)
        return (found.median, *found.bounds)


def measure(model: Model, setting: Setting, names: Catalogue) -> Row:
    """Cut one model in one way."""
    start = time.perf_counter()
    try:
        made = slimc.compile(model.graph, setting.passes, TARGET, model.ctx.data, names=names)
        result = model.score(made.graph)
        faster = model.faster(made.graph) if setting.aligned else None
    except slimc.SlimcError as error:
        return Row(setting, error=str(error), seconds=time.perf_counter() - start)
    cuts = [one.facts["macs"] for one in made.report.passes if "macs" in one.facts]
    removed = 1 - cuts[0][1] / cuts[0][0] if cuts else 0.0
    return Row(setting, result, removed, faster, time.perf_counter() - start)


def measure_all(model: Model, settings: Iterable[Setting]) -> Iterator[Row]:
    """Cut one model in many ways; what the ratios of a score share is measured once."""
    by = attrgetter("score", "repair")
    for (score, repair), group in groupby(sorted(settings, key=by), by):
        names = model.ranked(score, repair) if score else catalogue()
        yield from (measure(model, one, names) for one in group)


def settings_of(model: str, scores: Sequence[str], ratios: Sequence[float]) -> Iterator[Setting]:
    """Yield the ways to cut a model: not at all, by all scores, and by the first one for speed."""
    yield Setting(model, 0.0)
    for ratio in ratios:
        yield from (Setting(model, ratio, *one) for one in product(scores, (False, True)))
        yield Setting(model, ratio, scores[0], True, True)


def markdown(rows: Mapping[Setting, Row], scores: Sequence[str]) -> str:
    """Return the table: scores of tasks in percent."""
    head = ["model", "MACs", *(f"{s} cut / repaired" for s in scores), "aligned", "faster"]
    lines = [head, ["---"] * len(head)]
    nothing = Row(Setting("", 0.0), error="not measured")
    for model, ratio in sorted({(one.model, one.ratio) for one in rows if one.ratio}):
        whole = rows.get(Setting(model, 0.0), nothing)
        fast = rows.get(Setting(model, ratio, scores[0], True, True), nothing)
        pairs = [[Setting(model, ratio, s, repair) for repair in (False, True)] for s in scores]
        cells = [" / ".join(rows.get(one, nothing).percent for one in pair) for pair in pairs]
        times = "{:.2f} ({:.2f} to {:.2f})".format(*fast.faster) if fast.faster else "-"
        lines.append([f"{model} ({whole.percent})", f"-{ratio:.0%}", *cells, fast.percent, times])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, action="append", required=True)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.5])
    parser.add_argument("--scores", nargs="+", default=list(SCORES))
    parser.add_argument("--bind", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tasks, bind = find_tasks(options.tasks), dict(pair.split("=", 1) for pair in options.bind)
    kept = options.json.read_text() if options.json and options.json.exists() else ""
    known = [json.loads(line) for line in kept.splitlines()]
    rows = {s: Row(**row | {"setting": s}) for row in known for s in [Setting(**row["setting"])]}
    for path in find_models(options.models, options.only):
        settings = settings_of(path.stem, options.scores, options.ratios)
        wanted = [setting for setting in settings if setting not in rows]
        if path.stem not in tasks or not wanted:
            continue
        model = Model.read(path, options.calib / path.stem, tasks[path.stem], bind)
        for row in measure_all(model, wanted):
            rows[row.setting] = row
            print(row, file=sys.stderr, flush=True)
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    print(markdown(rows, options.scores))


if __name__ == "__main__":
    main()
