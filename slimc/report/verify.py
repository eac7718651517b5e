"""Output of `slimc verify`, as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slimc.execute.oracles.ask import Problem
from slimc.pipeline.inspect.verify import Proof
from slimc.pipeline.integer_layers import Layer
from slimc.report.json import agreement_dict
from slimc.report.lint import finding_dict
from slimc.report.text import agreement_lines, integer_layers
from slimc.targets.target import Finding

_SHOWN = 20  # layers or problems in a text; --json has them all
_GAP = "no rule explains it"


def proof_text(file: Path, proof: Proof) -> str:
    """Write the answer of a runtime as text."""
    answer, name = proof.answer, proof.subject.target.name
    lines = [
        f"{file.name} for {name}, checked by {proof.oracle.title} {answer.version}".rstrip()
        + f" ({answer.seconds:.1f} s)",
        "",
        f"  parses  {_yes_or_no(answer.parsed)}",
        f"  builds  {_yes_or_no(answer.built)}",
    ]
    if answer.silence:
        lines.append(f"  inconclusive: {answer.silence}")
    lines += _problem_lines(proof)
    if proof.shown and answer.built:
        lines += _layer_lines(proof)
    elif not proof.shown and proof.intended:
        lines += [f"  {_integer_line(proof)}, by the rules", *_lost_lines(proof, proof.lost)]
    lines += _refusal_lines(proof)
    lines += agreement_lines(proof.agreement)
    return "\n".join([*lines, *(f"\nnote: {sentence}" for sentence in proof.stated)])


def _yes_or_no(fact: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[fact]


def _problem_lines(proof: Proof) -> list[str]:
    lines: list[str] = []
    for problem in proof.answer.problems[:_SHOWN]:
        where = f"'{problem.node}': " if problem.node else ""
        lines += ["", f"  refused  {where}{problem.message}"]
        lines += _why_lines(proof.why_refused(problem))
    return lines + _more_line(len(proof.answer.problems))


def _layer_lines(proof: Proof) -> list[str]:
    """Return how many layers run as intended, and name the others."""
    lines = [f"  {_integer_line(proof)}"]
    others = Counter(layer.meant for layer in proof.layers)
    if others["dynamic"]:
        lines.append(f"  of them with dynamic quantization: {others['dynamic']}")
    if others["weights"]:
        small = [layer for layer in proof.layers if layer.meant == "weights"]
        in_few_bits = sum(layer.kernel is not None and layer.kernel.computes != "floats"
                   for layer in small)  # fmt: skip
        lines.append(f"  weight-only quantized: {len(small)}, also at run time: {in_few_bits}")
    if others["floats"]:
        lines.append(f"  intended to run in float: {others['floats']}")
    return lines + _lost_lines(proof, proof.lost)


def _integer_line(proof: Proof) -> str:
    meant = len(proof.intended)
    return integer_layers(meant - len(proof.lost), meant, len(proof.layers))


def _lost_lines(proof: Proof, lost: Sequence[Layer]) -> list[str]:
    lines: list[str] = []
    for layer in lost[:_SHOWN]:
        lines += ["", f"  in float  '{layer.node.name}' ({layer.node.op}){_kernel_text(layer)}"]
        lines += _why_lines(proof.why(layer))
    return lines + _more_line(len(lost))


def _kernel_text(layer: Layer) -> str:
    return f": runs as {layer.kernel.kind}" if layer.kernel else ""


def _why_lines(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return [f"    {_GAP}"]
    lines: list[str] = []
    for finding in findings:
        lines.append(f"    {finding.code} {finding.rule} @{finding.node}: {finding.message}")
        lines += [f"      help: {finding.help}"] if finding.help else []
    return lines


def _more_line(number: int) -> list[str]:
    return ["", f"  and {number - _SHOWN} more (--json names them)"] if number > _SHOWN else []


def _refusal_lines(proof: Proof) -> list[str]:
    """Return what the rules refuse of a file that was built."""
    if not proof.refused or proof.answer.problems:
        return []
    name = proof.subject.target.name
    return [
        "",
        f"  the rules of {name} refuse it nevertheless",
        *_why_lines(proof.refused[:_SHOWN]),
    ]


def proof_dict(file: Path, proof: Proof) -> dict[str, Any]:
    """Return the answer of a runtime as plain values."""
    answer, target = proof.answer, proof.subject.target
    counts = Counter(layer.meant for layer in proof.layers)
    meant = proof.intended
    is_known = proof.shown and answer.built
    return {
        "file": str(file),
        "target": target.name,
        "oracle": target.oracle,
        "version": answer.version,
        "passed": proof.passed,
        "parses": answer.parsed,
        "builds": answer.built,
        "inconclusive": answer.silence,
        "integer": {
            "intended": len(meant),
            "reached": sum(layer.reached for layer in meant) if is_known else None,
        },
        "meant": {key: counts[key] for key in sorted(counts)},
        "lost": [_layer_dict(proof, layer) for layer in proof.lost],
        "problems": [_problem_dict(proof, problem) for problem in answer.problems],
        "refused": [finding_dict(finding) for finding in proof.refused],
        "doubted": [layer.node.name for layer in meant if layer.reached and proof.why(layer)],
        "agreement": [agreement_dict(agreement) for agreement in proof.agreement],
        "stated": list(proof.stated),
        "seconds": round(answer.seconds, 2),
    }


def _layer_dict(proof: Proof, layer: Layer) -> dict[str, Any]:
    return {
        "node": layer.node.name,
        "op": layer.node.kind,
        "meant": layer.meant,
        "kernel": layer.kernel.kind if layer.kernel else None,
        "why": [finding_dict(finding) for finding in proof.why(layer)],
    }


def _problem_dict(proof: Proof, problem: Problem) -> dict[str, Any]:
    why = [finding_dict(finding) for finding in proof.why_refused(problem)]
    return {"node": problem.node, "message": problem.message, "why": why}
