"""Make a graph legal on its target, or say which node is not, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade, lowest_opset
from slimc.io.read import FileHeader
from slimc.ir.graph import Form, Graph
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.passes.float16_guards import BFLOAT16_OPSET
from slimc.passes.target import Finding, Subject, Target
from slimc.remarks import Remark, note, skipped
from slimc.targets.check import check
from slimc.targets.contractions import conversions
from slimc.targets.express.decompose import decompose

_QUANTIZED = 21  # opset in which Q and DQ have blocks and all types of our schemes
_HALF_SCALES = 19  # in which Q and DQ take f16


@dataclass(frozen=True)
class Legalize(Pass):
    """Express what the target lacks by what it has, and check the graph by the target's rules.

    A node that the runtime refuses, or one meant for integers that it would run in float, is an
    error; advice on speed becomes remarks.
    """

    name: ClassVar[str] = "legalize"

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return legalize(graph, ctx.target, ctx.ops)


def legalize(graph: Graph, target: Target, ops: OpTable) -> PassResult:
    """Return the LEGAL graph, with remarks.

    Raises SlimcError "target-refuses", "integers-lost", "opset-cannot-express".
    """
    expressed = decompose(graph, target, ops)
    legal = replace(expressed.graph, form=Form.LEGAL, target=target.name)
    header = FileHeader(_wanted_opset(legal, target), target.ir_version)
    findings = check(Subject(legal, ops, target, header))
    refused = [f for f in findings if f.severity == "error"]
    if refused:
        raise _error("target-refuses", refused, target)
    meant = {node.name for node in legal.nodes if node.integer}
    lost = [f for f in findings if f.severity == "silent" and f.node in meant]
    if lost:
        raise _error("integers-lost", lost, target)
    _check_expressed(legal, target, header.opset)
    notes = tuple(note(sentence) for sentence in target.notes)
    remarks = (*expressed.remarks, *notes, *map(_remark, findings))
    return PassResult(legal, remarks, {"opset": header.opset, "ir_version": header.ir_version})


def refuse_early(graph: Graph, target: Target, ops: OpTable) -> None:
    """Hold a graph to the rules on its inputs, before what would be in vain.

    Raises SlimcError "target-refuses".
    """
    rules = tuple(rule for rule in target.rules if rule.early)
    if not rules:
        return
    subject = Subject(
        graph, ops, replace(target, rules=rules), FileHeader(target.opset, target.ir_version)
    )
    refused = [f for f in check(subject) if f.severity == "error"]
    if refused:
        raise _error("target-refuses", refused, target)


def file_opset(graph: Graph, target: Target) -> int:
    """Return the opset to write the file in: the first from the target's on that expresses it.

    Beyond the last one that the runtime reads, operators are expressed by the bodies of their ONNX
    functions. A target with schemes, or floats, that came later reads the operators in them.
    Raises SlimcError "opset-cannot-express".
    """
    opset = _wanted_opset(graph, target)
    _check_expressed(graph, target, opset)
    return opset


def _wanted_opset(graph: Graph, target: Target) -> int:
    last = max(target.opset_max, _QUANTIZED if _has_late_types(graph, target) else 0)
    last = max(last, _needed_by_floats(graph, target))
    return min(lowest_opset(graph, target.opset), last)


def _check_expressed(graph: Graph, target: Target, opset: int) -> None:
    try:
        downgrade(graph, opset)
    except SlimcError as error:
        reads = f"target {target.name} reads opset {opset} and older"
        raise SlimcError(
            error.name, error.message, f"{error.where}; {reads}", error.help
        ) from error


def _has_late_types(graph: Graph, target: Target) -> bool:
    """Tell whether Q or DQ have types that a scheme of the target uses, and older opsets lack."""
    wishes = [wish for scheme in target.schemes.values() for wish in scheme.values()]
    grids = [grid for wish in wishes for grid in (wish.activations, wish.weights) if grid]
    late = {grid.dtype for grid in grids} - {DType.I8, DType.U8}
    return any(one.integers in late for one in conversions(graph))


def _needed_by_floats(graph: Graph, target: Target) -> int:
    """Return the opset that has the graph's 16-bit floats where the target computes in them."""
    kinds = {kind.dtype for kind in graph.types.values() if isinstance(kind, TensorType)}
    if DType.BF16 in kinds & set(target.floats):
        return BFLOAT16_OPSET
    scales = (graph.type_of(one.node.inputs[1]) for one in conversions(graph))
    half = any(isinstance(kind, TensorType) and kind.dtype is DType.F16 for kind in scales)
    return _HALF_SCALES if half and DType.F16 in target.floats else 0


def _error(name: str, findings: Sequence[Finding], target: Target) -> SlimcError:
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    node = f"'{first.node}', " if first.node else ""
    where = f"{node}rule {first.code} {first.rule} of target {target.name}"
    return SlimcError(name, first.message + more, where, first.help)


def _remark(finding: Finding) -> Remark:
    """Say of a node that it does not run as it could; of others advice."""
    if finding.severity == "silent" and finding.node:
        return skipped(finding.node, finding.message, finding.help)
    return note(finding.message, finding.node, finding.help)
