"""What every graph holds to, and what each form promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from slimc.errors import SlimcError
from slimc.ir.graph import Form, Graph, Quantization
from slimc.ir.types import Shape


def verify(graph: Graph) -> None:
    """Raise SlimcError "broken-graph" if the graph breaks a promise: the last pass has a bug."""
    for problem in problems(graph):
        raise SlimcError(
            "broken-graph",
            problem,
            f"graph '{graph.name}', form {graph.form.value}",
            "the pass before this check made a wrong graph; please report it",
        )


def problems(graph: Graph) -> Iterator[str]:
    """Yield what is wrong with a graph, as sentences."""
    yield from _doubled_names(graph)
    yield from _read_before_made(graph, set())
    yield from (f"input '{v}' has no type" for v in graph.inputs if v not in graph.types)
    for check in _PROMISES[graph.form]:
        yield from check(graph)


def _doubled_names(graph: Graph) -> Iterator[str]:
    values: set[str] = set()
    nodes: set[str] = set()
    for value, node in _defined(graph):
        taken = nodes if node else values
        if value in taken:
            yield f"two {'nodes are' if node else 'values are'} named '{value}'"
        taken.add(value)


def _defined(graph: Graph) -> Iterator[tuple[str, bool]]:
    """Yield the names of values, and (True) of nodes, of a graph and its bodies."""
    yield from ((value, False) for value in (*graph.inputs, *graph.constants))
    for node in graph.nodes:
        yield node.name, True
        yield from ((value, False) for value in node.outputs if value)
        for body in node.bodies:
            yield from _defined(body)


def _read_before_made(graph: Graph, made: set[str]) -> Iterator[str]:
    """Check a graph or a body. made: values of enclosing graphs; at the end it is as before."""
    own = [*graph.inputs, *graph.constants]
    made.update(own)
    for node in graph.nodes:
        yield from (
            f"node '{node.name}' reads '{v}', which nothing makes before it"
            for v in node.inputs
            if v and v not in made
        )
        for body in node.bodies:
            yield from _read_before_made(body, made)
        made.update(node.outputs)
        own += node.outputs
    yield from (f"nothing makes the output '{v}'" for v in graph.outputs if v not in made)
    made.difference_update(own)


def _no_dead_nodes(graph: Graph) -> Iterator[str]:
    needed = set(graph.outputs)
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs):
            yield f"node '{node.name}' is dead: nothing reads what it makes"
        needed.update(node.reads)
    unread = (v for v in graph.constants if v not in needed)
    yield from (f"constant '{v}' is dead: nothing reads it" for v in unread)


def _no_records(graph: Graph) -> Iterator[str]:
    yield from (f"value '{v}' has a quantization record in this form" for v in graph.records)


def _sound_records(graph: Graph) -> Iterator[str]:
    known = {*graph.inputs, *graph.constants, *graph.producers}
    for value, record in graph.records.items():
        if value not in known:
            yield f"a quantization record is of '{value}', which nothing makes"
        problem = _record_problem(record, graph, value)
        if problem:
            yield f"the quantization record of '{value}' {problem}"


def _record_problem(record: Quantization, graph: Graph, value: str) -> str:
    low, high = record.dtype.span
    if not low <= record.low < record.high <= high:
        return f"uses {record.low}..{record.high} of {record.dtype.text}"
    if not (record.scale > 0).all():
        return "has a scale that is not positive"
    if record.scale.shape != record.zero_point.shape:
        return "has scales and zero points of other shapes"
    shape = graph.shape_of(value)
    if shape is not None and any(not 0 <= axis < len(shape) for axis in record.pairs):
        return f"pairs neighbours along axes {list(record.pairs)} of {len(shape)}"
    if record.axis is None:
        return "" if record.scale.ndim == 0 else "has several scales but no axis"
    if record.block:
        return _block_problem(record, shape)
    size = None if shape is None else shape[record.axis]
    if isinstance(size, int) and record.scale.shape != (size,):
        return f"has {record.scale.size} scales along an axis of {size}"
    return ""


def _block_problem(record: Quantization, shape: Shape | None) -> str:
    """Scales have the value's rank, and along the axis one index per block."""
    if shape is None:
        return ""
    wanted = list(shape)
    size = wanted[record.axis or 0]
    if isinstance(size, int):
        if size % record.block:
            return f"has blocks of {record.block} along an axis of {size}"
        wanted[record.axis or 0] = size // record.block
    if list(record.scale.shape) != wanted:
        return f"has scales {list(record.scale.shape)} where blocks want {wanted}"
    return ""


def _has_target(graph: Graph) -> Iterator[str]:
    if not graph.target:
        yield "it names no target"


Check = Callable[[Graph], Iterator[str]]

_PROMISES: Mapping[Form, tuple[Check, ...]] = {
    Form.IMPORTED: (_no_records,),
    Form.CANONICAL: (_no_dead_nodes, _no_records),
    Form.QUANTIZED: (_no_dead_nodes, _sound_records),
    Form.LEGAL: (_no_dead_nodes, _sound_records, _has_target),
}
