"""The rule on sizes that a file leaves open: whether the target's runtime takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from shlex import quote

from slimc.analysis.shapes import default_sizes
from slimc.ir.dims import evaluate
from slimc.targets.target import Finding, Severity, Subject, TargetRule

# What `Target.shapes` says: severity, what is so, what to do.
_WORDS: Mapping[str, tuple[Severity, str, str]] = {
    "profile": (
        "info",
        "an engine is built for a range of its sizes",
        "give trtexec the least, usual and largest: {profile}",
    ),
    "slower": (
        "perf",
        "{target} is faster with sizes that are numbers",
        "fix them: --shape {shape}",
    ),
    "static": (
        "error",
        "{target} needs sizes that are numbers",
        "fix them: --shape {shape}",
    ),
}
_BATCH = 4  # smaller usual sizes are those of batches


def _open_sizes(subject: Subject) -> Iterator[Finding]:
    """Find inputs with sizes that are no numbers."""
    if subject.target.shapes not in _WORDS:
        return
    severity, fact, help = _WORDS[subject.target.shapes]
    for value, sizes in usual_shapes(subject).items():
        words = {
            "target": subject.target.name,
            "shape": quote(f"{value}={sizes}"),
            "profile": quote(f"--optShapes={value}:{sizes}"),
        }
        message = f"input '{value}' is {subject.graph.type_of(value)}: {fact.format(**words)}"
        yield Finding(severity, "", message, help.format(**words))


def usual_shapes(subject: Subject) -> dict[str, str]:
    """Return a usual shape, such as `1x3x224x224`, of every input that leaves sizes open."""
    sizes = default_sizes(subject.graph)
    usual = {name: 1 if size < _BATCH else size for name, size in sizes.items()}
    found = {}
    for value in subject.graph.inputs:
        shape = subject.graph.shape_of(value)
        if shape is None:
            continue
        if not all(isinstance(size, int) for size in shape):
            known = (evaluate(size, usual) for size in shape)
            found[value] = "x".join(str(s) if isinstance(s, int) else "1" for s in known)
    return found


def open_sizes(code: str) -> TargetRule:
    """Return the rule under the code of a family of targets."""
    summary = "the runtime takes the sizes that inputs leave open"
    return TargetRule(code, "open-sizes", summary, _open_sizes, early=True)
