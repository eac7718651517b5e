from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimc.io.infer import infer_types
from slimc.ir.constant import Constant
from slimc.ir.graph import OPSET, Graph
from slimc.ir.text import parse_text
from slimc.ir.types import DType, TensorType


def untyped(text: str) -> Graph:
    graph = parse_text(text)
    return replace(graph, types={v: t for v, t in graph.types.items() if v in graph.inputs})


def test_types_follow_from_inputs_and_constants() -> None:
    graph = untyped("""graph (%x: f32[N,4]) -> (%y)
  %s = constant i64[2] [-1, 2]
  %w = constant f32[2,300] random(0)
  %z = Reshape(%x, %s)
  %y = MatMul(%z, %w)
""")
    typed = infer_types(graph, OPSET)
    assert typed.type_of("y") == TensorType(DType.F32, (None, 300))
    assert typed.constants == graph.constants
    assert typed.inputs == ("x",)


def test_bodies_are_typed_too() -> None:
    graph = untyped("""graph (%c: bool[], %x: f32[N,4]) -> (%y)
  %y = If(%c)
    then_branch = graph () -> (%r)
      %k = constant f32[512,4] random(0)
      %r = Mul(%k, %k)
    else_branch = graph () -> (%s)
      %s = Relu(%x)
""")
    typed = infer_types(graph, OPSET)
    types = {v: t for body in typed.nodes[0].bodies for v, t in body.types.items()}
    assert types["r"] == TensorType(DType.F32, (512, 4))
    assert types["s"] == TensorType(DType.F32, ("N", 4))


def test_what_is_stated_stays_where_nothing_follows() -> None:
    graph = parse_text("""graph (%x: f32[N,4]) -> (%y)
  %z: f32[N,7] = mine.Warp(%x)
  %y: f32[N,7] = Relu(%z)
""")
    assert infer_types(graph, OPSET).types == graph.types


def test_long_constants_are_not_moved() -> None:
    """A model with these weights would be too large for the inference, which takes 2 GB."""
    view = np.broadcast_to(np.float32(1), (1 << 16, 1 << 15))
    small = untyped("""graph (%x: f32[1,65536]) -> (%y)
  %w = constant f32[1] [1]
  %y = MatMul(%x, %w)
""")
    graph = replace(small, constants={"w": Constant(view)})
    assert infer_types(graph, OPSET).type_of("y") == TensorType(DType.F32, (1, 1 << 15))
