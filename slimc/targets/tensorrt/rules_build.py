"""What whoever builds the engine must know: the sizes to give, and the exact command."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from slimc.ir.types import DType, TensorType
from slimc.targets.contractions import conversions
from slimc.targets.rules.shapes import open_sizes, usual_shapes
from slimc.targets.rules.sparsity import SparseWeight, sparse_weights
from slimc.targets.target import Finding, Subject, TargetRule

_FLAGS = {DType.I8: "--int8", DType.I4: "--int4", DType.F8E4M3FN: "--fp8"}


def _build_command(subject: Subject) -> Iterator[Finding]:
    """Say how trtexec builds an engine that computes as the file says."""
    target = subject.target
    command = ["trtexec --onnx=MODEL.onnx --saveEngine=MODEL.engine", *_type_flags(subject)]
    if target.sparsity and any(_is_sparse(one) for one in _weights(subject)):
        command.append("--sparsity=enable")
    named = ",".join(f"{value}:{shape}" for value, shape in usual_shapes(subject).items())
    if named:
        command += [quote(f"--{bound}Shapes={named}") for bound in ("min", "opt", "max")]
    after = "; TensorRT 11 is always strongly typed and takes no such flag" if target.typed else ""
    yield Finding("info", "", f"build the engine with: {' '.join(command)}{after}")


def _weights(subject: Subject) -> Iterator[SparseWeight]:
    return sparse_weights(subject.graph, subject.ops, subject.facts)


def _is_sparse(one: SparseWeight) -> bool:
    return one.is_sparse and one.is_meant and one.groups == 1


def _type_flags(subject: Subject) -> list[str]:
    """Return the flags of types: weakly typed builders compute in no type that is not named.

    Where the file itself says which floats are of 16 bits, TensorRT 10 keeps to it when told so.
    """
    target = subject.target
    types = subject.facts.types.values()
    floats = {kind.dtype for kind in types if isinstance(kind, TensorType)}
    halves = floats & {DType.F16, DType.BF16}
    if target.typed or (halves and target.release >= (10,)):
        return ["--stronglyTyped"]
    integers = {one.integers for one in conversions(subject.graph)}
    flags = [flag for dtype, flag in _FLAGS.items() if dtype in integers]
    return [*flags, "--fp16"] if DType.F16 in target.floats else flags


# The command comes first: a compile shows the first advice, and all of it in details.
BUILD = (
    TargetRule("L25", "build-command", "the command that builds the engine", _build_command),
    open_sizes("L25"),
)
