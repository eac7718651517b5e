"""Which step of a graph each kernel of the runtime belongs to, and so what every step takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slimc.analysis.workload import Step
from slimc.execute.oracles.onnxruntime_cpu import names_of
from slimc.execute.ort import TimedKernel
from slimc.ir.graph import Graph

_PROFILER = 3e-6  # seconds that the profiler adds to a kernel, at most
_LEAST = 0.1  # of a kernel's time stays where that is taken off


def step_seconds(
    graph: Graph, steps: Sequence[Step], kernels: Sequence[TimedKernel], whole: float
) -> list[float]:
    """Return the seconds of every step; their sum is that of a run, `whole`.

    A kernel is of the step that makes its result, or whose node it is named after. One that stands
    for no node (another layout, Q, DQ) is of the step that it works for: the next that reads what
    comes of it, else the last before it.
    """
    owner = _owners(graph, steps, kernels)
    found = [0.0] * len(steps)
    for number, seconds in zip(owner, _without_profiler(kernels, whole), strict=True):
        found[number] += seconds
    return found


def _without_profiler(kernels: Sequence[TimedKernel], whole: float) -> list[float]:
    """Take off what the profiler adds to each kernel, so that they add up to a run without it."""
    added = (sum(one.seconds for one in kernels) - whole) / max(1, len(kernels))
    bare = [max(one.seconds - min(added, _PROFILER), _LEAST * one.seconds) for one in kernels]
    total = sum(bare)
    return [seconds * whole / total for seconds in bare] if total else bare


def _owners(graph: Graph, steps: Sequence[Step], kernels: Sequence[TimedKernel]) -> list[int]:
    """Return the number of the step of every kernel."""
    of_node = {name: number for number, step in enumerate(steps) for name in step.members}
    of_value = {
        value: of_node[node.name] for value, node in graph.producers.items() if node.name in of_node
    }
    known = [_owner(kernel, of_node, of_value) for kernel in kernels]
    reached: dict[str, int] = {}  # value -> step that reads what comes of it
    for i in range(len(kernels) - 1, -1, -1):
        if known[i] is None:
            known[i] = next((reached[v] for v in kernels[i].outputs if v in reached), None)
        if (number := known[i]) is not None:
            reached.update(dict.fromkeys(kernels[i].inputs, number))
    last = 0
    for i, number in enumerate(known):
        last = last if number is None else number
        known[i] = last
    return [number or 0 for number in known]


def _owner(
    kernel: TimedKernel, of_node: Mapping[str, int], of_value: Mapping[str, int]
) -> int | None:
    """Find a kernel by what it makes, else by its name; some are named after a node's result."""
    bases = names_of(kernel.name)
    names = [(of_value, value) for value in kernel.outputs]
    names += [(table, base) for table in (of_node, of_value) for base in bases]
    return next((table[name] for table, name in names if name in table), None)
