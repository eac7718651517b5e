"""The opset of the file that a target gets, and the rules that are checked before passes run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slimc.errors import SlimcError
from slimc.io.downgrade import downgrade, lowest_opset
from slimc.io.read import FileHeader
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType
from slimc.ops.op import OpTable
from slimc.targets.check import check
from slimc.targets.contractions import conversions
from slimc.targets.target import Finding, Subject, Target

_QUANTIZED = 21  # opset in which Q and DQ have blocks and all types of our schemes
_HALF_SCALES = 19  # in which Q and DQ take f16

BFLOAT16_OPSET = 22  # in which convolutions and poolings take bf16; targets with bf16 read it


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
        raise rule_error("target-refuses", refused, target)


def file_opset(graph: Graph, target: Target) -> int:
    """Return the opset to write the file in: the first from the target's on that expresses it.

    Beyond the last one that the runtime reads, operators are expressed by the bodies of their ONNX
    functions. A target with schemes, or floats, that came later reads the operators in them.
    Raises SlimcError "opset-cannot-express".
    """
    opset = opset_for(graph, target)
    check_expressed(graph, target, opset)
    return opset


def opset_for(graph: Graph, target: Target) -> int:
    """Return the first opset from the target's on that has the graph, or the last it reads."""
    last = max(target.opset_max, _QUANTIZED if _has_late_types(graph, target) else 0)
    last = max(last, _needed_by_floats(graph, target))
    return min(lowest_opset(graph, target.opset), last)


def check_expressed(graph: Graph, target: Target, opset: int) -> None:
    """Raise SlimcError "opset-cannot-express" where the opset has no form of a node."""
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
    scales = (graph.dtype_of(one.node.inputs[1]) for one in conversions(graph))
    half = any(dtype is DType.F16 for dtype in scales)
    return _HALF_SCALES if half and DType.F16 in target.floats else 0


def rule_error(name: str, findings: Sequence[Finding], target: Target) -> SlimcError:
    """Return the error of the first finding, with the number of the others."""
    first = findings[0]
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    node = f"'{first.node}', " if first.node else ""
    where = f"{node}rule {first.code} {first.rule} of target {target.name}"
    return SlimcError(name, first.message + more, where, first.help)
