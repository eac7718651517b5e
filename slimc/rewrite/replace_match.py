"""Put what a rule answered in the place of a match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from slimc.ir.editor import IDENTITY, Editor
from slimc.ir.graph import Node, Origin
from slimc.rewrite.match import Made
from slimc.rewrite.pattern import Found
from slimc.rewrite.scope import EditedScope

_LETTERS = "abcdefghijklmnopqrstuvwxyz"  # for constants without a name: one letter per operand


def replace_match(
    scope: EditedScope, found: Found, root: Node, answer: Made | np.ndarray | str
) -> list[str]:
    """Replace the nodes that a match uses up; return the names of nodes that are new or changed."""
    edit = scope.edit
    gone = [edit.node(name) for name in found.consumed]
    if isinstance(answer, Made):
        changed = _Placing(scope, root, gone).place(answer)
    else:
        users = [user.name for user in edit.users(root.outputs[0])]
        value = answer
        if isinstance(value, np.ndarray):
            value = edit.add_constant(value, root.outputs[0])
        declared = edit.type_of(root.outputs[0])
        edit.redirect(root.outputs[0], value)
        if edit.is_output(root.outputs[0]):
            edit.set_type(root.outputs[0], declared)
        for node in gone:
            edit.remove(node.name)
        changed = users
    return [*changed, *_remove_dead(edit, [v for node in gone for v in node.reads])]


class _Placing:
    """The nodes that a match uses up, of which new ones take the places."""

    def __init__(self, scope: EditedScope, root: Node, gone: Sequence[Node]) -> None:
        self.scope = scope
        self.root = root
        self.gone = {node.name: node for node in gone}
        self.origins = tuple(dict.fromkeys(o for node in reversed(gone) for o in node.origins))
        self.names: list[str] = []

    def place(self, made: Made) -> list[str]:
        """Let `made` make what the root made; return the names of new nodes."""
        top = made.node if made.node in self.gone else self.root.name
        going_on = {top, *(m.node for m in _below(made))}
        for name in self.gone:
            if name not in going_on:
                self.scope.edit.remove(name)
        self._go_on(made, top, self.root.outputs[:1])
        return self.names

    def _go_on(self, made: Made, name: str, outputs: tuple[str, ...]) -> None:
        """Let the node `name` become a new one."""
        edit = self.scope.edit
        inputs = self._operands(made, name)
        origin = Origin(edit.made_by, self.origins)
        edit.update(
            name,
            op=made.op,
            inputs=inputs,
            outputs=outputs,
            attrs=made.attrs,
            domain=made.domain,
            origin=origin,
        )
        self.names.append(name)

    def _operands(self, made: Made, name: str) -> tuple[str, ...]:
        """Make what a new node reads, and return its operands."""
        inputs: list[str] = []
        for i, operand in enumerate(made.inputs):
            if isinstance(operand, np.ndarray):
                hint = made.hints[i] if i < len(made.hints) and made.hints[i] else _LETTERS[i % 26]
                operand = self.scope.edit.add_constant(operand, f"{name}.{hint}")
            elif isinstance(operand, Made):
                operand = self._nested(operand, name)
            inputs.append(operand)
        return tuple(inputs)

    def _nested(self, made: Made, above: str) -> str:
        """Make a node that only the node `above` reads; return its result."""
        kind = self.scope.result_type(made)
        if made.node in self.gone:
            result = self.gone[made.node].outputs[0]
            self._go_on(made, made.node, (result,))
            self.scope.edit.set_type(result, kind)
            return result
        name = f"{above}.{made.op}"
        edit = self.scope.edit
        (result,) = edit.add(
            made.op,
            self._operands(made, name),
            types=[kind],
            attrs=made.attrs,
            name=name,
            domain=made.domain,
            origins=self.origins,
            near=above,
        )
        maker = edit.producer(result)
        self.names += [maker.name] if maker else []
        return result


def _below(made: Made) -> Iterator[Made]:
    for operand in made.inputs:
        if isinstance(operand, Made):
            yield operand
            yield from _below(operand)


def values_read(made: Made) -> Iterator[str]:
    """Yield the values that a new node, and new nodes below it, read."""
    for one in (made, *_below(made)):
        yield from (i for i in one.inputs if isinstance(i, str) and i)


def is_there(made: Made, node: Node) -> bool:
    """Tell whether a new node would be the one that is there."""
    if (made.kind, made.attrs) != (node.kind, node.attrs) or len(made.inputs) != len(node.inputs):
        return False
    operands = zip(made.inputs, node.inputs, strict=True)
    return all(isinstance(a, str) and a == b for a, b in operands)


def as_node(answer: np.ndarray | str | Made, scope: EditedScope) -> np.ndarray | str | Made:
    """Let a node make a graph output that a constant, an input or another output serves for."""
    if isinstance(answer, str) and scope.producer(answer) and not scope.is_output(answer):
        return answer
    return answer if isinstance(answer, Made) else Made(IDENTITY, (answer,))


def _remove_dead(edit: Editor, values: Sequence[str]) -> list[str]:
    """Remove what no longer has a user; return the nodes that are now the only users of a value."""
    lonely: list[str] = []
    todo = list(values)
    while todo:
        value = todo.pop()
        if edit.count_users(value) == 1:
            lonely.append(edit.users(value)[0].name)
        maker = edit.producer(value)
        if maker and not any(edit.count_users(v) or edit.is_output(v) for v in maker.outputs if v):
            edit.remove(maker.name)
            todo += maker.reads
    return [name for name in lonely if name in edit]
