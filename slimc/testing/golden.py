"""Golden files: one sentence, a pipeline, an input, and the expected result.

    A Conv without a bias gains one from the BatchNormalization after it.
    pipeline: fold-batch-norm
    values: same within 1e-5
    --- input
    graph (%x: f32[N,3,8,8]) -> (%y)
      ...
    --- output
    graph ...
    --- remarks
    applied @bn: folded into @conv

Lines of the head, after the sentence (paths are relative to the golden file):

    pipeline   passes, as for `slimc --passes`; exactly these run, nothing is added
    values     `same within T`: the output computes what the input computes; `masked within T`: each
               pass gives the values that it states (channels removed = channels zero).
               T is relative to the largest magnitude of an output
    target     a target's name (default generic-onnx)
    data       a folder or file of samples (default: random samples)
    sizes      `N=2 h=32`: sizes of named dimensions
    model      an .onnx file instead of `--- input`; then `--- report` summarizes the passes
    show       of a large graph or a model: patterns of node names to show, such as `head/*`
    plugin     a Python file with passes, custom operators or targets

A pipeline that fails has `--- error` in place of `--- output`. Floats are compared up to their
last digits.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from pathlib import Path

from slimc.analysis.shapes import default_sizes, retype
from slimc.calib.data import Data
from slimc.errors import SlimcError, did_you_mean
from slimc.execute.compare import differences
from slimc.io.read import read
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text, to_text
from slimc.ir.verify import verify
from slimc.passes.base import Pass, PassResult, traits_of
from slimc.passes.context import Context
from slimc.pipeline.catalogue import Catalogue, catalogue
from slimc.pipeline.input_sizes import measure_sample
from slimc.pipeline.integer_layers import intended
from slimc.pipeline.runner import differs
from slimc.remarks import PassReport
from slimc.report.text import pass_summary

SEED = 0
FEEDS = 2  # random feeds for passes and for comparing values: a golden graph is tiny
_KEYS = ("pipeline", "values", "target", "data", "sizes", "model", "show", "plugin")
_HEAD = re.compile(r"([a-z]+):\s+(.*)")
_SECTION = re.compile(r"--- (input|report|output|remarks|error)\s*")
_VALUES = re.compile(r"(same|masked) within (\S+)")
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)")
# Texts show six digits; the last may differ between machines, whose kernels add in another order.
RELATIVE = 1e-4
ABSOLUTE = 1e-7


class GoldenError(AssertionError):
    """The result is not the expected one, or the file is malformed."""


@dataclass(frozen=True)
class Golden:
    """A parsed golden file."""

    path: Path
    """The file."""
    source: str
    """Its text up to the expected result."""
    head: Mapping[str, str]
    """The lines of the head, by key."""
    input: str
    """Text of the input graph; empty with `model`."""
    expected: str
    """Text of the expected result."""


def check_golden(path: Path, update: bool = False) -> None:
    """Run a golden file. Raises GoldenError where the result is not the expected one.

    With `update` the file is rewritten below the input, unless the values are wrong.
    """
    golden = load_golden(path)
    result = run_golden(golden)
    if golden.expected.strip() and same_text(golden.expected.strip(), result.strip()):
        return
    if update:
        path.write_text(f"{golden.source.rstrip()}\n{result}\n", encoding="utf-8")
        return
    if not golden.expected.strip():
        raise GoldenError(
            "the file has no expected result; run pytest --update-golden and review it"
        )
    raise GoldenError(diff(golden.expected.strip(), result.strip()))


def load_golden(path: Path) -> Golden:
    """Parse a golden file. Raises GoldenError where it is malformed."""
    lines = path.read_text(encoding="utf-8").split("\n")
    marks = [i for i, line in enumerate(lines) if _SECTION.fullmatch(line)]
    first = marks[0] if marks else len(lines)
    has_input = bool(marks) and lines[first].startswith("--- input")
    cut = next((i for i in marks if not lines[i].startswith("--- input")), len(lines))
    head = _read_head(lines[:first])
    if has_input == ("model" in head):
        raise GoldenError("give either `--- input` or `model:`")
    if "pipeline" not in head:
        raise GoldenError("there is no line `pipeline: ...`")
    input_text = "\n".join(lines[first + 1 : cut]) if has_input else ""
    return Golden(path, "\n".join(lines[:cut]), head, input_text, "\n".join(lines[cut:]))


def _read_head(lines: list[str]) -> dict[str, str]:
    if not lines or not lines[0].strip() or _HEAD.fullmatch(lines[0]):
        raise GoldenError("the first line must be a sentence that says what is tested")
    head: dict[str, str] = {}
    for line in lines[1:]:
        match = _HEAD.fullmatch(line.strip())
        if match is None:
            continue
        if match[1] not in _KEYS:
            raise GoldenError(f"'{match[1]}:' is unknown; {did_you_mean(match[1], _KEYS)}")
        head[match[1]] = match[2].strip()
    return head


def run_golden(golden: Golden) -> str:
    """Run the pipeline and return the sections of its result."""
    names = catalogue()
    if "plugin" in golden.head:
        names = names.with_file(golden.path.parent / golden.head["plugin"])
    graph = _input_graph(golden, names)
    ctx = _make_context(golden, graph, names)
    passes: tuple[Pass, ...] = ()
    try:
        passes = names.parse(golden.head["pipeline"])
        steps = _run_passes(passes, graph, replace(ctx, traits=traits_of(passes)))
    except SlimcError as error:
        return f"--- error\n{error}"
    _check_values(golden.head.get("values", ""), steps, ctx.data)
    sections = []
    final, shown = steps[-1].graph, golden.head.get("show", "")
    if "model" in golden.head:
        sections.append(f"--- report\n{summarize_passes(passes, steps, ctx)}")
    if shown or "model" not in golden.head:
        part = extract_nodes(final, shown.split()) if shown else final
        sections.append(f"--- output\n{to_text(part, 'short')}")
    remarks = [str(remark) for step in steps for remark in step.remarks]
    if remarks and "model" not in golden.head:
        sections.append("--- remarks\n" + "\n".join(remarks))
    return "\n".join(sections)


def summarize_passes(passes: Sequence[Pass], steps: Sequence[PassResult], ctx: Context) -> str:
    """Summarize the passes on a model: a line for each, then sizes and integers."""
    lines = []
    for pass_, (before, after) in zip(passes, pairwise(steps), strict=True):
        changed = differs(before.graph, after.graph)
        report = PassReport(str(pass_), 0.0, changed, after.remarks)
        lines.append(f"{pass_}: {pass_summary(report)}")
    first, last = (measure_sample(step.graph, ctx.ops, ctx.sizes) for step in (steps[0], steps[-1]))
    lines.append(f"nodes: {first.nodes} -> {last.nodes}")
    lines.append(f"parameters: {first.parameters} -> {last.parameters}")
    lines.append(f"MACs: {first.macs} -> {last.macs}")
    integer, floating = intended(steps[-1].graph, ctx.ops)
    if integer:
        lines.append(f"contractions in integers: {integer}, in float: {len(floating)}")
        lines += [f"  {name}" for name in floating]
    return "\n".join(lines)


def _make_context(golden: Golden, graph: Graph, names: Catalogue) -> Context:
    head = golden.head
    sizes = default_sizes(graph) | _parse_sizes(head.get("sizes", ""))
    data = Data.synthesize(graph, sizes, SEED, FEEDS)
    if "data" in head:
        data = Data.from_path(golden.path.parent / head["data"], graph)
        sizes |= data.sizes()
    target = names.target(head.get("target", "generic-onnx"))
    return Context(names.ops, target, data, sizes, SEED, names.scores)


def _run_passes(passes: Sequence[Pass], graph: Graph, ctx: Context) -> list[PassResult]:
    steps = [PassResult(graph)]
    for pass_ in passes:
        steps.append(_run_pass(pass_, steps[-1].graph, ctx))
    return steps


def _run_pass(pass_: Pass, graph: Graph, ctx: Context) -> PassResult:
    result = pass_.run(graph, ctx)
    verify(result.graph)
    return result


def _input_graph(golden: Golden, names: Catalogue) -> Graph:
    if "model" in golden.head:
        graph = read(golden.path.parent / golden.head["model"])
    else:
        graph = parse_text(golden.input)
    typed = all(v in graph.types for node in graph.nodes for v in node.outputs if v)
    return graph if typed else retype(graph, names.ops)


def _parse_sizes(text: str) -> dict[str, int]:
    pairs = (word.split("=") for word in text.replace(",", " ").split())
    try:
        return {name: int(size) for name, size in pairs}
    except ValueError:
        raise GoldenError(f"cannot read `sizes: {text}`; write `sizes: N=2 h=32`") from None


def _check_values(text: str, steps: list[PassResult], data: Data) -> None:
    if not text:
        return
    match = _VALUES.fullmatch(text)
    if match is None:
        raise GoldenError(f"cannot read `values: {text}`; write `same within 1e-5`")
    bound = float(match[2])
    pairs = [(steps[0].graph, steps[-1].graph)]
    if match[1] == "masked":
        pairs = [(after.expected or before.graph, after.graph) for before, after in pairwise(steps)]
    for expected, result in pairs:
        for output, error in differences(expected, result, data.head(FEEDS)).items():
            if not error <= bound:
                raise GoldenError(
                    f"values differ: output '{output}' is off by {error:.3g} of its largest "
                    f"magnitude, more than {bound:g}\n{to_text(result, 'short')}"
                )


def extract_nodes(graph: Graph, patterns: list[str]) -> Graph:
    """Return the part of a graph whose node names match a pattern, as a graph of its own."""
    nodes = tuple(n for n in graph.nodes if any(fnmatchcase(n.name, p) for p in patterns))
    if not nodes:
        raise GoldenError(f"no node matches {' '.join(patterns)}")
    produced = {v for node in nodes for v in node.outputs if v}
    read_here = dict.fromkeys(v for node in nodes for v in node.reads if v not in produced)
    inside = {node.name for node in nodes}
    leaves = [
        v
        for node in nodes
        for v in node.outputs
        if v in graph.outputs or any(u.name not in inside for u in graph.users.get(v, ()))
    ]
    known = produced | set(read_here)
    return replace(
        graph,
        inputs=tuple(v for v in read_here if v not in graph.constants),
        outputs=tuple(leaves),
        nodes=nodes,
        constants={k: c for k, c in graph.constants.items() if k in known},
        types={k: t for k, t in graph.types.items() if k in known},
        records={k: r for k, r in graph.records.items() if k in known},
        metadata={},
        doc="",
    )


def same_text(wanted: str, got: str) -> bool:
    """Tell whether both texts say the same."""
    a, b = _NUMBER.split(wanted), _NUMBER.split(got)
    return len(a) == len(b) and all(
        x == y or (i % 2 == 1 and _same_number(x, y))
        for i, (x, y) in enumerate(zip(a, b, strict=True))
    )


def _same_number(a: str, b: str) -> bool:
    if a.lstrip("+-").isdigit() and b.lstrip("+-").isdigit():
        return int(a) == int(b) and a.startswith("+") == b.startswith("+")
    return math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def diff(wanted: str, got: str) -> str:
    """Return the lines that differ, with their neighbours."""
    old, new = wanted.splitlines(), got.splitlines()
    new = [_quiet(line, old) for line in new]
    lines = difflib.unified_diff(old, new, "expected", "found", lineterm="", n=2)
    return "\n".join(lines)


def _quiet(line: str, known: list[str]) -> str:
    return next((k for k in known if same_text(k, line)), line)
