"""Weighted nodes that two versions of a graph share, with their biases and residual sums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from slimc.analysis.shapes import Facts
from slimc.fit.linear import Linear, as_linear
from slimc.fit.moments import Fit
from slimc.ir.arrays import Floats
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ops.op import OpTable
from slimc.remarks import Remark, skipped
from slimc.rewrite.kept import Kept
from slimc.rewrite.summed import Summed, sole_sum


@dataclass(frozen=True, eq=False)
class LayerPair:
    """A weighted node in teacher and student."""

    teacher: Linear
    """The teacher's node as a product of matrices."""
    student: Linear
    """The student's node as a product of matrices."""
    bias: tuple[str, int] | None
    """Node and operand of the bias (it may be absent there); None if no bias is possible."""
    biased: str
    """Value with the bias added."""
    sum: str
    """The sum that only the teacher's biased value is added into; "" for none."""
    other: str
    """The other operand of this sum in the student; "" for none."""

    @property
    def node(self) -> Node:
        return self.student.node

    @property
    def result(self) -> str:
        return self.student.result

    def teacher_weights(self, graph: Graph) -> tuple[Floats, Floats]:
        """Return the teacher's weights [g, o, p], and the bias that the node itself adds."""
        layer = self.teacher
        w = layer.matrix(graph.constants[layer.weight].array).astype(np.float64)
        inputs = layer.node.inputs
        name = inputs[layer.bias] if layer.bias is not None and layer.bias < len(inputs) else ""
        return w, _bias_per_channel(graph, name if layer.bias_shape else "", w)

    def teacher_bias(self, graph: Graph, kept: Kept) -> np.ndarray:
        """Return the bias that the teacher adds after the node, broadcast to the student's result.

        kept: of the result, per axis, the indices that the student still has.
        """
        if self.bias is None or self.biased == self.result:
            return np.zeros(())
        name, operand = self.bias
        array = graph.constants[graph.by_name[name].inputs[operand]].array
        axis = self.student.channel_axis
        kept_channels = kept[axis] if axis is not None and axis < len(kept) else None
        if axis is None or kept_channels is None:
            return array
        return np.take(array, kept_channels, axis=axis - len(self.student.result_axes) + array.ndim)

    def weights(self, graph: Graph) -> tuple[Floats, Floats]:
        """Return the student's current weights [g, o, p] and bias [g, o], in f64."""
        w = self.student.matrix(graph.constants[self.student.weight].array).astype(np.float64)
        return w, _bias_per_channel(graph, self._bias_name(graph), w)

    def constants(self, graph: Graph | Editor, fit: Fit) -> dict[str, np.ndarray]:
        """Return the constants that a fit changes, in a graph prepared by `prepare`."""
        changed = {self.student.weight: self.student.array(fit.w)} if fit.has_new_weights else {}
        if fit.has_new_bias:
            changed[self._bias_name(graph)] = fit.b
        constants = {}
        for name, array in changed.items():
            old = graph.array(name)
            if old is not None:
                constants[name] = array.reshape(old.shape).astype(old.dtype)
        return constants

    def prepare(self, editor: Editor) -> None:
        """Give the layer a bias that no other node uses: zeros where it had none."""
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
        """Write a fit into the graph."""
        self.prepare(editor)
        for name, array in self.constants(editor, fit).items():
            editor.set_constant(name, array)

    def _bias_name(self, graph: Graph | Editor) -> str:
        if self.bias is None:
            return ""
        name, operand = self.bias
        node = graph.node(name) if isinstance(graph, Editor) else graph.by_name[name]
        return node.inputs[operand] if operand < len(node.inputs) else ""


def add_biases(student: Graph, layers: Iterable[LayerPair]) -> Graph:
    """Give every layer a bias and constants of its own, so that a fit only changes constants."""
    editor = Editor(student)
    for layer in layers:
        layer.prepare(editor)
    return editor.finish()


def _bias_per_channel(graph: Graph, name: str, w: Floats) -> Floats:
    """Return a constant bias [g, o] in f64, zeros where there is none. w: [g, o, p]."""
    if name not in graph.constants or graph.constants[name].array.size not in (1, w[..., 0].size):
        return np.zeros(w.shape[:2])
    array = graph.constants[name].array.astype(np.float64)
    return array.reshape(w.shape[:2]) if array.size > 1 else np.full(w.shape[:2], array)


def find_changed_values(teacher: Graph, student: Graph) -> set[str]:
    """Return the values that differ: computed from changed constants, or from such values."""
    changed = {
        name
        for name, constant in student.constants.items()
        if teacher.constants.get(name) is not constant
    }
    for node in student.nodes:
        old = teacher.by_name.get(node.name)
        inside = _constants_in_bodies(node) - (
            _constants_in_bodies(old) if old is not None else set()
        )
        if inside or changed & set(node.reads):
            changed.update(node.outputs)
    return changed


def _constants_in_bodies(node: Node) -> set[int]:
    """Return the identities of the constants in the bodies of a node."""
    inner = [constant for body in node.bodies for constant in body.constants.values()]
    deeper = [
        identity
        for body in node.bodies
        for nested in body.nodes
        for identity in _constants_in_bodies(nested)
    ]
    return {*map(id, inner), *deeper}


def _remarks_on_bodies(node: Node, old: Node | None, ops: OpTable) -> Iterator[Remark]:
    """Yield a remark for every layer in the bodies of a node whose weights changed."""
    known = _constants_in_bodies(old) if old is not None else set()
    for body in node.bodies:
        for inner_node in body.nodes:
            constants = [body.constants[v] for v in inner_node.inputs if v in body.constants]
            if ops.weighted(inner_node) and any(id(c) not in known for c in constants):
                yield skipped(inner_node.name, f"not repaired: it is in a body of '{node.name}'")
            yield from _remarks_on_bodies(inner_node, old, ops)


def pair_layers(
    teacher: Graph,
    student: Graph,
    ops: OpTable,
    facts: tuple[Facts, Facts],
    changed: set[str],
    also: Collection[str] = (),
) -> tuple[list[LayerPair], list[Remark]]:
    """Return the layers whose data changed, in order, and remarks on those left unchanged.

    also: nodes to fit in any case.
    """
    layers: list[LayerPair] = []
    remarks: list[Remark] = []
    for node in student.nodes:
        remarks += _remarks_on_bodies(node, teacher.by_name.get(node.name), ops)
        data = {v for v in node.inputs if v not in student.constants}
        if not changed & data and node.name not in also:
            continue
        layer = pair_layer(teacher, student, ops, facts, node)
        if isinstance(layer, str):
            remarks.append(skipped(node.name, f"not repaired: {layer}"))
        elif layer is not None and (layer.student.data in changed or node.name in also):
            layers.append(layer)
    return layers, remarks


def pair_layer(
    teacher: Graph, student: Graph, ops: OpTable, facts: tuple[Facts, Facts], node: Node
) -> LayerPair | str | None:
    """Return a weighted node of the student as a layer, or why it cannot be fitted.

    None: it has no constant weights. facts: of the teacher and of the student.
    """
    if not ops.weighted(node) or not any(v in student.constants for v in node.inputs):
        return None  # a product of two activations has nothing to fit
    ours, theirs = (
        as_linear(g, ops, f, g.by_name[node.name]) if node.name in g.by_name else None
        for g, f in ((student, facts[1]), (teacher, facts[0]))
    )
    if ours is None or theirs is None:
        return "its weights are not a plain matrix"
    consumers = student.users[ours.weight]
    if consumers != (node,) or node.inputs.count(ours.weight) > 1 or ours.weight in student.outputs:
        return "other nodes share its weights"
    return _pair_products(teacher, student, ops, ours, theirs)


def _pair_products(
    teacher: Graph, graph: Graph, ops: OpTable, ours: Linear, theirs: Linear
) -> LayerPair:
    """Find the bias of a product, and the sum that only its result is added into."""
    node, value, teacher_value = ours.node, ours.result, theirs.result
    bias: tuple[str, int] | None = None
    if ours.bias is not None and ours.bias_shape is not None and ours.channel_axis is not None:
        name = node.inputs[ours.bias] if ours.bias < len(node.inputs) else ""
        bias = (node.name, ours.bias) if not name or name in graph.constants else None
    bias_sum = sole_sum(graph, ops, value)
    if bias is None and bias_sum is not None and _is_bias(graph, bias_sum.other, ours):
        old = teacher.by_name.get(bias_sum.node.name)
        if old is not None and old.inputs[bias_sum.operand] in teacher.constants:
            bias, value = (bias_sum.node.name, bias_sum.operand), bias_sum.node.outputs[0]
            teacher_value = old.outputs[0]
    added = sole_sum(teacher, ops, teacher_value)
    same = graph.by_name.get(added.node.name) if added is not None else None
    if added is None or same is None or added.other in teacher.constants:
        return LayerPair(theirs, ours, bias, value, "", "")
    if not _same_shape(teacher, teacher_value, added):
        return LayerPair(theirs, ours, bias, value, "", "")
    return LayerPair(theirs, ours, bias, value, added.node.outputs[0], same.inputs[added.operand])


def _is_bias(graph: Graph, value: str, layer: Linear) -> bool:
    """Return whether a value is constant, with one number per channel along the channel axis."""
    array, axis = graph.array(value), layer.channel_axis
    if array is None or axis is None or array.size != layer.channel_count:
        return False
    axis_from_end = axis - len(layer.result_axes)
    fits = -axis_from_end <= array.ndim <= len(layer.result_axes)
    return fits and array.shape[axis_from_end] == array.size


def _same_shape(graph: Graph, value: str, added: Summed) -> bool:
    """Return whether neither operand of a sum is broadcast."""
    kinds = [graph.type_of(v) for v in (value, added.other, added.node.outputs[0])]
    shapes = [getattr(kind, "shape", None) for kind in kinds]
    return shapes[0] is not None and shapes[0] == shapes[1] == shapes[2]
