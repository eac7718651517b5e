"""Measure how much each quantized region of a model, alone, does to the outputs or to a score."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from slimc.calib.feeds import count_samples, specs_of
from slimc.calib.output_loss import Loss, MetricLoss
from slimc.errors import SlimcError
from slimc.execute.threads import one_blas_thread
from slimc.ir.digest import digest
from slimc.ir.graph import Graph
from slimc.passes.base import Options, first_with
from slimc.passes.text import passes_text
from slimc.passes.traits import Trait
from slimc.pipeline.accuracy_control import seen_only
from slimc.pipeline.accuracy_criteria import decibels, metric_of, output_error
from slimc.pipeline.catalogue import Catalogue
from slimc.pipeline.options import CompileOptions
from slimc.pipeline.prepare import DataSource, Prepared, prepare
from slimc.pipeline.region_losses import Simulation, load_for, noises, split
from slimc.pipeline.runner import State
from slimc.targets.target import Target

FORMAT = "slimc-region-noise-1"
_DIGITS = 4  # of the dB in the file

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class RegionNoise:
    """What one region alone does. nodes: in graph order; macs: of a sample of the data's size."""

    name: str
    nodes: tuple[str, ...]
    noise: float
    macs: int

    @property
    def sqnr_db(self) -> float:
        """Signal over noise at the outputs, where the noise is the error of outputs."""
        return decibels(self.noise)


@dataclass(frozen=True)
class RegionNoises:
    """The regions of a quantized model, the worst first.

    model: digest of the canonical graph; passes: as they ran; whole: the noise of all regions
    together; samples: that outputs are compared on, 0 where a score of the user's own is measured;
    synthetic: samples are made up.
    """

    model: str
    target: str
    passes: str
    whole: float
    samples: int
    synthetic: bool
    score: str
    regions: tuple[RegionNoise, ...]

    def share(self, region: RegionNoise) -> float:
        """Return the part of a region in the sum of what each does alone."""
        total = sum(max(0.0, one.noise) for one in self.regions)
        return max(0.0, region.noise) / total if total else 0.0


def region_noises(
    model: Graph | str | Path,
    passes: str | Sequence[Options] = "quant",
    target: str | Target = "generic-onnx",
    data: DataSource = None,
    *,
    score: str | Path | None = None,
    bind: Mapping[str, str] | None = None,
    shape: Mapping[str, str] | None = None,
    seed: int = 0,
    names: Catalogue | None = None,
    watch: Watch | None = None,
) -> RegionNoises:
    """Quantize a model once, then run it with each region alone in integers.

    Signs of errors differ, so what a region takes away where all others stay in integers may be
    less than nothing; what it adds alone is not, and ranks better what to leave in floats. Passes
    leave out the last samples, which the outputs are compared on. score: a Python file with
    `score(run) -> float`; then noise is the loss of that score. Raises SlimcError.
    """
    options = CompileOptions(bind=bind, shape=shape, seed=seed, names=names)
    prepared = prepare(model, passes, target, data, options)
    ctx, graph = prepared.ctx, prepared.graph
    seen, unseen = split(ctx.data)
    before, marked = _quantized(prepared, seen)
    loss: Loss
    if score is not None:
        metric = MetricLoss.of(graph, metric_of(score))
        loss, count = replace(metric, load=load_for(ctx.target)), 0
    else:
        loss = error = output_error(graph, ctx, unseen)
        count = sum(count_samples(specs_of(feed), graph) for feed in error.feeds)
    simulation = Simulation(marked.graph, before.graph, ctx, loss)
    found: list[RegionNoise] = []
    with one_blas_thread():
        whole = simulation.loss_without(())
        for region, noise in noises(simulation):
            found.append(RegionNoise(region.name, region.nodes, noise, simulation.macs(region)))
            if watch is not None:
                watch(len(found), len(simulation.regions))
    return RegionNoises(
        digest(graph),
        ctx.target.name,
        passes_text(marked.passes[len(prepared.start.steps) :]),
        whole,
        count,
        ctx.data.synthetic,
        Path(score).name if score is not None else "",
        tuple(sorted(found, key=lambda one: -one.noise)),
    )


def _quantized(prepared: Prepared, seen: int) -> tuple[State, State]:
    """Return the state that scales are chosen in, and the one of a graph with records."""
    place = first_with(Trait.QUANTIZES, prepared.steps)
    steps = [seen_only(pass_, seen) for pass_ in prepared.steps]
    before = prepared.runner.run(prepared.start, steps[:place])
    marked = before if place is None else prepared.runner.run(before, steps[place:])
    if not marked.graph.records:
        raise SlimcError(
            "nothing-quantized",
            "no node of the model is quantized, so there are no regions",
            "slimc sensitivity",
            "name a stage that quantizes, --passes quant, and a target that runs integers",
        )
    return before, marked


def noises_text(made: RegionNoises) -> str:
    """Write what was measured as JSON."""
    rows = [
        {
            **asdict(one),
            "sqnr_db": None if made.score or one.noise <= 0 else round(one.sqnr_db, _DIGITS),
            "share": round(made.share(one), _DIGITS),
        }
        for one in made.regions
    ]
    found = {"format": FORMAT, **asdict(made), "regions": rows}
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
