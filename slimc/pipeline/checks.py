"""Is what a pass made sound: well formed, loadable, and of the values the pass promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType
from slimc.ir.verify import verify
from slimc.passes.base import Pass, PassResult

_HALVES = (DType.F16, DType.BF16)
_HALF_TOLERANCE = 1e-2  # f16 rounds at 5e-4, and sums in another order differ by some of that

Feed = Mapping[str, np.ndarray]
Results = tuple[Mapping[str, Any], ...]

SAMPLES = 4  # of the first feed: a wrong rewrite shows on one sample, and each pass is checked


def few(feeds: Sequence[Feed], graph: Graph) -> tuple[Feed, ...]:
    """Cut feeds down to the first `SAMPLES` samples where all inputs share a named leading axis."""
    leading = set()
    for name in graph.inputs:
        kind = graph.types.get(name)
        leading.add(kind.shape[0] if isinstance(kind, TensorType) and kind.shape else None)
    if len(leading) != 1 or not isinstance(leading.pop(), str):
        return tuple(feeds)
    return tuple({name: array[:SAMPLES] for name, array in feed.items()} for feed in feeds)


@dataclass(frozen=True)
class Checker:
    """Feeds, and the results that the graph so far has on them.

    `steady`: outputs that do not differ from run to run; only these are compared.
    """

    feeds: tuple[Feed, ...]
    results: Results
    steady: tuple[str, ...]

    @classmethod
    def of(cls, graph: Graph, feeds: Sequence[Feed]) -> Checker:
        """Run the graph to start from. Raises SlimcError "model-does-not-run"."""
        cut = few(feeds, graph)
        try:
            session = Session(graph)
            first, second = (tuple(session.run(feed) for feed in cut) for _ in range(2))
        except SlimcError as error:
            raise SlimcError(
                "model-does-not-run",
                f"onnxruntime cannot run the model as it came: {error.message}",
                error.where,
                "made-up samples may be out of a model's range: give real ones with --calib",
            ) from error
        steady = tuple(o for o in graph.outputs if _worst(first, second, o) == 0)
        return cls(cut, first, steady)

    def check(self, one: Pass, before: Graph, made: PassResult) -> Checker:
        """Check what a pass made; return the checker for the next pass.

        Raises SlimcError "pass-broke-graph" or "pass-broke-values".
        """
        graph = made.graph
        where = f"pass {one}"
        if graph.inputs != before.inputs or graph.outputs != before.outputs:
            raise SlimcError(
                "pass-broke-graph",
                "the inputs or outputs of the graph changed",
                where,
                "a pass keeps the names and the order of inputs and outputs",
            )
        try:
            verify(graph)
            results = _run(graph, self.feeds)
        except SlimcError as error:
            raise SlimcError(
                "pass-broke-graph", error.message, f"{where}; {error.where}", error.help
            ) from error
        wanted = self.results
        if made.expected is not None:
            wanted = _run(made.expected, self.feeds)
        if one.promise == "same" or made.expected is not None:
            self._compare(one, graph, wanted, results)
        return replace(self, results=results)

    def _compare(self, one: Pass, graph: Graph, wanted: Results, results: Results) -> None:
        tolerance = max(one.tolerance, _HALF_TOLERANCE) if _has_halves(graph) else one.tolerance
        for output in self.steady:
            apart = _worst(wanted, results, output)
            if not apart <= tolerance:
                raise SlimcError(
                    "pass-broke-values",
                    f"output '{output}' is off by {apart:.3g} of its largest magnitude, "
                    f"more than {tolerance:g}",
                    f"pass {one}",
                    "this is a fault of the pass; leave it out, and report it",
                )


def _run(graph: Graph, feeds: Sequence[Feed]) -> Results:
    session = Session(graph)
    return tuple(session.run(feed) for feed in feeds)


def _worst(wanted: Results, results: Results, output: str) -> float:
    return max(
        (difference(a[output], b[output]) for a, b in zip(wanted, results, strict=True)),
        default=0.0,
    )


def _has_halves(graph: Graph) -> bool:
    kinds = (*graph.types.values(), *(c.type for c in graph.constants.values()))
    return any(isinstance(kind, TensorType) and kind.dtype in _HALVES for kind in kinds)
