"""Make two of every four weights zero, which sparse tensor cores skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from slimc.analysis.cost import macs
from slimc.analysis.shapes import infer
from slimc.analysis.sparsity import CHANNELS, GROUP, MULTIPLE
from slimc.calib.held_out import held_out
from slimc.calib.sample_errors import surely_nearer
from slimc.errors import SlimcError
from slimc.fit.layer import Layer
from slimc.fit.lockstep import Fitter
from slimc.fit.repair import SAMPLES, Refit, Repaired, repair
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.float_weights import check_float_weights
from slimc.passes.sparsify.sparse_layers import Bounds, SparseLayer, sparse_layers
from slimc.passes.sparsify.two_of_four import TwoOfFour
from slimc.passes.traits import Trait
from slimc.remarks import Remark, applied, note
from slimc.rewrite.rule import names_matching


@dataclass(frozen=True)
class SparsifyWeights(Pass):
    """Keep two of every four weights that are neighbours along the input channels (2:4).

    With samples (`score=second-order`), the graph as it was and the sparse one run in lock-step:
    at each layer, in order, weights are fitted by least squares to what the layer made, from what
    it reads now; of each group the two go whose loss the columns that follow make up for best
    (`calib.sparse_columns`), and those that stay are fitted again. A layer keeps this if it is
    nearer on samples held out than the two largest (`score=magnitude`); dense layers behind are
    refitted (`rewrite.repair`). Later passes keep the zeros. Approximate.
    Source: Frantar and Alistarh, SparseGPT, ICML 2023, section 3; Mishra et al., 2021 (magnitude).
    """

    name: ClassVar[str] = "sparsify-weights"
    promise: ClassVar[Promise] = "approximate"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.SPARSIFIES})

    score: Literal["auto", "magnitude", "second-order"] = option(
        "auto",
        "which two of four stay: the largest, or those whose products are nearest; auto: "
        "second-order where there are samples",
    )
    samples: int = option(SAMPLES, "samples to fit on, the first ones", least=1)
    min_channels: int = option(
        CHANNELS,
        "input and output channels of a layer worth it: TensorRT's sparse kernels are slower below",
        least=1,
    )
    align: int = option(
        MULTIPLE, "of which input channels must be a multiple: 4, or what kernels like", least=GROUP
    )
    keep: tuple[str, ...] = option((), "nodes to leave dense (names, with * and ?)")
    force: bool = option(False, "also for a target that gains nothing by it")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.align % GROUP:
            raise self.bad_option(f"align is {self.align}, it must be a multiple of {GROUP}")
        if self.score == "magnitude" and self.samples != SAMPLES:
            text = "samples has no effect with score=magnitude: nothing is fitted"
            raise self.bad_option(text, "leave out one of them")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        """Make layers sparse.

        Raises SlimcError: already-quantized, no-sparse-kernels, unknown-node,
        calib-missing.
        """
        layers, left = self._layers(graph, ctx)
        if not layers:
            return PassResult(graph, (note("no contraction becomes 2:4"), *left), {"sparse": 0})
        masked = _masked(graph, layers)
        facts = {"sparse": len(layers), "macs": _macs(graph, ctx, layers)}
        if ctx.data.synthetic or self.score == "magnitude":
            said = [applied(one.name, _BY_MAGNITUDE) for one in layers]
            hint = (_NO_SAMPLES,) if self.score == "auto" else ()
            return PassResult(masked, (*hint, *said, *left), facts)
        made = self._fitted(graph, masked, layers, ctx)
        facts |= {"layers": list(made.table), "samples": made.samples}
        nearer, sure = self._gain(graph, masked, made.graph, ctx)
        facts["gain_db"] = round(nearer, 3)
        if not sure:
            why = f"outputs are not surely nearer on samples held out ({nearer:+.2f} dB)"
            said = [applied(one.name, _BY_MAGNITUDE) for one in layers]
            return PassResult(masked, (note(f"by magnitude: {why}"), *said, *left), facts)
        whole = f"outputs are {nearer:.2f} dB nearer than by magnitude on samples held out"
        if not nearer:
            whole = "there are too few samples to judge the outputs by: each layer is judged alone"
        return PassResult(made.graph, (note(whole), *_told(made, layers), *left), facts)

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Say which layers become sparse, and why others do not."""
        layers, left = self._layers(graph, ctx)
        return (*(applied(one.name, "two of four weights will stay") for one in layers), *left)

    def _layers(self, graph: Graph, ctx: Context) -> tuple[list[SparseLayer], list[Remark]]:
        self._check(graph, ctx)
        keep = names_matching(graph, self.keep, f"option keep of pass {self.name}")
        return sparse_layers(graph, ctx, keep, Bounds(self.min_channels, self.align))

    def _check(self, graph: Graph, ctx: Context) -> None:
        where = f"pass {self.name}"
        help = "give the model in floats, and put sparsify before quant: --passes sparsify,quant"
        check_float_weights(graph, ctx.ops, "weights cannot become zero in", where, help)
        if not (ctx.target.sparsity or self.force):
            text = (
                f"target {ctx.target.name} has no sparse kernels: zeros make nothing faster there"
            )
            help = "NVIDIA GPUs since Ampere have them; sparsify{force=true} does it even so"
            raise SlimcError("no-sparse-kernels", text, where, help)
        if self.score == "second-order" and ctx.data.synthetic:
            text = "score=second-order needs samples, and there are none"
            raise SlimcError("calib-missing", text, where, "give --calib, or score=magnitude")

    def _fitted(
        self, graph: Graph, masked: Graph, layers: Sequence[SparseLayer], ctx: Context
    ) -> Repaired:
        """Fit the sparse layers, and the dense ones behind, to what was made before."""
        before = ctx.reference
        dense = {one.name: one.one.matrix(graph.constants[one.weight].array) for one in layers}

        def fitter(one: Layer, w: Floats, b: Floats) -> Fitter:
            if one.node.name in dense:
                return TwoOfFour(dense[one.node.name].astype(np.float64), one, w, b)
            return Refit(one, w, b, again=False)

        return repair(
            graph if before is None else before.graph,
            masked,
            {} if before is None else before.kept,
            ctx.ops,
            ctx.data,
            ctx.sizes_of(graph),
            ctx.seed,
            self.samples,
            progress=partial(ctx.progress, "fitting layers"),
            fitter=fitter,
            also=dense,
        )

    def _gain(self, graph: Graph, masked: Graph, made: Graph, ctx: Context) -> tuple[float, bool]:
        wanted = graph if ctx.reference is None else ctx.reference.graph
        return surely_nearer(wanted, masked, made, [*held_out(ctx.data, self.samples)])


_BY_MAGNITUDE = "two of four weights stay, by magnitude"
_NO_SAMPLES = note(
    "there are no samples: the largest weights stay", help="with --calib those stay that matter"
)


def _masked(graph: Graph, layers: Sequence[SparseLayer]) -> Graph:
    editor = Editor(graph)
    for one in layers:
        editor.set_constant(one.weight, one.masked(graph))
    return editor.done()


def _macs(graph: Graph, ctx: Context, layers: Sequence[SparseLayer]) -> list[int]:
    """Return the multiply-accumulates of all nodes, and of these layers."""
    known = macs(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes_of(graph)))
    return [sum(known.values()), sum(known.get(one.name, 0) for one in layers)]


def _told(made: Repaired, layers: Sequence[SparseLayer]) -> list[Remark]:
    """Return the remarks of the fits, and one for each layer that was not fitted."""
    fitted: set[Any] = {row["node"] for row in made.table}
    plain = [applied(one.name, _BY_MAGNITUDE) for one in layers if one.name not in fitted]
    return [*made.remarks, *plain]
