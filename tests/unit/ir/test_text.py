from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from slimc.errors import SlimcError
from slimc.ir.constant import Constant
from slimc.ir.graph import Attr, Form, Graph, Node, Origin, Quantization
from slimc.ir.text import parse_text, to_text
from slimc.ir.types import DType, MapType, OptionalType, SequenceType, TensorType

CONV = """\
graph (%x: f32[N,3,8,8]) -> (%y)
  %w = constant f32[4,3,3,3] random(0)
  %s = constant f32[4] random(2, 0.5..2)
  # a comment
  %c: f32[N,4,6,6] = Conv(%x, %w) {strides=[2, 2], auto_pad="VALID"} @conv

  %y: f32[N,4,6,6] = Mul(%c, %s) @mul integer"""

BODY = """\
graph (%c: bool[], %x: f32[2]) -> (%y)
  %v: f32[2] = Abs(%x) @abs
  %y: f32[2] = If(%c) @if
    else_branch = graph @other () -> (%e)
      %e: f32[2] = Neg(%v) @neg
    then_branch = graph @then () -> (%t)
      %k = constant f32[] 2.0
      %t: f32[2] = Mul(%v, %k) @mul"""


def same(a: Any, b: Any) -> bool:
    """Compare graphs and all they hold, bit for bit."""
    if isinstance(a, Constant):
        return isinstance(b, Constant) and a.same_as(b)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return isinstance(b, float) and (a == b or (math.isnan(a) and math.isnan(b)))
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, (Graph, Node, Quantization)):
        return type(a) is type(b) and all(
            same(getattr(a, f), getattr(b, f)) for f in a.__dataclass_fields__
        )
    if hasattr(a, "keys"):
        return set(a) == set(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b)


def comes_back(graph: Graph) -> Graph:
    again = parse_text(to_text(graph))
    assert same(graph, again), to_text(graph)
    return again


def one_node(attrs: dict[str, Attr]) -> Graph:
    return Graph("g", ("x",), ("y",), (Node("Op", ("x",), ("y",), "n", attrs),))


def test_the_example_of_the_docs() -> None:
    graph = parse_text(CONV)
    assert graph.inputs == ("x",)
    assert str(graph.types["x"]) == "f32[N,3,8,8]"
    conv, mul = graph.nodes
    assert (conv.op, conv.inputs, conv.name) == ("Conv", ("x", "w"), "conv")
    assert dict(conv.attrs) == {"strides": (2, 2), "auto_pad": b"VALID"}
    assert (conv.integer, mul.integer) == (False, True)
    s = graph.constants["s"].array
    assert s.min() >= 0.5
    assert s.max() <= 2
    comes_back(graph)


def test_bodies_nest_by_indentation() -> None:
    graph = comes_back(parse_text(BODY))
    assert to_text(graph) == BODY
    assert graph.nodes[1].reads == ("c", "v")
    assert [n.name for n in graph.walk()] == ["abs", "if", "neg", "mul"]


def test_tuples_of_bodies() -> None:
    body = Graph("b", (), ("v",), ())
    graph = Graph(
        "g", ("v",), ("y",), (Node("Case", ("v",), ("y",), "n", {"cases": (body, body)}),)
    )
    comes_back(graph)


@pytest.mark.parametrize(
    "value",
    [
        -3,
        0.1,
        -0.0,
        1e30,
        math.inf,
        math.nan,
        1e-5,
        b"linear",
        b'a "quoted" \\ text\nof two lines',
        b'\xff\x00"\\',
        (),
        (1, 2),
        (0.5, 2.0),
        (b"a", b"b"),
        Constant(np.arange(6, dtype=np.float32).reshape(2, 3)),
        (Constant(np.array(1, np.int8)),),
        TensorType(DType.F16, ("n", 3, None)),
        SequenceType(TensorType(DType.I64, None)),
        OptionalType(SequenceType(TensorType(DType.STRING, ()))),
        MapType(DType.I64, TensorType(DType.F32, ())),
    ],
    ids=str,
)
def test_attributes_of_every_kind(value: Attr) -> None:
    if isinstance(value, float):
        value = float(np.float32(value))  # files hold floats of 32 bits
    if isinstance(value, tuple):
        value = tuple(float(np.float32(v)) if isinstance(v, float) else v for v in value)
    comes_back(one_node({"a": value}))


@pytest.mark.parametrize("dtype", list(DType), ids=lambda d: d.text)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 40)])
def test_constants_of_every_type(dtype: DType, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    if dtype is DType.STRING:
        array = np.empty(shape, object)
        array[...] = 'a "b"\n'
    elif dtype is DType.BOOL or dtype.is_integer:
        low, high = (0, 1) if dtype is DType.BOOL else dtype.span
        array = rng.integers(max(low, -(2**62)), min(high, 2**62), shape).astype(dtype.numpy)
    else:
        array = np.asarray(rng.standard_normal(shape)).astype(dtype.numpy)
    graph = Graph("g", (), ("c",), (), {"c": Constant(np.asarray(array, dtype.numpy))})
    comes_back(graph)


def test_extreme_and_odd_elements_come_back() -> None:
    payload = np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32)
    arrays = {
        "nan": payload,
        "special": np.array([np.nan, np.inf, -np.inf, -0.0], np.float32),
        "wide": np.array([2**64 - 1, 0], np.uint64),
        "raw": np.array([b"\xff", "text"], object),
        "fill": np.full((3, 5), 0.1, np.float32),
    }
    comes_back(Graph("g", (), ("nan",), (), {k: Constant(v) for k, v in arrays.items()}))


def test_names_of_every_sort() -> None:
    names = ["/layer1/conv/Conv_output_0", "x:0", 'with "quotes"', "line\nbreak", "größe", "_", "7"]
    nodes = tuple(Node("Op", (a,), (b,), f"n {b}") for a, b in pairwise(names))
    types = {names[0]: TensorType(DType.F32, ("batch size", "4*h", "(h+1)//2", "3", "?", "..."))}
    graph = Graph("a graph", (names[0],), (names[-1],), nodes, types=types)
    comes_back(graph)


def test_all_facts_of_a_graph() -> None:
    i8 = Quantization(
        DType.I8,
        np.array([0.1, 0.25], np.float32),
        np.zeros(2, np.int8),
        -64,
        64,
        axis=0,
        pairs=(0,),
    )
    u8 = Quantization(DType.U8, np.array(0.02, np.float32), np.array(3, np.uint8), 0, 255)
    node = Node(
        "Gelu",
        ("x", "", "w"),
        ("", "y"),
        "n",
        {},
        "com.microsoft",
        Origin("fuse", ("a", "b c")),
        notes={"": "a doc", "k": "v"},
    )
    odd = Node("op.x", ("y",), ("z",), "m", {}, "my::domain")
    graph = Graph(
        "g",
        ("x", "w"),
        ("z",),
        (node, odd),
        {"w": Constant(np.ones(2, np.float32))},
        {"x": TensorType(DType.F32, (2,)), "stray": TensorType(DType.F32, None)},
        Form.LEGAL,
        "tensorrt",
        {"com.microsoft": 1},
        {"author": "me", "a key": 'a "value"'},
        {"x": u8, "w": i8},
        "a doc\nof two lines",
        {"x": {"axis": "batch", "": "the input"}},
    )
    comes_back(graph)
    short = to_text(graph, "short")
    assert "%x quantized u8 scale=0.02 zero=3\n" in short
    assert "%w quantized i8 axis=0 scale=[0.1, 0.25] range=-64..64 pairs=[0]\n" in short
    assert "_, %y = com.microsoft.Gelu(%x, _, %w) @n\n" in short


def test_short_texts_leave_out_what_is_long() -> None:
    constants = {
        "w": Constant(np.arange(40, dtype=np.float32)),
        "k": Constant(np.array([1, -1])),
        "z": Constant(np.zeros(40, np.float32)),
        "third": Constant(np.array(1 / 3, np.float32)),
    }
    record = Quantization(
        DType.I8, np.full(40, 0.5, np.float32), np.zeros(40, np.int8), -128, 127, axis=0
    )
    graph = Graph("graph", (), ("w",), (), constants, records={"w": record})
    assert to_text(graph, "short").splitlines() == [
        "graph () -> (%w)",
        "  %w = constant f32[40]",
        "  %w quantized i8 axis=0 scale=[0.5, 0.5, ... 40 in all]",
        "  %k = constant i64[2] [1, -1]",
        "  %z = constant f32[40] fill(0)",
        "  %third = constant f32[] 0.333333",
    ]


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("", "the text contains no graph", "line 1, column 1"),
        ("graph (%x) -> (%y)", "the value '%y' is read before it is defined", "line 1, column 16"),
        ("graph (%x: q8[2]) -> (%x)", "'q8' is not an element type", "line 1, column 12"),
        (
            "graph (%x) -> (%x)\n  %y = Relu(%z)",
            "the value '%z' is read before it is defined",
            "line 2, column 13",
        ),
        ("graph (%x) -> (%x)\n  %x = Relu(%x)", "the value '%x' is defined twice", "line 2"),
        ("graph (%x) -> (%x)\n  %y = Relu(%x", "expected ',', found the end of the line", "line 2"),
        ("graph () -> ()\n  %w = constant f32[2] [1]", "1 elements, but f32[2] has 2", "line 2"),
        ("graph () -> ()\n  %w = constant f32[2]", "the constant has no elements", "line 2"),
        ("graph () -> ()\n  %w = constant i8[1] [200]", "an element is not of type i8", "line 2"),
        (
            "graph () -> ()\n  %w = constant f32[n] fill(0)",
            "a constant needs a static shape",
            "line 2",
        ),
        ("graph () -> ()\n  form finished", "'finished' is not a form", "line 2, column 16"),
        ("graph (%x) -> (%x)\n  %a = A(%x)\n   %b = B(%x)", "expected", "line 3"),
        ("graph () -> ()\ngraph () -> ()", "this line is indented less", "line 2"),
        ("graph (%x) -> (%x)\n  %a = A(%x) @n\n  %b = B(%x) @n", "two nodes named 'n'", "line 3"),
        ('graph (%x) -> (%x)\n  %a = A(%x) {s="\\q"}', "invalid escape", "line 2"),
    ],
)
def test_errors_say_line_and_column(text: str, message: str, where: str) -> None:
    with pytest.raises(SlimcError) as caught:
        parse_text(text)
    assert caught.value.name == "text-syntax"
    assert message in caught.value.message
    assert caught.value.where.startswith(where)
