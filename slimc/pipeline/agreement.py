"""How well the outputs of two graphs agree over many samples, summed as they stream by."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from slimc.execute.ort import Session
from slimc.execute.plugins import up_to_plugins
from slimc.ir.graph import Graph
from slimc.remarks import Agreement

_CLASS_RANKS = (2, 3)  # scores [N,C] and [N,T,C]; the last axis of an image is no row of classes


@dataclass
class _Sums:
    """Running sums over the samples of one output."""

    signal: float = 0.0
    noise: float = 0.0
    max_abs: float = 0.0
    equal: int = 0
    rows: int = 0

    def add(self, wanted: np.ndarray, got: np.ndarray) -> None:
        if wanted.shape != got.shape:
            self.noise = self.max_abs = math.inf
            return
        if wanted.dtype.kind in "OUS":
            self.noise += float((wanted != got).sum())
            self.max_abs = max(self.max_abs, float((wanted != got).any()))
            return
        a, b = wanted.astype(np.float64), got.astype(np.float64)
        finite = np.isfinite(a) & np.isfinite(b)
        if not (np.array_equal(a[~finite], b[~finite], equal_nan=True)):
            self.noise = self.max_abs = math.inf
        error = np.abs(a[finite] - b[finite])
        self.signal += float(np.square(a[finite]).sum())
        self.noise += float(np.square(error).sum())
        self.max_abs = max(self.max_abs, float(error.max(initial=0.0)))
        if wanted.dtype.kind == "f" and a.ndim in _CLASS_RANKS and a.shape[-1] > 1:
            same = a.argmax(-1) == b.argmax(-1)
            self.equal += int(same.sum())
            self.rows += same.size

    def agreement(self, output: str) -> Agreement:
        if self.noise == 0:
            sqnr = math.inf
        elif self.signal == 0 or math.isinf(self.noise):
            sqnr = -math.inf
        else:
            sqnr = 10 * math.log10(self.signal / self.noise)
        top1 = self.equal / self.rows if self.rows else None
        return Agreement(output, sqnr, self.max_abs, top1)


def comparable(original: Graph, final: Graph) -> tuple[Graph, Graph]:
    """Return both graphs up to their plug-ins, with the values that both make for outputs.

    That is outputs of the original, and what plug-ins of the final one read, as far as there are
    values of these names in both; perhaps none.
    """
    (first, _), (second, aside) = up_to_plugins(original), up_to_plugins(final)
    read = (value for node in aside for value in node.reads)
    known = {*second.inputs, *second.producers, *second.constants}
    found = dict.fromkeys(v for v in (*original.outputs, *read) if v in first.producers)
    shared = tuple(value for value in found if value in known)
    return replace(first, outputs=shared), replace(second, outputs=shared)


def agreement(
    original: Graph,
    final: Graph,
    feeds: Iterable[Mapping[str, np.ndarray]],
    fuse_integers: bool = True,
) -> tuple[Agreement, ...]:
    """Run both graphs on the same feeds and compare every output that is a tensor.

    `final` makes all outputs of `original`, and may lack some of its inputs. fuse_integers: let
    onnxruntime run Q/DQ in its integer kernels; not those of a simulation, whose weights are
    floats: it would quantize them again, with one scale for all channels.
    """
    first = Session(original)
    second = Session(final, original.outputs, fuse_integers=fuse_integers)
    sums: dict[str, _Sums] = {}
    for feed in feeds:
        wanted = first.run(feed)
        got = second.run({value: feed[value] for value in second.inputs})
        for output in original.outputs:
            if isinstance(wanted[output], np.ndarray):
                sums.setdefault(output, _Sums()).add(wanted[output], got[output])
    return tuple(one.agreement(output) for output, one in sums.items())
