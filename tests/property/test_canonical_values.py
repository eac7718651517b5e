"""Random graphs of operators that rewriting looks for: canonicalising keeps their values."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from slimc.analysis.shapes import retype
from slimc.calib.data import Data
from slimc.execute.compare import difference
from slimc.execute.ort import run
from slimc.ir.constant import Constant
from slimc.ir.graph import Attr, Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ir.verify import verify
from slimc.ops import OPS
from slimc.passes.canonical.canonicalize import Canonicalize
from slimc.passes.context import Context
from slimc.targets import resolve

NODES = 25
GRAPHS = 60


@dataclass
class Random:
    """Makes a graph node by node; `shapes` has the values that later nodes may read."""

    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Constant] = field(default_factory=dict)
    shapes: dict[str, tuple[int, ...]] = field(default_factory=lambda: {"x": (2, 4, 6, 6)})

    def constant(self, array: object, dtype: type = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = Constant(np.asarray(array, dtype))
        return name

    def numbers(self, *shape: int) -> str:
        return self.constant(self.rng.uniform(0.5, 2, shape) * self.rng.choice([-1, 1], shape))

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attrs: Attr) -> None:
        name = f"v{len(self.nodes)}"
        self.nodes.append(Node(op, tuple(inputs), (name,), f"n{len(self.nodes)}", attrs))
        self.shapes[name] = shape

    def step(self) -> None:
        names = list(self.shapes)
        near = names[-4:] if self.rng.random() < 0.8 else names
        x = near[self.rng.integers(len(near))]
        makers = [m for m in MAKERS if m[0](self.shapes[x])]
        makers[self.rng.integers(len(makers))][1](self, x, self.shapes[x])

    def graph(self) -> Graph:
        for _ in range(NODES):
            self.step()
        read = {i for node in self.nodes for i in node.inputs}
        outputs = [v for node in self.nodes for v in node.outputs if v not in read]
        made = [v for node in self.nodes for v in node.outputs]
        outputs += [v for v in self.rng.choice(made, 2).tolist() if v not in outputs]
        types = {"x": TensorType(DType.F32, self.shapes["x"])}
        unique = tuple(dict.fromkeys(outputs))
        graph = Graph("random", ("x",), unique, tuple(self.nodes), self.constants, types)
        return retype(graph, OPS)


def arithmetic(r: Random, x: str, shape: tuple[int, ...]) -> None:
    op = ["Add", "Sub", "Mul", "Div"][r.rng.integers(4)]
    sizes = [(), (1,), shape[-1:], (shape[1], *(1,) * (len(shape) - 2))]
    c = r.numbers(*sizes[r.rng.integers(4 if len(shape) > 1 else 3)])
    if r.rng.random() < 0.2:
        c = r.constant(float(op in ("Mul", "Div")))
    swapped = op in ("Add", "Mul", "Sub") and r.rng.random() < 0.3
    r.add(op, [c, x] if swapped else [x, c], shape)


def unary(r: Random, x: str, shape: tuple[int, ...]) -> None:
    op = ["Relu", "Neg", "Sigmoid", "Identity", "Dropout", "Tanh", "HardSwish"][r.rng.integers(7)]
    r.add(op, [x], shape)


def clip(r: Random, x: str, shape: tuple[int, ...]) -> None:
    low, high = sorted(r.rng.uniform(-2, 3, 2).tolist())
    inputs = [x, r.constant(low) if r.rng.random() < 0.7 else "", r.constant(high)]
    r.add("Clip", inputs, shape)


def hard_swish(r: Random, x: str, shape: tuple[int, ...]) -> None:
    r.add("Add", [x, r.constant(3)], shape)
    r.add("Clip", [r.nodes[-1].outputs[0], r.constant(0), r.constant(6)], shape)
    r.add("Mul", [x, r.nodes[-1].outputs[0]], shape)
    r.add("Div", [r.nodes[-1].outputs[0], r.constant(6)], shape)


def conv(r: Random, x: str, shape: tuple[int, ...]) -> None:
    n, c, h, w = shape
    group = int(r.rng.choice([1, 2]))
    outs = int(r.rng.choice([2, 4]))
    pad = int(r.rng.integers(2))
    weight = r.numbers(outs, c // group, 1 + 2 * pad, 1 + 2 * pad)
    bias = [r.numbers(outs)] if r.rng.random() < 0.5 else []
    pads = (pad,) * 4
    r.add("Conv", [x, weight, *bias], (n, outs, h, w), group=group, pads=pads)


def batch_norm(r: Random, x: str, shape: tuple[int, ...]) -> None:
    constants = [r.numbers(shape[1]) for _ in range(3)]
    variance = r.constant(r.rng.uniform(0.5, 2, shape[1]))
    r.add("BatchNormalization", [x, *constants, variance], shape)


def matmul(r: Random, x: str, shape: tuple[int, ...]) -> None:
    outs = int(r.rng.choice([2, 4, 6]))
    r.add("MatMul", [x, r.numbers(shape[-1], outs)], (*shape[:-1], outs))


def transpose(r: Random, x: str, shape: tuple[int, ...]) -> None:
    perm = tuple(r.rng.permutation(len(shape)).tolist())
    r.add("Transpose", [x], tuple(shape[i] for i in perm), perm=perm)


def reshape(r: Random, x: str, shape: tuple[int, ...]) -> None:
    flat = int(np.prod(shape))
    sizes = [
        (2, flat // 2),
        (flat // 4, 4),
        (2, 2, flat // 4),
        (2, 4, flat // 8, 1),
        (1, 2, flat // 2),
    ]
    target = [t for t in sizes if int(np.prod(t)) == flat][r.rng.integers(3)]
    r.add("Reshape", [x, r.constant(target, np.int64)], target)


def unsqueeze(r: Random, x: str, shape: tuple[int, ...]) -> None:
    axis = int(r.rng.integers(len(shape) + 1))
    r.add("Unsqueeze", [x, r.constant([axis], np.int64)], (*shape[:axis], 1, *shape[axis:]))


def squeeze(r: Random, x: str, shape: tuple[int, ...]) -> None:
    axis = shape.index(1)
    r.add("Squeeze", [x, r.constant([axis], np.int64)], shape[:axis] + shape[axis + 1 :])


def add_two(r: Random, x: str, shape: tuple[int, ...]) -> None:
    same = [v for v, s in r.shapes.items() if s == shape]
    r.add("Add", [x, same[r.rng.integers(len(same))]], shape)


MAKERS = [
    (lambda s: True, arithmetic),
    (lambda s: True, arithmetic),
    (lambda s: True, unary),
    (lambda s: True, clip),
    (lambda s: True, add_two),
    (lambda s: True, hard_swish),
    (lambda s: len(s) == 4 and s[1] % 2 == 0 and min(s[2:]) >= 1, conv),
    (lambda s: len(s) > 1, batch_norm),
    (lambda s: len(s) > 1, matmul),
    (lambda s: len(s) > 1, transpose),
    (lambda s: int(np.prod(s)) % 8 == 0, reshape),
    (lambda s: len(s) < 5, unsqueeze),
    (lambda s: 1 in s and len(s) > 1, squeeze),
]


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_values_stay(seed: int) -> None:
    graph = Random(np.random.default_rng(seed)).graph()
    ctx = Context(OPS, resolve("generic-onnx"), Data.synthesize(graph, {}, 0, 1))
    after = Canonicalize().run(graph, ctx).graph
    verify(after)
    assert len(after.nodes) <= len(graph.nodes)
    feeds = {"x": np.random.default_rng(seed).standard_normal((2, 4, 6, 6), np.float32)}
    wanted, got = run(graph, feeds), run(after, feeds)
    for output in graph.outputs:
        # f32 sums in another order; where a bound cuts, rounding of what is large shows
        assert difference(wanted[output], got[output]) < 1e-4, output
    again = Canonicalize().run(after, ctx)
    assert not [r for r in again.remarks if r.kind == "applied"]
