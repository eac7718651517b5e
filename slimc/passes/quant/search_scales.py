"""Choose the range of every activation by what rounding it does to those that read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from slimc.calib.held_out import is_held
from slimc.calib.sample_errors import gain, sample_errors
from slimc.fit.batch_norm import change
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.quant.consumers import Readers, Shared, shared_scales, watch
from slimc.passes.quant.layer_fitting import simulated
from slimc.passes.quant.range_search import Found, Search, candidates, range_of
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
        every = shared_scales(graph, ctx.ops)
        fixed = [_fixed(graph, ctx.target, values) for values in every]
        shared = [values for values, node in zip(every, fixed, strict=True) if not node]
        left = [skipped(node, _GRANTED) for node in fixed if node]
        if not shared:
            nothing = note("no activation has a scale that may change")
            return PassResult(graph, (nothing, *left))
        if ctx.data.synthetic:
            return PassResult(graph, (_SYNTHETIC,))
        searches = [Search(candidates(graph.records[values[0]])) for values in shared]
        of = {v: one for values, one in zip(shared, searches, strict=True) for v in values}
        feeds = list(ctx.data.first_samples(self.samples))
        watch(graph, Readers.of(graph, ctx, shared), of, feeds, ctx.seed)
        ways = [{v: one.best(c) for v, one in of.items()} for c in CLIPPING]
        graphs = [graph, *(_with_grids(graph, way) for way in ways)]
        floats = replace(graph, records={})
        errors = sample_errors(floats, [simulated(one, ctx) for one in graphs], feeds)
        held = is_held(np.arange(errors.shape[1]))
        gains = [gain(errors[0][~held], one[~held])[0] for one in errors[1:]]
        best = max(range(len(ways)), key=gains.__getitem__)
        nearer, sure = gain(errors[0][held], errors[best + 1][held])
        facts: dict[str, Any] = {"gain_db": [round(mean, 3) for mean in gains]}
        if not sure:
            return PassResult(graph, (_NOTHING, *left), facts)
        found = ways[best]
        said = [_told(graph, values, found[values[0]]) for values in shared]
        said.insert(0, note(f"outputs are {nearer:.2f} dB nearer on samples held out"))
        facts["values"] = [_row(values, found[values[0]]) for values in shared]
        return PassResult(graphs[best + 1], (*said, *left), facts)


def _fixed(graph: Graph, target: Target, values: Shared) -> str:
    """Return the node whose kernel takes the range of one of these values for granted, if any."""
    for value in values:
        maker, dtype = graph.producers.get(value), graph.records[value].dtype
        wishes = (s[maker.kind] for s in target.schemes.values() if maker and maker.kind in s)
        for wish in wishes:
            same = wish.activations is not None and wish.activations.dtype is dtype
            if maker is not None and maker.integer and same and wish.result is not None:
                return maker.name
    return ""


def _with_grids(graph: Graph, found: Mapping[str, Found]) -> Graph:
    editor = Editor(graph)
    for value, one in found.items():
        if one.is_new:
            editor.set_record(value, one.grid)
    return editor.done(form=graph.form)


_GRANTED = "its range stays: it is taken for granted by the kernel"
_NOTHING = note("ranges stay as they are: with no others are outputs nearer beyond doubt")
_SYNTHETIC = note(
    "ranges stay as they are: made-up samples do not tell what real ones lose",
    help="give real samples with --calib",
)


def _told(graph: Graph, values: Shared, found: Found) -> Remark:
    maker = graph.producers.get(values[0])
    node = "" if maker is None else maker.name
    what = f"'{values[0]}'" + (f" and {len(values) - 1} with its scale" if len(values) > 1 else "")
    if not found.is_new:
        return skipped(node, f"the range of {what} stays: no other is nearer on samples held out")
    low, high = (f"{end:.6g}" for end in (range_of(found.grid).low, range_of(found.grid).high))
    return applied(node, f"{what} over {low}..{high}: {change(found.before, found.after)}")


def _row(values: Sequence[str], found: Found) -> dict[str, Any]:
    of = range_of(found.grid)
    return {
        "values": [*values],
        "range": [of.low, of.high],
        "changed": found.is_new,
        "error_before": round(found.before, 8),
        "error_after": round(found.after, 8),
    }
