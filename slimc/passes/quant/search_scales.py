"""Choose the range of every activation by what rounding it does to those that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from slimc.calib.held_out import is_held
from slimc.calib.sample_errors import mean_gain_db, sample_errors
from slimc.fit.batch_norm import format_errors
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.quant.consumers import (
    Readers,
    SharedValues,
    find_shared_scales,
    observe_consumers,
)
from slimc.passes.quant.layer_fitting import simulate
from slimc.passes.quant.range_search import RangeSearch, SearchResult, candidates, range_of
from slimc.remarks import Remark, applied, note, skipped
from slimc.targets.target import Target

CLIPPING = (1.0, 3.0, 10.0, 100.0)  # how much it may count; in the last case there is next to none


@dataclass(frozen=True)
class SearchScales(Pass):
    """Try shrunk, widened and shifted ranges for every activation; keep what its readers want.

    min over ranges Q of  sum over products W that read x of  E |W (Q(x) - x)|^2 / E |W x|^2,  and
    of E (Q(x) - x)^2 / E x^2 where something else reads x, on results of samples. Values that share
    a scale get one choice; ranges that a kernel takes for granted stay. A range changes where that
    is nearer on samples held out as well. How much clipping counts beside rounding
    (`calib.range_search`) is chosen once, by the outputs (`calib.sample_errors`); where it does not
    bring them nearer beyond doubt on samples held out, all ranges stay.
    Source: Choukroun et al., ICCV-W 2019 (least squares over ranges); Nagel et al., "A white paper
    on neural network quantization", section 3.1 (by the error of what follows).
    """

    name: ClassVar[str] = "search-scales"
    promise: ClassVar[Promise] = "integers"

    samples: int = option(64, "samples to judge by, the first ones", least=1)

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        every = find_shared_scales(graph, ctx.ops)
        fixed = [_fixing_node(graph, ctx.target, values) for values in every]
        shared = [values for values, node in zip(every, fixed, strict=True) if not node]
        fixed_remarks = [skipped(node, _FIXED_RANGE) for node in fixed if node]
        if not shared:
            nothing = note("no activation has a scale that may change")
            return PassResult(graph, (nothing, *fixed_remarks))
        if ctx.data.synthetic:
            return PassResult(graph, (_SYNTHETIC,))
        searches = [RangeSearch(candidates(graph.records[values[0]])) for values in shared]
        search_of = {
            v: search for values, search in zip(shared, searches, strict=True) for v in values
        }
        feeds = list(ctx.data.first_samples(self.samples))
        observe_consumers(graph, Readers.of(graph, ctx, shared), search_of, feeds, ctx.seed)
        choices = [{v: search.best(c) for v, search in search_of.items()} for c in CLIPPING]
        graphs = [graph, *(_with_grids(graph, choice) for choice in choices)]
        floats = replace(graph, records={})
        errors = sample_errors(floats, [simulate(variant, ctx) for variant in graphs], feeds)
        held = is_held(np.arange(errors.shape[1]))
        gains = [mean_gain_db(errors[0][~held], changed[~held])[0] for changed in errors[1:]]
        best = max(range(len(choices)), key=gains.__getitem__)
        gain_db, sure = mean_gain_db(errors[0][held], errors[best + 1][held])
        facts: dict[str, Any] = {"gain_db": [round(mean, 3) for mean in gains]}
        if not sure:
            return PassResult(graph, (_NO_GAIN, *fixed_remarks), facts)
        results = choices[best]
        remarks = [_range_remark(graph, values, results[values[0]]) for values in shared]
        remarks.insert(0, note(f"outputs are {gain_db:.2f} dB nearer on samples held out"))
        facts["values"] = [_row(values, results[values[0]]) for values in shared]
        return PassResult(graphs[best + 1], (*remarks, *fixed_remarks), facts)


def _fixing_node(graph: Graph, target: Target, values: SharedValues) -> str:
    """Return the node whose kernel takes the range of one of these values for granted, if any."""
    for value in values:
        maker, dtype = graph.producers.get(value), graph.records[value].dtype
        wishes = (s[maker.kind] for s in target.schemes.values() if maker and maker.kind in s)
        for wish in wishes:
            same = wish.activations is not None and wish.activations.dtype is dtype
            if maker is not None and maker.integer and same and wish.result is not None:
                return maker.name
    return ""


def _with_grids(graph: Graph, results: Mapping[str, SearchResult]) -> Graph:
    editor = Editor(graph)
    for value, result in results.items():
        if result.is_new:
            editor.set_record(value, result.grid)
    return editor.finish(form=graph.form)


_FIXED_RANGE = "its range stays: it is taken for granted by the kernel"
_NO_GAIN = note("ranges stay as they are: with no others are outputs nearer beyond doubt")
_SYNTHETIC = note(
    "ranges stay as they are: made-up samples do not tell what real ones lose",
    help="give real samples with --calib",
)


def _range_remark(graph: Graph, values: SharedValues, result: SearchResult) -> Remark:
    maker = graph.producers.get(values[0])
    node = "" if maker is None else maker.name
    what = f"'{values[0]}'" + (f" and {len(values) - 1} with its scale" if len(values) > 1 else "")
    if not result.is_new:
        return skipped(node, f"the range of {what} stays: no other is nearer on samples held out")
    low, high = (f"{end:.6g}" for end in (range_of(result.grid).low, range_of(result.grid).high))
    return applied(node, f"{what} over {low}..{high}: {format_errors(result.before, result.after)}")


def _row(values: Sequence[str], result: SearchResult) -> dict[str, Any]:
    range_ = range_of(result.grid)
    return {
        "values": [*values],
        "range": [range_.low, range_.high],
        "changed": result.is_new,
        "error_before": round(result.before, 8),
        "error_after": round(result.after, 8),
    }
