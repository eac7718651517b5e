"""Maps [N,C,H,W] of fixed sizes, as rewrites for DLA look at them and make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slimc.ir.graph import Attr
from slimc.ir.types import DType, TensorType, static_shape
from slimc.targets.express.old_node import OldNode

Shape = tuple[int, ...]
Way = Callable[[OldNode], str]  # puts others in the place of a node, or says why not


def shape_of(old: OldNode, value: str) -> Shape:
    """Return the shape of a value, nothing where a size is not a number."""
    return static_shape(old.type_of(value)) or ()


def map_of(old: OldNode, value: str) -> Shape:
    """Return the shape of a map, nothing where the value is none."""
    shape = shape_of(old, value)
    return shape if len(shape) == 4 else ()


def set_shape(old: OldNode, value: str, shape: Shape) -> None:
    """State the shape of a value that was made: later rewrites look at it."""
    old.editor.set_type(value, TensorType(old.dtype, shape))


def no_map(old: OldNode) -> str:
    """Say that the data of a node are no map."""
    return f"'{old.operand(0)}' is no map [N,C,H,W] of fixed sizes"


def reshape(old: OldNode, value: str, shape: Sequence[int]) -> None:
    """Let the node be a Reshape, which keeps its result."""
    old.become("Reshape", value, old.constant(shape, DType.I64))


def make_map(
    old: OldNode, shape: Shape, op: str, *inputs: str, then: Sequence[object] = (), **attrs: Attr
) -> None:
    """Let the node be an operator that makes a map of a shape, and its result what follows.

    The node keeps its name, by which options find what computes. then: operator and operands that
    make the old result of the map, integers; nothing: the map is the result.
    """
    if not then:
        old.become(op, *inputs, **attrs)
        return
    (result, *_), name = old.node.outputs, old.node.name
    made = old.editor.fresh_name(f"{name}.map")
    old.editor.update(name, op=op, inputs=inputs, outputs=(made,), attrs=attrs)
    set_shape(old, made, shape)
    kind, *operands = then
    read = (made, *(old.constant(one, DType.I64) for one in operands))
    old.editor.add(str(kind), read, outputs=[result], name=f"{name}.{kind}", near=name)
    maker = old.editor.producer(result)
    old.added.extend([] if maker is None else [maker.name])
