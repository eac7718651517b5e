"""Make a graph legal on its target, or say which node is not, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from slimc.io.read import FileHeader
from slimc.ir.graph import Form, Graph
from slimc.ops.op import OpTable
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context
from slimc.remarks import Remark, note, skipped
from slimc.targets.check import check
from slimc.targets.express.decompose import decompose
from slimc.targets.opset import check_expressed, opset_for, rule_error
from slimc.targets.target import Finding, Subject, Target


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
    header = FileHeader(opset_for(legal, target), target.ir_version)
    findings = check(Subject(legal, ops, target, header))
    refused = [f for f in findings if f.severity == "error"]
    if refused:
        raise rule_error("target-refuses", refused, target)
    meant = {node.name for node in legal.nodes if node.integer}
    lost = [f for f in findings if f.severity == "silent" and f.node in meant]
    if lost:
        raise rule_error("integers-lost", lost, target)
    check_expressed(legal, target, header.opset)
    notes = tuple(note(sentence) for sentence in target.notes)
    remarks = (*expressed.remarks, *notes, *map(_remark, findings))
    return PassResult(legal, remarks, {"opset": header.opset, "ir_version": header.ir_version})


def _remark(finding: Finding) -> Remark:
    """Say of a node that it does not run as it could; of others advice."""
    if finding.severity == "silent" and finding.node:
        return skipped(finding.node, finding.message, finding.help)
    return note(finding.message, finding.node, finding.help)
