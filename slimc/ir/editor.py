"""The only way from one graph to the next."""

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


def all_names(graph: Graph) -> set[str]:
    """Return every value and node name of a graph and its bodies."""
    names = {*graph.inputs, *graph.outputs, *graph.constants, *graph.types}
    for node in graph.nodes:
        names.update((node.name, *node.outputs, *(i for i in node.inputs if i)))
        for body in node.bodies:
            names |= all_names(body)
    return names


def substitute(graph: Graph, mapping: Mapping[str, str]) -> Graph:
    """Return a body in which captured values are read under their new names."""
    if not any(v in mapping for v in graph.captured):
        return graph
    nodes = tuple(_reading(node, mapping) for node in graph.nodes)
    return replace(graph, nodes=nodes, outputs=tuple(mapping.get(o, o) for o in graph.outputs))


def _reading(node: Node, mapping: Mapping[str, str]) -> Node:
    if not any(v in mapping for v in node.reads):
        return node
    inputs = tuple(mapping.get(i, i) for i in node.inputs)
    return replace(
        node, inputs=inputs, attrs=with_bodies(node, lambda body: substitute(body, mapping))
    )


def with_bodies(node: Node, change: Callable[[Graph], Graph]) -> Mapping[str, Attr]:
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


def without_dead(graph: Graph) -> Graph:
    """Return a graph, and its bodies, without nodes and constants that nothing reads."""
    editor = Editor(graph)
    for node in graph.nodes:
        attrs = with_bodies(node, without_dead)
        if any(attrs[key] is not node.attrs[key] for key in attrs):
            editor.update(node.name, attrs=attrs)
    alive = editor.done()
    kept = len(alive.nodes) == len(graph.nodes) and len(alive.constants) == len(graph.constants)
    return graph if kept and not editor.changed else alive


class Editor(TypedValues):
    """Collect changes to a frozen graph, then make the next one.

    Constants are copy-on-write: `set_constant` replaces what every reader of that name sees;
    `add_constant` makes a new one for a single reader. Graph inputs and outputs keep their names
    whatever happens.
    """

    def __init__(self, graph: Graph, taken: set[str] | None = None, made_by: str = "") -> None:
        """Start from `graph`.

        taken: names of enclosing graphs; the set is shared, and names made here are added to it.
        made_by: pass recorded as origin of new nodes.
        """
        self.graph = graph
        self.made_by = made_by
        self._taken = set() if taken is None else taken
        self._taken |= all_names(graph)
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

    # --- looking -----------------------------------------------------------------------------

    def node(self, name: str) -> Node:
        """Return the node of this name as it stands now; KeyError if there is none."""
        return self._nodes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._nodes

    def producer(self, value: str) -> Node | None:
        """Return the node that makes `value` now; inputs, constants, captures have none."""
        name = self._producer.get(value)
        return None if name is None else self._nodes[name]

    def users(self, value: str) -> tuple[Node, ...]:
        """Return the nodes that read `value` now, also from inside their bodies."""
        return tuple(self._nodes[name] for name in self._users.get(value, ()))

    def count_users(self, value: str) -> int:
        """Count the nodes that read `value` now."""
        return len(self._users.get(value, ()))

    def is_output(self, value: str) -> bool:
        """Tell whether `value` is a graph output."""
        return value in self._outputs

    def array(self, value: str) -> np.ndarray | None:
        """Return the elements of a constant, or None."""
        constant = self._constants.get(value)
        return None if constant is None else constant.array

    def constant(self, value: str) -> Constant | None:
        """Return a constant, or None."""
        return self._constants.get(value)

    def type_of(self, value: str) -> ValueType | None:
        """Return the type of a value as it stands now, or None where it is not known."""
        constant = self._constants.get(value)
        return constant.type if constant is not None else self._types.get(value)

    # --- changing ----------------------------------------------------------------------------

    def fresh(self, hint: str) -> str:
        """Reserve and return a name nothing else carries: `hint`, `hint_1`, ..."""
        name, k = hint, 0
        while name in self._taken or not name:
            k += 1
            name = f"{hint}_{k}"
        self._taken.add(name)
        return name

    def add_constant(self, array: np.ndarray | Constant, hint: str) -> str:
        """Add a constant and return its name."""
        name = self.fresh(hint)
        self._constants[name] = array if isinstance(array, Constant) else Constant(array)
        self.changed = True
        return name

    def set_constant(self, value: str, array: np.ndarray) -> None:
        """Replace the elements of an existing constant for all its readers."""
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

        `outputs`: wanted names (default one fresh name after the node); `near`: the existing node
        whose place in the order it takes; `origins`: the user's nodes it stands for (default:
        those of `near`).
        """
        name = self.fresh(name or op)
        made = tuple(outputs) or (self.fresh(f"{name}.out"),)
        if not origins and near:
            origins = self._nodes[near].origins
        origin = Origin(self.made_by, tuple(origins)) if self.made_by else None
        node = Node(op, tuple(inputs), made, name, attrs or {}, domain, origin, integer)
        self._nodes[name] = node
        self._added += 1
        place = self._place.get(near, (len(self.graph.nodes),))
        self._place[name] = (*place, self._added)
        for out, kind in zip(made, types, strict=False):
            if kind is not None:
                self._types[out] = kind
        self._taken.update(made)
        self._link(node)
        self.changed = True
        return made

    def remove(self, name: str) -> None:
        """Remove a node. Its outputs must not be read any more when `done` is called."""
        self._unlink(self._nodes.pop(name))
        self.changed = True

    def inline(self, name: str, body: Graph) -> None:
        """Put the nodes of a body, which has no inputs, in the place of the node that has it."""
        node, place = self._nodes[name], self._place[name]
        self.remove(name)
        self._constants.update(body.constants)
        self._types.update(body.types)
        for i, inner in enumerate(body.nodes):
            self._nodes[inner.name] = inner
            self._place[inner.name] = (*place, i)
            self._link(inner)
        for value, made in zip(node.outputs, body.outputs, strict=True):
            if value:
                self.redirect(value, made)

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
        """Let one operand of a node read another value; absent operands before it are made."""
        inputs = list(self._nodes[name].inputs)
        inputs += [""] * (index + 1 - len(inputs))
        inputs[index] = value
        self.update(name, inputs=tuple(inputs))

    def reread_inside(self, name: str, mapping: Mapping[str, str]) -> None:
        """Let the bodies of a node read captured values under other names, its operands not."""
        node = self._nodes[name]
        self.update(name, attrs=with_bodies(node, lambda body: substitute(body, mapping)))

    def set_type(self, value: str, value_type: ValueType | None) -> None:
        """State the type of a value (None: forget it)."""
        if value_type is None:
            self._types.pop(value, None)
        else:
            self._types[value] = value_type

    def set_record(self, value: str, record: Quantization | None) -> None:
        """Attach a quantization record to a value (None: take it away)."""
        if record is None:
            self._records.pop(value, None)
        else:
            self._records[value] = record
        self.changed = True

    def redirect(self, old: str, new: str, keep: Sequence[str] = ()) -> None:
        """Let everything that reads `old` read `new`: nodes, bodies and graph outputs.

        Graph outputs keep their names. Nodes named in `keep` go on reading what `old` was (a node
        inserted behind `old` does). Where `old` is a graph output, the node that makes `new` makes
        it under the name `old` from now on, or, where that cannot be (an input, a constant, another
        output), an Identity does.
        """
        if old == new:
            return
        for user in self.users(old):
            if user.name not in keep:
                self._reread(user, {old: new})
        if old not in self._outputs:
            return
        maker = self._producer.get(new)
        owner = self._producer.get(old)
        if owner is not None:
            spare = self.fresh(f"{old}.unused")
            self.update(
                owner, outputs=tuple(spare if o == old else o for o in self._nodes[owner].outputs)
            )
            if old in self._types:
                self._types[spare] = self._types[old]
            for name in keep:
                self._reread(self._nodes[name], {old: spare})
            if maker == owner:
                maker = self._producer.get(new)
        if maker is None or new in self._outputs:
            near = maker or owner or ""
            self.add(IDENTITY, [new], outputs=[old], name=f"{old}.identity", near=near)
            return
        self.update(
            maker, outputs=tuple(old if o == new else o for o in self._nodes[maker].outputs)
        )
        for user in self.users(new):
            self._reread(user, {new: old})
        if new in self._types:
            self._types[old] = self._types.pop(new)
        if new in self._records:
            self._records[old] = self._records.pop(new)

    def done(self, *, form: Form | None = None, keep_dead: bool = False) -> Graph:
        """Make the next graph: topological order (stable), no stale types.

        Dead nodes and unread constants go too, unless `keep_dead`.
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

    # --- inside ------------------------------------------------------------------------------

    def _reread(self, node: Node, mapping: Mapping[str, str]) -> None:
        self._unlink(node)
        new = _reading(node, mapping)
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
        """Kahn's algorithm; among the ready nodes the one with the earliest place comes first."""
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
            raise ValueError(f"the edit left a cycle or a missing value around {stuck[:3]}")
        return order
