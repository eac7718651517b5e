"""Run a GraphSurgeon script on a model, and see what became of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from slimc.analysis.shapes import infer
from slimc.calib.data import Data
from slimc.errors import PromiseError, SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.execute.plugins import is_plugin, up_to_plugins
from slimc.io.read import read
from slimc.io.tensors import data_files
from slimc.io.write import write
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable
from slimc.passes.base import Pass
from slimc.pipeline.agreement import agreement, comparable
from slimc.pipeline.input_sizes import at_sizes_of
from slimc.pipeline.prepare import CHECK_FEEDS, DataSource, load, samples_from
from slimc.pipeline.script.surgeon_script import SurgeonScript, Told
from slimc.pipeline.summary import AGREEMENT_SAMPLES
from slimc.remarks import Agreement, Remark, join_names, note

_NAMED = 5  # values or nodes that a remark lists


@dataclass(frozen=True)
class Scripted:
    """What a script made of a model.

    path: its file, which is there as long as `run_script` is not left. agreement: of the outputs
    that are still there; apart: how far they are, of their largest magnitude; remarks: what changed
    besides, and what no one compared. unchecked: why the outputs are not all known to agree.
    """

    path: Path
    before: Graph
    after: Graph
    agreement: tuple[Agreement, ...]
    apart: float
    remarks: tuple[Remark, ...]
    unchecked: str = ""

    def hold(self) -> None:
        """Raise PromiseError "script-changed-values" unless all outputs are the same as before."""
        if not (self.unchecked or self.apart > Pass.tolerance):
            return
        much = f"outputs are off by {self.apart:.3g} of their largest magnitude"
        raise PromiseError(
            "script-changed-values",
            self.unchecked or f"{much}, more than {Pass.tolerance:g}",
            "option --same",
            "leave --same out where the script means to change them",
        )


@contextmanager
def run_script(
    script: SurgeonScript,
    model: Path,
    ops: OpTable,
    data: DataSource = None,
    *,
    arguments: Sequence[str] = (),
    result: str = "",
    told: Told = lambda line: None,
) -> Iterator[Scripted]:
    """Run a script on a model, read what it made, and compare the two.

    Samples are those of `data`, made up without any. Raises SlimcError as `SurgeonScript.run` and
    `read` do.
    """
    with tempfile.TemporaryDirectory(prefix="slimc-script-") as name:
        folder = Path(name)
        before = load(model)
        given = model
        if data_files(before) or model.suffix != ".onnx":
            given = folder / "given" / "model.onnx"
            given.parent.mkdir()
            write(before, given)
        made = folder / "made" / "made.onnx"
        made.parent.mkdir()
        script.run(given.resolve(), made, arguments, result, told)
        after = read(made)
        yield _compared(made, before, after, ops, data)


def _compared(path: Path, before: Graph, after: Graph, ops: OpTable, data: DataSource) -> Scripted:
    """Run both graphs, up to their plug-ins, and compare the outputs that are still there."""
    runs, aside = up_to_plugins(after)
    first, second = comparable(before, after)
    remarks = [*_ends("input", before.inputs, after.inputs)]
    remarks += [*_ends("output", before.outputs, after.outputs)]
    remarks += _aside(aside, after)
    remarks += _untyped(after, ops)
    unchecked = _unchecked(before, after, first.outputs)
    found: tuple[Agreement, ...] = ()
    apart = 0.0
    samples = samples_from(data, at_sizes_of(before, after), 0)
    try:
        if runs.outputs:
            Session(runs, threads=1)
        if first.outputs and set(after.inputs) <= set(before.inputs):
            found = agreement(first, second, samples.first_samples(AGREEMENT_SAMPLES))
            apart = _apart(first, second, samples.head(CHECK_FEEDS))
    except SlimcError as error:
        unchecked = f"outputs are not compared: {error.message}"
        remarks.append(note(unchecked, help=error.where))
    return Scripted(path, before, after, found, apart, tuple(remarks), unchecked)


def _apart(first: Graph, second: Graph, feeds: Data) -> float:
    """Return the largest difference of any output, as passes are judged by it."""
    a, b = Session(first), Session(second)
    worst = 0.0
    for feed in feeds:
        wanted, got = a.run(feed), b.run({value: feed[value] for value in b.inputs})
        worst = max(worst, *(difference(wanted[o], got[o]) for o in first.outputs))
    return worst


def _ends(word: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Remark]:
    for value in before:
        if value not in after:
            yield note(f"{word} '{value}' is gone")
    for value in after:
        if value not in before:
            yield note(f"{word} '{value}' is new")


def _aside(aside: Sequence[Node], graph: Graph) -> Iterator[Remark]:
    """Say which nodes are plug-ins, and that what is behind them is not run here."""
    for node in aside:
        if is_plugin(node):
            yield note(f"{node.kind} is a plug-in: what it makes is not run here", node.name)
    behind = [node.name for node in aside if not is_plugin(node)]
    if behind:
        yield note(f"nor is what stands behind plug-ins: {join_names(behind, most=_NAMED)}")
    lost = [o for o in graph.outputs if any(o in node.outputs for node in aside)]
    if lost:
        yield note(f"unchecked outputs: {join_names(lost, most=_NAMED)}")


def _untyped(graph: Graph, ops: OpTable) -> Iterator[Remark]:
    types = infer(graph, ops).types
    unknown = [v for node in graph.nodes for v in node.outputs if v and v not in types]
    if unknown:
        yield note(
            f"{len(unknown)} values have no type that could be inferred: "
            f"{join_names(unknown, most=_NAMED)}"
        )


def _unchecked(before: Graph, after: Graph, shared: Sequence[str]) -> str:
    if not set(after.inputs) <= set(before.inputs):
        return "outputs are not compared: the graph has other inputs"
    missing = [v for v in before.outputs if v not in shared]
    if missing:
        return f"not compared: {join_names(missing, most=_NAMED)}"
    return ""
