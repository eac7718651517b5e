"""Regions of a quantized graph: what runs in integers, or is given back to floats, together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable


@dataclass(frozen=True)
class Region:
    """A contraction and the integer operators that hang on it, in graph order."""

    name: str  # of the contraction
    nodes: tuple[str, ...]


def regions(graph: Graph, ops: OpTable) -> tuple[Region, ...]:
    """Part the quantized nodes of a graph with records into regions, in graph order.

    A contraction, or a node of which only a constant is stored small, makes a region of its own.
    Any other integer node hangs on the last of these that leads to it, else on the first that it
    leads to; one that is tied to none is a region alone.
    """
    quantized = [node for node in graph.nodes if is_quantized(graph, node)]
    roots = {node.name for node in quantized if not node.integer or ops.weighted(node)}
    behind = _nearest(graph.nodes, roots)
    before = _nearest(graph.nodes, roots, backward=True)
    members: dict[str, list[str]] = {}
    for node in quantized:
        owner = behind.get(node.name) or before.get(node.name) or node.name
        members.setdefault(owner, []).append(node.name)
    order = {node.name: i for i, node in enumerate(graph.nodes)}
    names = sorted(members, key=order.__getitem__)
    return tuple(Region(name, tuple(members[name])) for name in names)


def is_quantized(graph: Graph, node: Node) -> bool:
    """Tell whether a node runs in integers, or reads a constant that is stored small."""
    return node.integer or any(v in graph.records and v in graph.constants for v in node.inputs)


def _nearest(
    nodes: Sequence[Node], roots: Collection[str], backward: bool = False
) -> dict[str, str]:
    """Return, for every node, the root that is nearest in graph order among those it is fed by.

    backward: among those that it feeds. A root is its own.
    """
    order = {node.name: i for i, node in enumerate(nodes)}
    reached: dict[str, str] = {}  # value -> root
    found: dict[str, str] = {}
    pick = min if backward else max
    for node in reversed(nodes) if backward else nodes:
        ties = [v for v in (node.outputs if backward else node.reads) if v in reached]
        root = node.name if node.name in roots else ""
        if not root and ties:
            root = pick((reached[v] for v in ties), key=order.__getitem__)
        if not root:
            continue
        found[node.name] = root
        for value in node.reads if backward else node.outputs:
            known = reached.get(value, root)
            reached[value] = pick(known, root, key=order.__getitem__)
    return found


def in_float(graph: Graph, floating: Collection[Region], before: Graph) -> Graph:
    """Return a graph with records in which some regions compute in floats again.

    before: the graph that scales were chosen for; nodes get back the constants that they had there,
    unless floats have another type by now.
    A record stays where a quantized node is left that takes or makes the value.
    """
    names = {name for region in floating for name in region.nodes}
    editor = Editor(graph)
    for name in names:
        editor.update(name, integer=False)
        node, old = graph.by_name[name], before.by_name.get(name)
        if old is None:
            continue
        for i, value in enumerate(node.inputs):
            constant = graph.constants.get(value)
            if i >= len(old.inputs):
                editor.set_input(name, i, "")  # a bias that was added for what rounding does
            elif constant is not None:
                first = before.constants.get(old.inputs[i], constant)
                constant = first if first.dtype is constant.dtype else constant
                editor.set_input(name, i, editor.add_constant(constant, f"{value}.float"))
    for value in graph.records:
        touching = [n for n in _touching(graph, value) if is_quantized(graph, n)]
        if all(node.name in names for node in touching):
            editor.set_record(value, None)
    return editor.finish()


def _touching(graph: Graph, value: str) -> Iterator[Node]:
    """Yield the nodes whose integers a record of a value may stand for.

    They are its readers, its maker, and what feeds that one: the record of a result that is clamped
    stands behind the clamp.
    """
    yield from graph.users.get(value, ())
    maker = graph.producers.get(value)
    if maker is None:
        return
    yield maker
    if not maker.integer:
        yield from (graph.producers[v] for v in maker.inputs if v in graph.producers)
