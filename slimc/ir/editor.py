"""Editing of frozen graphs: an Editor collects changes and makes the next graph."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from slimc.ir.constant import Constant
from slimc.ir.graph import Attr, Form, Graph, Node, Origin, Quantization
from slimc.ir.types import TypedValues, ValueType

IDENTITY = "Identity"  # gives an output of a graph the value of another name


def collect_names(graph: Graph) -> set[str]:
    """Return every value and node name of a graph and its bodies."""
    names = {*graph.inputs, *graph.outputs, *graph.constants, *graph.types}
    for node in graph.nodes:
        names.update((node.name, *node.outputs, *(i for i in node.inputs if i)))
        for body in node.bodies:
            names |= collect_names(body)
    return names


def substitute(graph: Graph, mapping: Mapping[str, str]) -> Graph:
    """Return a body that reads captured values under their new names."""
    if not any(v in mapping for v in graph.captured):
        return graph
    nodes = tuple(_with_reads(node, mapping) for node in graph.nodes)
    return replace(graph, nodes=nodes, outputs=tuple(mapping.get(o, o) for o in graph.outputs))


def _with_reads(node: Node, mapping: Mapping[str, str]) -> Node:
    if not any(v in mapping for v in node.reads):
        return node
    inputs = tuple(mapping.get(i, i) for i in node.inputs)
    return replace(
        node, inputs=inputs, attrs=map_bodies(node, lambda body: substitute(body, mapping))
    )


def map_bodies(node: Node, change: Callable[[Graph], Graph]) -> Mapping[str, Attr]:
    """Return the attributes of `node` with `change` (Graph -> Graph) applied to every body."""
    if not node.bodies:
        return node.attrs
    attrs: dict[str, Attr] = {}
    for key, value in node.attrs.items():
        if isinstance(value, tuple) and any(isinstance(v, Graph) for v in value):
            attrs[key] = tuple(change(v) if isinstance(v, Graph) else v for v in value)
        else:
            attrs[key] = change(value) if isinstance(value, Graph) else value
    return attrs


def remove_dead_code(graph: Graph) -> Graph:
    """Remove nodes and constants that nothing reads, in bodies too."""
    editor = Editor(graph)
    for node in graph.nodes:
        attrs = map_bodies(node, remove_dead_code)
        if any(attrs[key] is not node.attrs[key] for key in attrs):
            editor.update(node.name, attrs=attrs)
    alive = editor.finish()
    is_same_size = len(alive.nodes) == len(graph.nodes) and len(alive.constants) == len(
        graph.constants
    )
    return graph if is_same_size and not editor.changed else alive


class Editor(TypedValues):
    """Collect changes to a frozen graph, then make the next one.

    Constants are copy-on-write: `set_constant` changes a constant for all its consumers;
    `add_constant` makes a new one for a single consumer. Graph inputs and outputs always keep their
    names.
    """

    def __init__(self, graph: Graph, reserved: set[str] | None = None, made_by: str = "") -> None:
        """Start from `graph`.

        reserved: names of enclosing graphs; the set is shared, and new names are added to it.
        made_by: name of the pass, stored as the origin of new nodes.
        """
        self.graph = graph
        self.made_by = made_by
        self._reserved = set() if reserved is None else reserved
        self._reserved |= collect_names(graph)
        self._nodes: dict[str, Node] = {node.name: node for node in graph.nodes}
        self._place: dict[str, tuple[int, ...]] = {
            node.name: (i,) for i, node in enumerate(graph.nodes)
        }
        self._constants = dict(graph.constants)
        self._types = dict(graph.types)
        self._records = dict(graph.records)
        self._outputs = list(graph.outputs)
        self._users: dict[str, dict[str, None]] = {}
        self._producer: dict[str, str] = {}
        self._added = 0
        self.changed = False
        for node in graph.nodes:
            self._link(node)

    # --- queries -----------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        """Return the current node of this name; KeyError if there is none."""
        return self._nodes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def producer(self, value: str) -> Node | None:
        """Return the current producer of `value`; inputs, constants and captures have none."""
        name = self._producer.get(value)
        return None if name is None else self._nodes[name]

    def users(self, value: str) -> tuple[Node, ...]:
        """Return the current consumers of `value`, those that read it in a body included."""
        return tuple(self._nodes[name] for name in self._users.get(value, ()))

    def count_users(self, value: str) -> int:
        """Count the current consumers of `value`."""
        return len(self._users.get(value, ()))

    def is_output(self, value: str) -> bool:
        """Return whether `value` is a graph output."""
        return value in self._outputs

    def array(self, value: str) -> np.ndarray | None:
        """Return the elements of a constant, or None."""
        constant = self._constants.get(value)
        return None if constant is None else constant.array

    def constant(self, value: str) -> Constant | None:
        """Return a constant, or None."""
        return self._constants.get(value)

    def type_of(self, value: str) -> ValueType | None:
        """Return the current type of a value, or None if it is not known."""
        constant = self._constants.get(value)
        return constant.type if constant is not None else self._types.get(value)

    # --- changes -----------------------------------------------------------------------------

    def fresh_name(self, hint: str) -> str:
        """Reserve and return an unused name: `hint`, `hint_1`, ..."""
        name, k = hint, 0
        while name in self._reserved or not name:
            k += 1
            name = f"{hint}_{k}"
        self._reserved.add(name)
        return name

    def add_constant(self, array: np.ndarray | Constant, hint: str) -> str:
        """Add a constant and return its name."""
        name = self.fresh_name(hint)
        self._constants[name] = array if isinstance(array, Constant) else Constant(array)
        self.changed = True
        return name

    def set_constant(self, value: str, array: np.ndarray) -> None:
        """Replace the elements of an existing constant for all its consumers."""
        if value not in self._constants:
            raise KeyError(value)
        self._constants[value] = Constant(array)
        self.changed = True

    def add(
        self,
        op: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] = (),
        types: Sequence[ValueType | None] = (),
        attrs: Mapping[str, Attr] | None = None,
        name: str = "",
        domain: str = "",
        origins: Sequence[str] = (),
        near: str = "",
        integer: bool = False,
    ) -> tuple[str, ...]:
        """Add a node and return its output names.

        outputs: names of the outputs (default: one new name, after the node).
        near: existing node that determines the position in the order of nodes.
        origins: the user's nodes that the new one replaces (default: those of `near`).
        """
        name = self.fresh_name(name or op)
        names = tuple(outputs) or (self.fresh_name(f"{name}.out"),)
        if not origins and near:
            origins = self._nodes[near].origins
        origin = Origin(self.made_by, tuple(origins)) if self.made_by else None
        node = Node(op, tuple(inputs), names, name, attrs or {}, domain, origin, integer)
        self._nodes[name] = node
        self._added += 1
        place = self._place.get(near, (len(self.graph.nodes),))
        self._place[name] = (*place, self._added)
        for out, kind in zip(names, types, strict=False):
            if kind is not None:
                self._types[out] = kind
        self._reserved.update(names)
        self._link(node)
        self.changed = True
        return names

    def remove(self, name: str) -> None:
        """Remove a node. Its outputs must have no consumers when `finish` is called."""
        self._unlink(self._nodes.pop(name))
        self.changed = True

    def inline(self, name: str, body: Graph) -> None:
        """Replace a node by the nodes of one of its bodies, which must have no inputs."""
        node, place = self._nodes[name], self._place[name]
        self.remove(name)
        self._constants.update(body.constants)
        self._types.update(body.types)
        for i, inner in enumerate(body.nodes):
            self._nodes[inner.name] = inner
            self._place[inner.name] = (*place, i)
            self._link(inner)
        for value, result in zip(node.outputs, body.outputs, strict=True):
            if value:
                self.redirect(value, result)

    def update(self, name: str, **changes: Any) -> Node:
        """Replace fields of a node (op, inputs, outputs, attrs, ...); its name stays."""
        old = self._nodes[name]
        new = replace(old, **changes)
        self._unlink(old)
        self._nodes[name] = new
        self._link(new)
        self.changed = True
        return new

    def set_input(self, name: str, index: int, value: str) -> None:
        """Make an operand of a node read another value; missing operands before it are absent."""
        inputs = list(self._nodes[name].inputs)
        inputs += [""] * (index + 1 - len(inputs))
        inputs[index] = value
        self.update(name, inputs=tuple(inputs))

    def rename_captures(self, name: str, mapping: Mapping[str, str]) -> None:
        """Make the bodies of a node read captured values under new names; its operands stay."""
        node = self._nodes[name]
        self.update(name, attrs=map_bodies(node, lambda body: substitute(body, mapping)))

    def set_type(self, value: str, value_type: ValueType | None) -> None:
        """Set the type of a value (None: not known)."""
        if value_type is None:
            self._types.pop(value, None)
        else:
            self._types[value] = value_type

    def set_record(self, value: str, record: Quantization | None) -> None:
        """Set the quantization of a value (None: remove it)."""
        if record is None:
            self._records.pop(value, None)
        else:
            self._records[value] = record
        self.changed = True

    def redirect(self, old: str, new: str, keep: Sequence[str] = ()) -> None:
        """Make all consumers of `old` read `new`: nodes, bodies and graph outputs.

        Graph outputs keep their names. Nodes named in `keep` still read what `old` was (such as a
        node inserted after `old`). If `old` is a graph output, the producer of `new` takes over the
        name `old`; if that is impossible (`new` is an input, a constant or another output), an
        Identity is added.
        """
        if old == new:
            return
        for user in self.users(old):
            if user.name not in keep:
                self._reread(user, {old: new})
        if old not in self._outputs:
            return
        new_producer = self._producer.get(new)
        old_producer = self._producer.get(old)
        if old_producer is not None:
            spare = self.fresh_name(f"{old}.unused")
            self.update(
                old_producer,
                outputs=tuple(spare if o == old else o for o in self._nodes[old_producer].outputs),
            )
            if old in self._types:
                self._types[spare] = self._types[old]
            for name in keep:
                self._reread(self._nodes[name], {old: spare})
            if new_producer == old_producer:
                new_producer = self._producer.get(new)
        if new_producer is None or new in self._outputs:
            near = new_producer or old_producer or ""
            self.add(IDENTITY, [new], outputs=[old], name=f"{old}.identity", near=near)
            return
        self.update(
            new_producer,
            outputs=tuple(old if o == new else o for o in self._nodes[new_producer].outputs),
        )
        for user in self.users(new):
            self._reread(user, {new: old})
        if new in self._types:
            self._types[old] = self._types.pop(new)
        if new in self._records:
            self._records[old] = self._records.pop(new)

    def finish(self, *, form: Form | None = None, keep_dead: bool = False) -> Graph:
        """Make the next graph: topological order (stable), no stale types.

        Dead nodes and constants are removed, unless `keep_dead`.
        """
        if not self.changed and keep_dead and form in (None, self.graph.form):
            return self.graph
        nodes = self._sorted(self._nodes if keep_dead else self._alive())
        read = {value for node in nodes for value in node.reads} | set(self._outputs)
        known = {*self.graph.inputs, *read, *(o for node in nodes for o in node.outputs)}
        constants = {k: v for k, v in self._constants.items() if k in read or keep_dead}
        return replace(
            self.graph,
            nodes=tuple(nodes),
            outputs=tuple(self._outputs),
            constants=constants,
            types={k: v for k, v in self._types.items() if k in known and k not in constants},
            records={k: v for k, v in self._records.items() if k in known},
            form=form or self.graph.form,
        )

    # --- internals ---------------------------------------------------------------------------

    def _reread(self, node: Node, mapping: Mapping[str, str]) -> None:
        self._unlink(node)
        new = _with_reads(node, mapping)
        self._nodes[node.name] = new
        self._link(new)
        self.changed = True

    def _link(self, node: Node) -> None:
        for value in node.reads:
            self._users.setdefault(value, {})[node.name] = None
        for out in node.outputs:
            if out:
                self._producer[out] = node.name

    def _unlink(self, node: Node) -> None:
        for value in node.reads:
            self._users.get(value, {}).pop(node.name, None)
        for out in node.outputs:
            if self._producer.get(out) == node.name:
                del self._producer[out]

    def _alive(self) -> dict[str, Node]:
        alive: set[str] = set()
        todo = [self._producer[o] for o in self._outputs if o in self._producer]
        while todo:
            name = todo.pop()
            if name in alive:
                continue
            alive.add(name)
            todo += [self._producer[v] for v in self._nodes[name].reads if v in self._producer]
        return {name: node for name, node in self._nodes.items() if name in alive}

    def _sorted(self, nodes: Mapping[str, Node]) -> list[Node]:
        """Sort by Kahn's algorithm; of the nodes that are ready, the earliest comes first."""
        missing: dict[str, int] = {}
        waiting: dict[str, list[str]] = {}
        for name, node in nodes.items():
            sources = {self._producer[v] for v in node.reads if v in self._producer}
            missing[name] = len(sources)
            for source in sources:
                waiting.setdefault(source, []).append(name)
        ready = [(self._place[name], name) for name, count in missing.items() if not count]
        heapq.heapify(ready)
        order: list[Node] = []
        while ready:
            _, name = heapq.heappop(ready)
            order.append(nodes[name])
            for user in waiting.get(name, ()):
                missing[user] -= 1
                if not missing[user]:
                    heapq.heappush(ready, (self._place[user], user))
        if len(order) != len(nodes):
            stuck = sorted(set(nodes) - {node.name for node in order})
            raise ValueError(f"a cycle or a missing value at the nodes {stuck[:3]}")
        return order
