from __future__ import annotations

import numpy as np
import pytest

from slimc.execute.ort import run
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.lower.emit_lookups import emit_lookups

TEXT = """graph (%i: i64[2,3]) -> (%y, %z)
  %t = constant f32[5,4] random(0, -1..1)
  %t quantized {record}
  %y: f32[2,3,4] = Gather(%t, %i) {{axis={axis}}} @first
  %z: f32[2,3,4] = Gather(%t, %i) {{axis={axis}}} @second"""
ROWS = "i8 axis=0 scale=[0.01, 0.02, 0.03, 0.04, 0.05] range=-127..127"


def emitted(record: str, axis: int = 0) -> tuple[Graph, Graph]:
    graph = parse_text(TEXT.format(record=record, axis=axis))
    return graph, emit_lookups(graph, OPS, "insert-qdq")[0]


@pytest.mark.parametrize("axis", [0, -2])
@pytest.mark.parametrize("record", [ROWS, "i8 scale=0.01 range=-127..127"])
def test_what_is_found_is_what_the_record_says(record: str, axis: int) -> None:
    graph, made = emitted(record, axis)
    one = graph.records["t"]
    real = one.dequantize(one.quantize(graph.constants["t"].array))
    i = np.array([[0, 4, 2], [1, 1, -1]])
    found = run(made, {"i": i})
    assert (found["y"] == real[i]).all()
    assert (found["z"] == real[i]).all()


def test_a_table_is_stored_once_for_all_lookups() -> None:
    _, made = emitted(ROWS)
    assert sorted(str(c.array.dtype) for c in made.constants.values()) == ["float32", "int8"]


@pytest.mark.parametrize(
    "record",
    [
        "u8 axis=0 scale=[0.01, 0.02, 0.03, 0.04, 0.05] zero=[128, 128, 128, 128, 128]",
        "i8 axis=1 scale=[0.01, 0.02, 0.03, 0.04] range=-127..127",  # per column
    ],
)
def test_other_records_are_left_to_a_dequantization(record: str) -> None:
    graph, made = emitted(record)
    assert made.nodes == graph.nodes
    assert set(made.records) == {"t"}


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_tables_of_16_bits_give_floats_of_their_type(dtype: str) -> None:
    text = TEXT.format(record=ROWS, axis=0).replace("f32", dtype)
    made, _ = emit_lookups(parse_text(text), OPS, "insert-qdq")
    assert str(made.type_of("y")) == f"{dtype}[2,3,4]"
    found = run(made, {"i": np.array([[0, 4, 2], [1, 1, -1]])})
    assert str(found["y"].dtype) == {"f16": "float16", "bf16": "bfloat16"}[dtype]
