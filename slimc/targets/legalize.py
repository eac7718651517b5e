"""Make a graph legal on its target, or say which node is not, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade, lowest_opset
from slimc.ir.graph import Form, Graph
from slimc.ops.op import OpTable
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context, Finding, Target
from slimc.remarks import Remark, note
from slimc.targets.decompose import decompose


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
    findings = [f for rule in target.rules for f in rule.check(legal, ops, target)]
    refused = [f for f in findings if f.severity == "error"]
    if refused:
        raise _error("target-refuses", refused, target)
    meant = {node.name for node in legal.nodes if node.integer}
    lost = [f for f in findings if f.severity == "silent" and f.node in meant]
    if lost:
        raise _error("integers-lost", lost, target)
    opset = file_opset(legal, target)
    notes = tuple(note(sentence) for sentence in target.notes)
    remarks = (*expressed.remarks, *notes, *map(_remark, findings))
    return PassResult(legal, remarks, {"opset": opset, "ir_version": target.ir_version})


def file_opset(graph: Graph, target: Target) -> int:
    """Return the opset to write the file in: the first from the target's on that expresses it.

    Beyond the last one that the runtime reads, operators are expressed by the bodies of their ONNX
    functions. Raises SlimcError "opset-cannot-express".
    """
    opset = min(lowest_opset(graph, target.opset), target.opset_max)
    try:
        downgrade(graph, opset)
    except SlimcError as error:
        reads = f"target {target.name} reads opset {target.opset_max} and older"
        raise SlimcError(
            error.name, error.message, f"{error.where}; {reads}", error.help
        ) from error
    return opset


def _error(name: str, findings: list[Finding], target: Target) -> SlimcError:
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    node = f"'{first.node}', " if first.node else ""
    where = f"{node}rule {first.rule} of target {target.name}"
    return SlimcError(name, first.message + more, where, first.help)


def _remark(finding: Finding) -> Remark:
    return note(finding.message, finding.node, finding.help)
