"""Set two of every four weights to zero, which sparse tensor cores skip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np

from slimc.analysis.cost import macs
from slimc.analysis.shapes import infer
from slimc.analysis.sparsity import CHANNELS, GROUP, MULTIPLE
from slimc.calib.held_out import select_held_out
from slimc.calib.sample_errors import measure_gain
from slimc.errors import SlimcError
from slimc.fit.layer import LayerPair
from slimc.fit.lockstep import Fitter
from slimc.fit.repair import SAMPLES, LeastSquaresFitter, RepairResult, repair_layers
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise, option
from slimc.passes.context import Context
from slimc.passes.float_weights import check_float_weights
from slimc.passes.sparsify.sparse_layers import SparseLayer, SparsityBounds, select_sparse_layers
from slimc.passes.sparsify.two_of_four import TwoOfFour
from slimc.passes.traits import Trait
from slimc.remarks import Remark, applied, note
from slimc.rewrite.rule import names_matching


@dataclass(frozen=True)
class SparsifyWeights(Pass):
    """Keep two of every four weights that are neighbours along the input channels (2:4).

    With samples (`score=second-order`), the dense and the sparse graph run in lock-step. At each
    layer, in order, the weights are fitted by least squares to the outputs of the dense layer, on
    the inputs of the sparse one. Of each group, the two weights are dropped whose loss the
    following columns compensate best (`fit.sparse_columns`), and the others are fitted again. The
    fit is used if it is closer on held-out samples than the two largest weights
    (`score=magnitude`). Dense layers after it are refitted (`fit.repair`). Later passes keep the
    zeros. Approximate.
    Source: Frantar and Alistarh, SparseGPT, ICML 2023, section 3; Mishra et al., 2021 (magnitude).
    """

    name: ClassVar[str] = "sparsify-weights"
    promise: ClassVar[Promise] = "approximate"
    traits: ClassVar[frozenset[Trait]] = frozenset({Trait.SPARSIFIES})

    score: Literal["auto", "magnitude", "second-order"] = option(
        "auto",
        "which two of every four weights to keep: the largest, or those with the least error of "
        "products; auto: second-order where there are samples",
    )
    samples: int = option(SAMPLES, "samples to fit on, the first ones", least=1)
    min_channels: int = option(
        CHANNELS,
        "least input and output channels of a layer: TensorRT's sparse kernels are slower below",
        least=1,
    )
    align: int = option(
        MULTIPLE, "input channels must be a multiple of it: 4, or what kernels prefer", least=GROUP
    )
    keep: tuple[str, ...] = option((), "nodes to leave dense (names, with * and ?)")
    force: bool = option(False, "sparsify also for a target without sparse kernels")

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
        layers, skips = self._layers(graph, ctx)
        if not layers:
            return PassResult(graph, (note("no contraction becomes 2:4"), *skips), {"sparse": 0})
        masked = _mask_weights(graph, layers)
        facts = {"sparse": len(layers), "macs": _count_macs(graph, ctx, layers)}
        if ctx.data.synthetic or self.score == "magnitude":
            remarks = [applied(layer.name, _BY_MAGNITUDE) for layer in layers]
            hint = (_NO_SAMPLES,) if self.score == "auto" else ()
            return PassResult(masked, (*hint, *remarks, *skips), facts)
        fitted = self._fit_layers(graph, masked, layers, ctx)
        facts |= {"layers": list(fitted.table), "samples": fitted.samples}
        nearer, sure = self._gain(graph, masked, fitted.graph, ctx)
        facts["gain_db"] = round(nearer, 3)
        if not sure:
            why = f"outputs are not significantly closer on held-out samples ({nearer:+.2f} dB)"
            remarks = [applied(layer.name, _BY_MAGNITUDE) for layer in layers]
            return PassResult(masked, (note(f"by magnitude: {why}"), *remarks, *skips), facts)
        summary = f"outputs are {nearer:.2f} dB closer than by magnitude on held-out samples"
        if not nearer:
            summary = "too few samples to validate the outputs: each layer is validated alone"
        return PassResult(
            fitted.graph, (note(summary), *_layer_remarks(fitted, layers), *skips), facts
        )

    def explain(self, graph: Graph, ctx: Context) -> tuple[Remark, ...]:
        """Return which layers would be sparsified, and why others would not."""
        layers, skips = self._layers(graph, ctx)
        return (
            *(applied(layer.name, "two of every four weights would be kept") for layer in layers),
            *skips,
        )

    def _layers(self, graph: Graph, ctx: Context) -> tuple[list[SparseLayer], list[Remark]]:
        self._check(graph, ctx)
        keep = names_matching(graph, self.keep, f"option keep of pass {self.name}")
        return select_sparse_layers(graph, ctx, keep, SparsityBounds(self.min_channels, self.align))

    def _check(self, graph: Graph, ctx: Context) -> None:
        where = f"pass {self.name}"
        help = "give the model in floats, and put sparsify before quant: --passes sparsify,quant"
        check_float_weights(graph, ctx.ops, "weights cannot become zero in", where, help)
        if not (ctx.target.sparsity or self.force):
            text = f"target {ctx.target.name} has no sparse kernels: zeros bring no speedup"
            help = "NVIDIA GPUs since Ampere have them; sparsify{force=true} sparsifies anyway"
            raise SlimcError("no-sparse-kernels", text, where, help)
        if self.score == "second-order" and ctx.data.synthetic:
            text = "score=second-order needs samples, and there are none"
            raise SlimcError("calib-missing", text, where, "give --calib, or score=magnitude")

    def _fit_layers(
        self, graph: Graph, masked: Graph, layers: Sequence[SparseLayer], ctx: Context
    ) -> RepairResult:
        """Fit the sparse layers, and the dense ones after them, to the original outputs."""
        before = ctx.reference
        dense = {
            layer.name: layer.linear.matrix(graph.constants[layer.weight].array) for layer in layers
        }

        def fitter(layer: LayerPair, w: Floats, b: Floats) -> Fitter:
            if layer.node.name in dense:
                return TwoOfFour(dense[layer.node.name].astype(np.float64), layer, w, b)
            return LeastSquaresFitter(layer, w, b, use_held=False)

        return repair_layers(
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

    def _gain(self, graph: Graph, masked: Graph, fitted: Graph, ctx: Context) -> tuple[float, bool]:
        reference = graph if ctx.reference is None else ctx.reference.graph
        return measure_gain(reference, masked, fitted, [*select_held_out(ctx.data, self.samples)])


_BY_MAGNITUDE = "two of every four weights are kept, by magnitude"
_NO_SAMPLES = note(
    "no samples: the largest weights are kept", help="--calib keeps those with the most effect"
)


def _mask_weights(graph: Graph, layers: Sequence[SparseLayer]) -> Graph:
    editor = Editor(graph)
    for layer in layers:
        editor.set_constant(layer.weight, layer.masked_weight(graph))
    return editor.finish()


def _count_macs(graph: Graph, ctx: Context, layers: Sequence[SparseLayer]) -> list[int]:
    """Return the multiply-accumulates of all nodes, and of these layers."""
    known = macs(graph, ctx.ops, infer(graph, ctx.ops, ctx.sizes_of(graph)))
    return [sum(known.values()), sum(known.get(layer.name, 0) for layer in layers)]


def _layer_remarks(result: RepairResult, layers: Sequence[SparseLayer]) -> list[Remark]:
    """Return the remarks on the fits, and one for each layer without a fit."""
    fitted: set[Any] = {row["node"] for row in result.table}
    plain = [applied(layer.name, _BY_MAGNITUDE) for layer in layers if layer.name not in fitted]
    return [*result.remarks, *plain]
