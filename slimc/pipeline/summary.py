"""What a compile came to: measures before and after, agreement, integer layers, notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.execute.ort import check_loads
from slimc.fit.repair import FEW_SAMPLES
from slimc.io.tensors import data_files
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.passes.lower.insert_qdq import as_computed
from slimc.passes.traits import Trait
from slimc.pipeline.agreement import agreement
from slimc.pipeline.checks import Feed
from slimc.pipeline.index_map import index_map
from slimc.pipeline.input_sizes import measure_sample
from slimc.pipeline.integer_layers import ONNXRUNTIME, achieved, intended
from slimc.pipeline.provenance import digest, versions, written
from slimc.pipeline.runner import TEXT_SUFFIX, State
from slimc.pipeline.save import companion_digests, file_version
from slimc.remarks import Latency, PassReport, Remark, Report, note
from slimc.targets.rules.sparsity import sparse_weights, sparsity

NAN_SAMPLES = 256  # that are looked at: as many as passes sum over
AGREEMENT_SAMPLES = 64  # of the comparison at the end: enough for a stable SQNR, a few seconds


@dataclass(frozen=True)
class Graphs:
    """The graphs that a compile passes through."""

    given: Graph
    """The model as it was given."""
    bound: Graph
    """With its inputs fixed."""
    runs: Graph
    """What of that runs on this machine."""
    marked: Graph
    """After the passes: nodes are marked for integers."""
    lowered: Graph
    """As the target's runtime gets it."""
    whole: Graph
    """With what does not run here, and what runs at the end."""


def outcome(
    recipe: str,
    model: Graph | str | Path,
    graphs: Graphs,
    ctx: Context,
    feeds: Sequence[Feed],
    state: State,
    latency: tuple[Latency, ...],
) -> Report:
    """Measure and compare graphs. state: of the compile at its end."""
    given, whole, final = graphs.given, graphs.whole, graphs.lowered
    before = measure_sample(given, ctx.ops, ctx.sizes)
    if graphs.bound is not given:  # MACs before and after are those at the sizes of the result
        before = replace(before, macs=measure_sample(graphs.bound, ctx.ops, ctx.sizes).macs)
    after = measure_sample(whole, ctx.ops, ctx.sizes)
    size, origin = _source(given, None if isinstance(model, Graph) else Path(model))
    integer, floating = intended(graphs.marked, ctx.ops)
    indices = index_map(given, graphs.runs, state.cuts, ctx, feeds)
    with written(final, *file_version(final, ctx.target)) as file:
        check_loads(file.path)
        reached = achieved(final, file.path, ctx.target, ctx.ops) if integer else None
        size_bytes, output = file.size_bytes, file.digest
    if whole is not final:
        with written(whole, *file_version(whole, ctx.target)) as file:
            size_bytes, output = file.size_bytes, file.digest
    after = replace(after, size_bytes=size_bytes)
    digests = {"input": origin, "data": ctx.data.digest, "output": output}
    digests |= companion_digests(whole, ctx.target)
    computed = as_computed(final, ctx.ops, ctx.target)
    return Report(
        recipe=recipe,
        target=ctx.target.name,
        versions=versions(),
        digests=digests,
        before=replace(before, size_bytes=max(size, before.size_bytes)),
        after=after,
        passes=state.reports,
        agreement=agreement(
            graphs.runs, computed, ctx.data.first_samples(AGREEMENT_SAMPLES), computed is final
        ),
        notes=(
            *_notes(ctx, state, latency),
            *sparsity_notes(final, ctx, state),
            *indices.remarks,
        ),
        integer_intended=integer,
        integer_achieved=reached,
        integer_float=floating if integer else (),
        integer_oracle=ctx.target.oracle,
        latency=latency,
        indices=indices.table(),
    )


def _source(given: Graph, source: Path | None) -> tuple[int, str]:
    """Return size and digest of the model's file and the data files beside it."""
    if source is None or source.suffix == TEXT_SUFFIX:
        with written(given) as file:
            return file.size_bytes, file.digest
    files = (source, *data_files(given))
    return sum(file.stat().st_size for file in files), digest(*files)


def _notes(ctx: Context, state: State, latency: Sequence[Latency]) -> tuple[Remark, ...]:
    notes: list[Remark] = []
    data, target = ctx.data, ctx.target
    if data.synthetic:
        notes.append(
            note(
                "samples are made up: ranges and agreement are not those of real data",
                help="give samples with --calib",
            )
        )
    notes += _holding_nan(data)
    if kept := ctx.tables.summary():
        notes.append(note(kept))
    if target.chosen:
        notes.append(note(target.chosen))
    if ctx.curves is not None:
        notes.append(note(f"widths are chosen by measured curves: {ctx.curves.setup}"))
    if latency and target.runtime not in ("any", ONNXRUNTIME):
        notes.append(
            note(f"latency is that of onnxruntime on this machine; {target.name} runs otherwise")
        )
    notes += state.notes
    notes += _fitted(state.reports, data)
    removals = [r for r in state.reports_with(Trait.CUTS_CHANNELS) if r.changed]
    if not latency and removals:
        notes.append(_predicted(removals))
    return tuple(notes)


def _fitted(reports: Sequence[PassReport], data: Data) -> list[Remark]:
    """Say that few samples flatter where weights were fitted to them."""
    used = [
        report.facts["samples"]
        for report in reports
        if report.changed and report.facts.get("layers")
    ]
    if data.synthetic or not used or max(used) >= FEW_SAMPLES:
        return []
    text = f"outputs are compared on samples that weights were fitted to, and {max(used)} are few"
    return [note(f"{text}: on others they agree less", help="see slimc diff --calib OTHERS")]


def _holding_nan(data: Data) -> list[Remark]:
    """Say which inputs are NaN somewhere; infinities may be masks."""
    if data.synthetic:
        return []
    seen = {
        name: None
        for feed in data.first_samples(NAN_SAMPLES)
        for name, array in feed.items()
        if array.dtype.kind == "f" and np.isnan(array).any()
    }
    help = "look at how they were made: what is computed of them is left out of sums"
    return [note(f"samples of input '{name}' hold NaN", help=help) for name in seen]


def _predicted(removals: Sequence[PassReport]) -> Remark:
    """Say how much faster removals are predicted to make the graph, and that no one measured it."""
    ratio = prod(
        before / after for before, after in (report.facts["latency"] for report in removals)
    )
    text = f"predicted {ratio:.2f} times as fast by channel removal; not measured"
    return note(text, help="--measure does it")


def sparsity_notes(final: Graph, ctx: Context, state: State) -> tuple[Remark, ...]:
    """Count the contractions of the final graph that are 2:4, where a pass made some so.

    Weights are seen as kernels get them, behind DQ.
    """
    meant = sum(r.facts.get("sparse", 0) for r in state.reports_with(Trait.SPARSIFIES))
    if not meant:
        return ()
    ops = ctx.ops
    reached = sparsity(final, ops, sparse_weights(final, ops, infer(final, ops)))
    text = str(reached)
    if lost := meant - len(reached.sparse):
        text += f"; {lost} of those made so are not any more: passes behind changed their weights"
    return (note(text),)
