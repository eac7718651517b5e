"""Invariants of all graphs, and of each form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from slimc.errors import SlimcError
from slimc.ir.graph import Form, Graph, Quantization
from slimc.ir.types import Shape


def verify(graph: Graph) -> None:
    """Raise SlimcError "broken-graph" if an invariant is violated: the last pass has a bug."""
    for problem in find_problems(graph):
        raise SlimcError(
            "broken-graph",
            problem,
            f"graph '{graph.name}', form {graph.form.value}",
            "the pass before this check has a bug; please report it",
        )


def find_problems(graph: Graph) -> Iterator[str]:
    """Yield each violated invariant as a sentence."""
    yield from _duplicate_names(graph)
    yield from _undefined_reads(graph, set())
    yield from (f"input '{v}' has no type" for v in graph.inputs if v not in graph.types)
    for check in _INVARIANTS[graph.form]:
        yield from check(graph)


def _duplicate_names(graph: Graph) -> Iterator[str]:
    values: set[str] = set()
    nodes: set[str] = set()
    for value, node in _iterate_names(graph):
        seen = nodes if node else values
        if value in seen:
            yield f"two {'nodes are' if node else 'values are'} named '{value}'"
        seen.add(value)


def _iterate_names(graph: Graph) -> Iterator[tuple[str, bool]]:
    """Yield the names of values, and (True) of nodes, of a graph and its bodies."""
    yield from ((value, False) for value in (*graph.inputs, *graph.constants))
    for node in graph.nodes:
        yield node.name, True
        yield from ((value, False) for value in node.outputs if value)
        for body in node.bodies:
            yield from _iterate_names(body)


def _undefined_reads(graph: Graph, defined: set[str]) -> Iterator[str]:
    """Check a graph or a body. defined: values of enclosing graphs; restored at the end."""
    own = [*graph.inputs, *graph.constants]
    defined.update(own)
    for node in graph.nodes:
        yield from (
            f"node '{node.name}' reads '{v}', which is not defined before it"
            for v in node.inputs
            if v and v not in defined
        )
        for body in node.bodies:
            yield from _undefined_reads(body, defined)
        defined.update(node.outputs)
        own += node.outputs
    yield from (f"the output '{v}' has no producer" for v in graph.outputs if v not in defined)
    defined.difference_update(own)


def _no_dead_nodes(graph: Graph) -> Iterator[str]:
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            yield f"node '{node.name}' is dead: nothing reads its results"
        needed.update(node.reads)
    unread = (v for v in graph.constants if v not in needed)
    yield from (f"constant '{v}' is dead: nothing reads it" for v in unread)


def _no_records(graph: Graph) -> Iterator[str]:
    yield from (f"value '{v}' has a quantization, not allowed in this form" for v in graph.records)


def _sound_records(graph: Graph) -> Iterator[str]:
    known = {*graph.inputs, *graph.constants, *graph.producers}
    for value, record in graph.records.items():
        if value not in known:
            yield f"'{value}' has a quantization but is not defined"
        problem = _record_problem(record, graph, value)
        if problem:
            yield f"the quantization of '{value}' {problem}"


def _record_problem(record: Quantization, graph: Graph, value: str) -> str:
    low, high = record.dtype.span
    if not low <= record.low < record.high <= high:
        return f"has the invalid range {record.low}..{record.high} for {record.dtype.text}"
    if not (record.scale > 0).all():
        return "has a scale that is not positive"
    if record.scale.shape != record.zero_point.shape:
        return "has scales and zero points of different shapes"
    shape = graph.shape_of(value)
    if shape is not None and any(not 0 <= axis < len(shape) for axis in record.pairs):
        return f"pairs neighbours along axes {list(record.pairs)} of a value of rank {len(shape)}"
    if record.axis is None:
        return "" if record.scale.ndim == 0 else "has several scales but no axis"
    if record.block:
        return _block_problem(record, shape)
    size = None if shape is None else shape[record.axis]
    if isinstance(size, int) and record.scale.shape != (size,):
        return f"has {record.scale.size} scales along an axis of {size}"
    return ""


def _block_problem(record: Quantization, shape: Shape | None) -> str:
    """Check that scales have the value's rank, and along the axis one index per block."""
    if shape is None:
        return ""
    expected = list(shape)
    size = expected[record.axis or 0]
    if isinstance(size, int):
        if size % record.block:
            return f"has blocks of {record.block} along an axis of {size}"
        expected[record.axis or 0] = size // record.block
    if list(record.scale.shape) != expected:
        return f"has scales {list(record.scale.shape)}, but its blocks need {expected}"
    return ""


def _has_target(graph: Graph) -> Iterator[str]:
    if not graph.target:
        yield "it has no target"


Check = Callable[[Graph], Iterator[str]]

_INVARIANTS: Mapping[Form, tuple[Check, ...]] = {
    Form.IMPORTED: (_no_records,),
    Form.CANONICAL: (_no_dead_nodes, _no_records),
    Form.QUANTIZED: (_no_dead_nodes, _sound_records),
    Form.LEGAL: (_no_dead_nodes, _sound_records, _has_target),
}
