"""Is what a pass made sound: well formed, loadable, and of the values the pass promises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from slimc.calib.feeds import has_sample_axis, specs_of
from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType, static_shape
from slimc.ir.verify import verify
from slimc.passes.base import Pass, PassResult
from slimc.remarks import Remark, note

# f16 rounds at 5e-4, bf16 at 4e-3: operators expressed by others round more often, and sums in
# another order differ by some of that.
_HALF_TOLERANCES = {DType.F16: 1e-2, DType.BF16: 8e-2}

NOISES = 10  # how many times the noise of one rounding a rewrite may make: it rounds in many places
_ROUNDING = 2.0**-22  # two units in the last place of an f32
_WEIGHT_RANK = 2  # constants with fewer axes may be sizes or scales, which must stay what they are

Feed = Mapping[str, np.ndarray]
Results = tuple[Mapping[str, Any], ...]

SAMPLES = 4  # of the first feed: a wrong rewrite shows on one sample, and each pass is checked


def few(feeds: Sequence[Feed], graph: Graph) -> tuple[Feed, ...]:
    """Cut feeds down to the first `SAMPLES` samples where they can be cut."""
    if not has_sample_axis(graph):
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
    def of(cls, graph: Graph, feeds: Sequence[Feed], made_up: bool = False) -> Checker:
        """Run the graph to start from; made_up: no one gave the feeds.

        Raises SlimcError "model-does-not-run".
        """
        cut = few(feeds, graph)
        try:
            session = Session(graph)
            first, second = (tuple(session.run(feed) for feed in cut) for _ in range(2))
        except SlimcError as error:
            raise SlimcError(
                "model-does-not-run",
                f"onnxruntime cannot run the model as it came: {error.message}",
                error.where,
                _suiting(graph, cut[0], made_up) if cut else "",
            ) from error
        steady = tuple(o for o in graph.outputs if _worst(first, second, o) == 0)
        return cls(cut, first, steady)

    def check(
        self, one: Pass, before: Graph, made: PassResult
    ) -> tuple[Checker, tuple[Remark, ...]]:
        """Check what a pass made; return the checker for the next pass, and what is to be said.

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
        said: tuple[Remark, ...] = ()
        if one.promise == "same" or made.expected is not None:
            wanted = self.results if made.expected is None else _run(made.expected, self.feeds)
            tolerance = max(one.tolerance, half_tolerance(graph))
            said = self._compare(where, made.expected or before, wanted, results, tolerance)
        return replace(self, results=results), said

    def _compare(
        self, where: str, model: Graph, wanted: Results, results: Results, tolerance: float
    ) -> tuple[Remark, ...]:
        """Compare results with those of `model`; what rounding alone does to it is no fault."""
        apart = {output: _worst(wanted, results, output) for output in self.steady}
        apart = {output: much for output, much in apart.items() if not much <= tolerance}
        noise = rounding_noise(model, self.feeds, wanted) if apart else {}
        said: list[Remark] = []
        for output, much in apart.items():
            if not much <= NOISES * noise[output]:
                raise SlimcError(
                    "pass-broke-values",
                    f"output '{output}' is off by {much:.3g} of its largest magnitude, "
                    f"more than {tolerance:g}",
                    where,
                    "this is a fault of the pass; leave it out, and report it",
                )
            said.append(
                note(
                    f"output '{output}' is off by {much:.1g} of its largest magnitude; on these "
                    f"samples rounding its weights once makes {noise[output]:.1g}"
                )
            )
        return tuple(said)


def rounding_noise(graph: Graph, feeds: Sequence[Feed], results: Results) -> dict[str, float]:
    """Return how far each output is off if every weight is off by one rounding.

    Where a model amplifies that (a normalisation of almost equal numbers), no rewrite can keep its
    values more exactly. Also what onnxruntime's own optimizations make of it.
    """
    rng = np.random.default_rng(0)
    constants = {name: _nudged(c, rng) for name, c in graph.constants.items()}
    nudged = _run(replace(graph, constants=constants), feeds)
    plain = Session(graph, optimize=False)
    unfused = tuple(plain.run(feed) for feed in feeds)
    return {
        output: max(_worst(results, nudged, output), _worst(results, unfused, output))
        for output in graph.outputs
    }


def _suiting(graph: Graph, feed: Feed, made_up: bool) -> str:
    """Say what every input was given, and which options give it something else."""
    given, options = [], [] if not made_up else ["--calib SAMPLES"]
    for name, spec in specs_of(feed).items():
        kind = graph.tensor(name)
        number = kind is not None and kind.dtype.is_integer and not kind.shape
        given.append(f"'{name}' {spec}" + (f" {feed[name].item()}" if number else ""))
        if number:
            options.append(f"--bind {name}=VALUE")
        elif static_shape(kind) is None:
            options.append(f"--shape {name}=SIZES")
    samples = "made-up samples" if made_up else "samples"
    mend = f"; give what suits: {', '.join(options)}" if options else ""
    return f"its inputs were {samples}: {', '.join(given)}{mend}"


def _nudged(constant: Constant, rng: np.random.Generator) -> Constant:
    array = constant.array
    if array.dtype != np.float32 or array.ndim < _WEIGHT_RANK:
        return constant
    signs = rng.integers(0, 2, array.shape, np.int8) * 2 - 1
    return Constant(array * (1 + np.float32(_ROUNDING) * signs.astype(np.float32)))


def _run(graph: Graph, feeds: Sequence[Feed]) -> Results:
    session = Session(graph)
    return tuple(session.run(feed) for feed in feeds)


def _worst(wanted: Results, results: Results, output: str) -> float:
    return max(
        (difference(a[output], b[output]) for a, b in zip(wanted, results, strict=True)),
        default=0.0,
    )


def half_tolerance(graph: Graph) -> float:
    """Return what the widest rounding of a graph's 16-bit floats may make; 0: it has none."""
    kinds = (*graph.types.values(), *(c.type for c in graph.constants.values()))
    found = {kind.dtype for kind in kinds if isinstance(kind, TensorType)}
    return max((t for dtype, t in _HALF_TOLERANCES.items() if dtype in found), default=0.0)
