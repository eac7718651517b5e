"""Ask the runtime that can prove a target how it runs a file, and the rules why it falls short."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from slimc.analysis.shapes import default_sizes, retype
from slimc.errors import SlimcError
from slimc.execute.oracles.ask import (
    LIMIT_SECONDS,
    Answer,
    Oracle,
    Problem,
    ask,
    oracle_of,
)
from slimc.execute.ort import check_loads
from slimc.execute.plugins import is_plugin, up_to_plugins
from slimc.execute.rounded import has_narrow
from slimc.io.downgrade import lowest_opset
from slimc.io.named import copy_with_names
from slimc.io.read import FileHeader, read_with_header
from slimc.io.write import write
from slimc.ir import dims
from slimc.ir.graph import Graph
from slimc.ir.types import static_shape
from slimc.ops.op import OpTable
from slimc.passes.canonical.bind_inputs import with_shapes
from slimc.pipeline.agreement import agreement, comparable
from slimc.pipeline.input_sizes import at_sizes_of
from slimc.pipeline.inspect.lint import Verdict, judge
from slimc.pipeline.integer_layers import ONNXRUNTIME, Layer, takes_signed, traced
from slimc.pipeline.prepare import DataSource, load, samples_from
from slimc.pipeline.summary import AGREEMENT_SAMPLES
from slimc.remarks import Agreement
from slimc.targets.target import Finding, Subject, Target


@dataclass(frozen=True, eq=False)
class Proof(Verdict):
    """What a runtime said of a file, layer by layer, and what the target's rules say.

    oracle: who was asked. shown: it is the target's, so that layers are told; else it stands in,
    and shows only that the file loads. stated: sentences on how far that goes.
    """

    oracle: Oracle
    shown: bool
    answer: Answer
    stated: tuple[str, ...] = ()
    agreement: tuple[Agreement, ...] = ()

    @property
    def refused(self) -> tuple[Finding, ...]:
        """What, by the rules, the target's runtime does not parse or build."""
        return tuple(one for one in self.findings if one.severity == "error")

    @cached_property
    def lost(self) -> tuple[Layer, ...]:
        """Layers that were meant to run in integers and do not; of no oracle, by the rules.

        None where there is no engine to look at.
        """
        if not self.shown:
            return super().lost
        if not self.answer.built:
            return ()
        return tuple(layer for layer in self.intended if not layer.reached)

    @property
    def passed(self) -> bool:
        """Tell whether it builds, no rule refuses it, and all runs in integers that is meant to."""
        return bool(self.answer.built) and not self.refused and not self.lost

    def why_refused(self, problem: Problem) -> tuple[Finding, ...]:
        """Return the findings that foretell a refusal: near its node, or on the whole file.

        All of them where the runtime names no node of the file.
        """
        node = next((n for n in self.subject.graph.walk() if n.name == problem.node), None)
        if node is None:
            return self.refused
        near = {"", *self._near(node)}
        return tuple(one for one in self.refused if one.node in near)


def verify(
    file: str | Path,
    target: Target,
    ops: OpTable,
    *,
    shape: Mapping[str, str] | None = None,
    python: str = "",
    limit_seconds: float = LIMIT_SECONDS,
    against: str | Path | None = None,
    data: DataSource = None,
) -> Proof:
    """Ask the target's oracle about a model file.

    shape: input -> `1x3x224x224`: sizes to build for, and to hold rules to, where the file leaves
    them open. python: an interpreter that has the oracle's packages. against: the model that it was
    made of; both then run in onnxruntime on `data`, or on made-up samples, and their outputs are
    compared. Raises SlimcError: those of `slimc.io.read`, oracle-missing, unknown-input,
    bad-binding, inputs-differ.
    """
    file = Path(file)
    original = load(against) if against is not None else None
    name = target.oracle or ONNXRUNTIME
    oracle, variant = oracle_of(name)
    with tempfile.TemporaryDirectory() as folder:
        graph, header = read_with_header(file)
        asked = copy_with_names(file, Path(folder))
        if asked != file:
            graph, header = read_with_header(asked)
        asked, plugins = _before_plugins(asked, graph, header, Path(folder))
        sized = _sized(graph, ops, shape or {})
        options = {"variant": variant, "signed": takes_signed(target), **_sizes(graph, sized)}
        answer = ask(oracle, asked, options, python if target.oracle else "", limit_seconds)
    verdict = judge(Subject(sized, ops, target, header))
    proof = Proof(
        verdict.subject,
        verdict.findings,
        traced(sized, verdict.layers, answer.kernels if target.oracle else ()),
        oracle,
        bool(target.oracle),
        answer if target.oracle else _loading(answer, graph, file),
        (*_stated(target, oracle, variant), *plugins),
    )
    if original is None:
        return proof
    return replace(proof, agreement=_compared(original, graph, data))


def _before_plugins(
    file: Path, graph: Graph, header: FileHeader, folder: Path
) -> tuple[Path, tuple[str, ...]]:
    """Return the file to ask about: no oracle has plug-ins, so it ends before them; and say so."""
    runs, aside = up_to_plugins(graph)
    if not aside or not runs.outputs:
        return file, ()
    before = folder / "before_plugins.onnx"
    write(runs, before, lowest_opset(runs, header.opset), header.ir_version)
    kinds = ", ".join(dict.fromkeys(node.kind for node in aside if is_plugin(node)))
    return before, (f"asked up to its plug-ins ({kinds}): no one looks at them here",)


def _sized(graph: Graph, ops: OpTable, shape: Mapping[str, str]) -> Graph:
    """Return the graph with numbers for the sizes given; branches stay, since the file has them."""
    if not shape:
        return graph
    return retype(with_shapes(graph, [f"{name}={sizes}" for name, sizes in shape.items()]), ops)


def _sizes(graph: Graph, sized: Graph) -> dict[str, object]:
    """Return the options of oracles that say sizes of inputs.

    sizes: numbers of named sizes that were given; shapes: of inputs, where given; profile: of all
    inputs, usual sizes where none are given.
    """
    usual = default_sizes(sized)
    sizes: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    profile: dict[str, list[object]] = {}
    for name in graph.inputs:
        before, after = graph.tensor(name), sized.tensor(name)
        if before is None or after is None:
            continue
        pairs = zip(before.shape or (), after.shape or (), strict=False)
        sizes |= {old: new for old, new in pairs if isinstance(old, str) and isinstance(new, int)}
        fixed = static_shape(after)
        if fixed is not None and before != after:
            shapes[name] = fixed
        if after.shape is not None:
            profile[name] = [dims.evaluate(size, usual) for size in after.shape]
    return {"sizes": sizes, "shapes": shapes, "profile": profile}


def _loading(answer: Answer, graph: Graph, file: Path) -> Answer:
    """Return what loading a file in onnxruntime shows of it for another runtime.

    onnxruntime lacks kernels for many 16-bit floats; such a graph is loaded as slimc runs it.
    """
    if answer.built or not has_narrow(graph):
        return answer
    check_loads(file)
    return replace(answer, parsed=True, built=True, problems=())


def _stated(target: Target, oracle: Oracle, device: str) -> tuple[str, ...]:
    """Say what the answer proves of a target, and what not."""
    runtime = f"{target.runtime} {target.version}".strip()
    if not target.oracle:
        return (
            f"no runtime here stands for {target.name} ({runtime}): what is shown is that the file "
            f"loads in {oracle.title}, and what the rules of {target.name} find",
        )
    return (oracle.shows.format(runtime=runtime, device=device),) if device and oracle.shows else ()


def _compared(original: Graph, graph: Graph, source: DataSource) -> tuple[Agreement, ...]:
    """Compare outputs on samples of the original; inputs that were bound since are left out.

    Outputs that suppression took the place of are compared where they are values still.
    """
    first, second = comparable(original, graph)
    same = set(first.outputs) >= set(original.outputs)
    if not set(graph.inputs) <= set(original.inputs) or not same:
        raise SlimcError(
            "inputs-differ",
            "the models have other inputs or outputs",
            f"{_ends(original)} and {_ends(graph)}",
            "give the model that the file was made of",
        )
    data = samples_from(source, at_sizes_of(original, graph), seed=0)
    return agreement(first, second, data.first_samples(AGREEMENT_SAMPLES))


def _ends(graph: Graph) -> str:
    return f"({', '.join(graph.inputs)}) -> ({', '.join(graph.outputs)})"
