"""Shapes and element types by the operator table = onnx's shape inference = execution."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from op_catalogue import EXAMPLES, GRAPHS
from op_examples import Example, feeds, graph_of

from slimc.analysis.shapes import infer
from slimc.errors import SlimcError
from slimc.execute import ort
from slimc.io.write import to_model
from slimc.ir import dims
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ir.types import DType, TensorType, ValueType, static_shape
from slimc.ops import OPS


def executed(graph: Graph, given: dict[str, np.ndarray]) -> dict[str, Any]:
    """Run in onnxruntime, else in onnx's reference, which has operators that the former lacks."""
    try:
        return ort.Session(graph, optimize=False).run(given)
    except SlimcError as error:
        if error.name != "runtime-refuses":
            raise
    made = ReferenceEvaluator(to_model(graph)).run(None, given)
    return dict(zip(graph.outputs, map(np.asarray, made), strict=True))


def fits(kind: ValueType | None, array: np.ndarray) -> bool:
    """Tell whether an array has a type; sizes that are not known fit any."""
    if not isinstance(kind, TensorType) or kind.shape is None or len(kind.shape) != array.ndim:
        return False
    sizes = all(d is None or d == e for d, e in zip(kind.shape, array.shape, strict=True))
    return sizes and kind.dtype is DType.of_numpy(array.dtype)


def inferred_by_onnx(graph: Graph) -> dict[str, TensorType]:
    """Return what onnx infers for the outputs of a graph that does not declare their shapes."""
    model = to_model(graph)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    return {output.name: _type(output.type.tensor_type) for output in inferred.graph.output}


def _type(tensor: onnx.TypeProto.Tensor) -> TensorType:
    dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    shape = tuple(dims) if tensor.HasField("shape") else None
    return TensorType(DType.of_code(tensor.elem_type), shape)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.id)
def test_types_are_those_of_onnx_and_of_execution(example: Example) -> None:
    arrays = example.arrays()
    graph = graph_of(example, arrays, example.attrs)
    facts = infer(graph, OPS)
    assert not facts.opaque
    results = executed(graph, feeds(graph, arrays))
    by_onnx = {} if example.onnx_errs else inferred_by_onnx(graph)
    for output in graph.outputs:
        kind, array, other = facts.types[output], results[output], by_onnx.get(output)
        assert fits(kind, array), f"{kind} for {array.dtype}{array.shape}"
        assert example.dynamic or facts.shape(output) == array.shape
        assert other is None or other.shape is None or fits(other, array), f"onnx infers {other}"
        known = facts.values.get(output)
        if known is not None:
            np.testing.assert_array_equal(known, array)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.id)
def test_named_sizes_give_no_wrong_shape(example: Example) -> None:
    arrays = example.arrays()
    graph = graph_of(example, arrays, example.attrs)
    numbers = {d: f"d{d}" for t in graph.types.values() for d in static_shape(t) or () if d > 1}
    named: dict[str, ValueType] = {}
    for value in graph.inputs:
        kind = graph.types[value]
        assert isinstance(kind, TensorType)
        named[value] = TensorType(kind.dtype, tuple(numbers.get(d, d) for d in kind.shape or ()))
    symbolic = infer(replace(graph, types=named), OPS)
    numeric = infer(graph, OPS)
    for output in graph.outputs:
        kind = symbolic.types[output]
        assert isinstance(kind, TensorType)
        sizes = {name: number for number, name in numbers.items()}
        shape = None if kind.shape is None else [dims.evaluate(d, sizes) for d in kind.shape]
        exact = numeric.shape(output)
        if shape is not None and exact is not None:
            assert all(d in (None, e) for d, e in zip(shape, exact, strict=True))


@pytest.mark.parametrize("kind", list(GRAPHS))
def test_types_of_operators_with_bodies_sequences_and_optional_values(kind: str) -> None:
    graph = parse_text(GRAPHS[kind])
    assert kind in {node.kind for node in graph.nodes}
    facts = infer(graph, OPS)
    generator = np.random.default_rng(0)
    given = {
        v: np.asarray(generator.uniform(0, 1, facts.shape(v)), np.float32) for v in graph.inputs
    }
    for output, made in executed(graph, given).items():
        expected = facts.types[output]
        assert fits(expected, made), f"{output}: {expected} for {made.dtype}{made.shape}"


def test_every_row_has_an_example() -> None:
    assert {e.kind for e in EXAMPLES} | set(GRAPHS) >= set(OPS.kinds)
