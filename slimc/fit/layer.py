"""The weighted nodes that two versions of a graph share, with where their biases and sums are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.fit.linear import Linear, linear
from slimc.fit.moments import Fit
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable
from slimc.remarks import Remark, skipped
from slimc.rewrite.kept import Kept
from slimc.rewrite.summed import Summed, sole_sum


@dataclass(frozen=True, eq=False)
class Layer:
    """A weighted node in teacher and student.

    result: what it makes; biased: that with its bias; sum: what the teacher's alone is added into,
    `other`: what the student adds there; "" where there is no such sum. bias: node and operand that
    hold the bias (which may be absent there), None where there is no place for one.
    """

    teacher: Linear
    student: Linear
    bias: tuple[str, int] | None
    biased: str
    sum: str
    other: str

    @property
    def node(self) -> Node:
        return self.student.node

    @property
    def result(self) -> str:
        return self.student.result

    def teacher_weights(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Return the teacher's weights [g, o, p], and the bias that the node itself adds."""
        one = self.teacher
        w = one.matrix(graph.constants[one.weight].array).astype(np.float64)
        inputs = one.node.inputs
        name = inputs[one.bias] if one.bias is not None and one.bias < len(inputs) else ""
        return w, _per_channel(graph, name if one.bias_shape else "", w)

    def teacher_bias(self, graph: Graph, kept: Kept) -> np.ndarray:
        """Return what the teacher adds behind the node, as it broadcasts to the student's result.

        kept: of the result, per axis, the indices that the student still has.
        """
        if self.bias is None or self.biased == self.result:
            return np.zeros(())
        name, operand = self.bias
        array = graph.constants[graph.by_name[name].inputs[operand]].array
        axis = self.student.channel_axis
        stay = kept[axis] if axis is not None and axis < len(kept) else None
        if axis is None or stay is None:
            return array
        return np.take(array, stay, axis=axis - len(self.student.result_axes) + array.ndim)

    def weights(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
        """Return weights [g, o, p] and bias [g, o] as they stand in the student, in f64."""
        w = self.student.matrix(graph.constants[self.student.weight].array).astype(np.float64)
        return w, _per_channel(graph, self._bias_name(graph), w)

    def constants(self, graph: Graph | Editor, fit: Fit) -> dict[str, np.ndarray]:
        """Return what a fit changes in a graph with a bias of its own (see `prepare`)."""
        changed = {self.student.weight: self.student.array(fit.w)} if fit.has_new_weights else {}
        if fit.has_new_bias:
            changed[self._bias_name(graph)] = fit.b
        made = {}
        for name, array in changed.items():
            old = graph.array(name)
            if old is not None:
                made[name] = array.reshape(old.shape).astype(old.dtype)
        return made

    def prepare(self, editor: Editor) -> None:
        """Give the layer a bias that no one else reads, of zeros where there was none."""
        if self.bias is None:
            return
        node, operand = self.bias
        name, w = self._bias_name(editor), editor.array(self.student.weight)
        if w is None:
            return
        count = self.student.channel_count
        array = editor.array(name) if name else np.zeros(1, w.dtype)
        if array is not None and array.size != count and self.student.bias_shape:
            array = np.full(self.student.bias_shape, array.reshape(-1)[0])
        elif array is not None and not name and self.student.bias_shape:
            array = array.reshape(self.student.bias_shape)
        elif array is None or (editor.count_users(name) == 1 and not editor.is_output(name)):
            return
        editor.set_input(node, operand, editor.add_constant(array, f"{node}.bias"))

    def apply(self, editor: Editor, fit: Fit) -> None:
        """Put what was found into the graph."""
        self.prepare(editor)
        for name, array in self.constants(editor, fit).items():
            editor.set_constant(name, array)

    def _bias_name(self, graph: Graph | Editor) -> str:
        if self.bias is None:
            return ""
        name, operand = self.bias
        node = graph.node(name) if isinstance(graph, Editor) else graph.by_name[name]
        return node.inputs[operand] if operand < len(node.inputs) else ""


def with_biases(student: Graph, layers: Iterable[Layer]) -> Graph:
    """Give every layer a bias and constants of its own, so that only constants change."""
    editor = Editor(student)
    for one in layers:
        one.prepare(editor)
    return editor.done()


def _per_channel(graph: Graph, name: str, w: np.ndarray) -> np.ndarray:
    """Return a constant bias [g, o] in f64, zeros where there is none. w: [g, o, p]."""
    if name not in graph.constants or graph.constants[name].array.size not in (1, w[..., 0].size):
        return np.zeros(w.shape[:2])
    array = graph.constants[name].array.astype(np.float64)
    return array.reshape(w.shape[:2]) if array.size > 1 else np.full(w.shape[:2], array)


def affected(teacher: Graph, student: Graph) -> set[str]:
    """Return the values that differ: made from changed constants, or from such values."""
    changed = {
        name
        for name, constant in student.constants.items()
        if teacher.constants.get(name) is not constant
    }
    for node in student.nodes:
        old = teacher.by_name.get(node.name)
        inside = _held(node) - (_held(old) if old is not None else set())
        if inside or changed & set(node.reads):
            changed.update(node.outputs)
    return changed


def _held(node: Node) -> set[int]:
    """Return which constants lie in the bodies of a node, by identity."""
    inner = [constant for body in node.bodies for constant in body.constants.values()]
    deeper = [held for body in node.bodies for one in body.nodes for held in _held(one)]
    return {*map(id, inner), *deeper}


def _in_bodies(node: Node, old: Node | None, ops: OpTable) -> Iterator[Remark]:
    """Name the layers in the bodies of a node whose weights have changed."""
    known = _held(old) if old is not None else set()
    for body in node.bodies:
        for one in body.nodes:
            row = ops.get(one.kind)
            held = [body.constants[v] for v in one.inputs if v in body.constants]
            if row is not None and row.weighted and any(id(c) not in known for c in held):
                yield skipped(one.name, f"not repaired: it lies in a body of '{node.name}'")
            yield from _in_bodies(one, old, ops)


def layers_of(
    teacher: Graph,
    student: Graph,
    ops: OpTable,
    facts: tuple[Facts, Facts],
    changed: set[str],
    also: Collection[str] = (),
) -> tuple[list[Layer], list[Remark]]:
    """Return the layers whose data have changed, in order, and why others are left alone.

    also: nodes that are layers to fit even so.
    """
    found: list[Layer] = []
    said: list[Remark] = []
    for node in student.nodes:
        said += _in_bodies(node, teacher.by_name.get(node.name), ops)
        data = {v for v in node.inputs if v not in student.constants}
        if not changed & data and node.name not in also:
            continue
        one = layer_of(teacher, student, ops, facts, node)
        if isinstance(one, str):
            said.append(skipped(node.name, f"not repaired: {one}"))
        elif one is not None and (one.student.data in changed or node.name in also):
            found.append(one)
    return found, said


def layer_of(
    teacher: Graph, student: Graph, ops: OpTable, facts: tuple[Facts, Facts], node: Node
) -> Layer | str | None:
    """Return a weighted node of the student as a layer, or why it is none that can be fitted.

    None: it has no constant weights. facts: of the teacher and of the student.
    """
    row = ops.get(node.kind)
    if row is None or row.weighted is None or not any(v in student.constants for v in node.inputs):
        return None  # a product of two activations has nothing to fit
    ours, theirs = (
        linear(g, ops, f, g.by_name[node.name]) if node.name in g.by_name else None
        for g, f in ((student, facts[1]), (teacher, facts[0]))
    )
    if ours is None or theirs is None:
        return "its weights are no plain matrix"
    readers = student.users[ours.weight]
    if readers != (node,) or node.inputs.count(ours.weight) > 1 or ours.weight in student.outputs:
        return "others read its weights too"
    return _layer(teacher, student, ops, ours, theirs)


def _layer(teacher: Graph, graph: Graph, ops: OpTable, ours: Linear, theirs: Linear) -> Layer:
    """Find the bias of a product, and the sum that it alone goes into."""
    node, value, made = ours.node, ours.result, theirs.result
    bias: tuple[str, int] | None = None
    if ours.bias is not None and ours.bias_shape is not None and ours.channel_axis is not None:
        name = node.inputs[ours.bias] if ours.bias < len(node.inputs) else ""
        bias = (node.name, ours.bias) if not name or name in graph.constants else None
    behind = sole_sum(graph, ops, value)
    if bias is None and behind is not None and _is_bias(graph, behind.other, ours):
        old = teacher.by_name.get(behind.node.name)
        if old is not None and old.inputs[behind.operand] in teacher.constants:
            bias, value = (behind.node.name, behind.operand), behind.node.outputs[0]
            made = old.outputs[0]
    added = sole_sum(teacher, ops, made)
    same = graph.by_name.get(added.node.name) if added is not None else None
    if added is None or same is None or added.other in teacher.constants:
        return Layer(theirs, ours, bias, value, "", "")
    if not _same_shape(teacher, made, added):
        return Layer(theirs, ours, bias, value, "", "")
    return Layer(theirs, ours, bias, value, added.node.outputs[0], same.inputs[added.operand])


def _is_bias(graph: Graph, value: str, one: Linear) -> bool:
    """Tell whether a value is constant, one number per output channel along the channel axis."""
    array, axis = graph.array(value), one.channel_axis
    if array is None or axis is None or array.size != one.channel_count:
        return False
    back = axis - len(one.result_axes)
    fits = -back <= array.ndim <= len(one.result_axes)
    return fits and array.shape[back] == array.size


def _same_shape(graph: Graph, value: str, added: Summed) -> bool:
    """Tell whether neither operand of a sum is broadcast."""
    kinds = [graph.type_of(v) for v in (value, added.other, added.node.outputs[0])]
    shapes = [getattr(kind, "shape", None) for kind in kinds]
    return shapes[0] is not None and shapes[0] == shapes[1] == shapes[2]
