"""A graph without some channels computes what the original computes with those masked."""

from __future__ import annotations

import random
from itertools import count

import numpy as np
import pytest

from slimc.analysis.coupling import couple
from slimc.analysis.prune_groups import families
from slimc.analysis.shapes import infer
from slimc.execute import ort
from slimc.ir.constant import Constant
from slimc.ir.graph import Graph, Node
from slimc.ir.types import DType, TensorType
from slimc.ops import OPS
from slimc.passes.prune.mask_axes import mask_axes
from slimc.passes.prune.slice_axes import slice_axes

SIDE = 6


class Drawing:
    """Draws a small random network: values are [1, C, 6, 6] with C as listed in `channels`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.numpy = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.constants: dict[str, Constant] = {}
        self.channels: dict[str, int] = {"x": 4}
        self.numbers = count()

    def constant(self, array: np.ndarray) -> str:
        name = f"k{next(self.numbers)}"
        self.constants[name] = Constant(array)
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(self.numpy.normal(0, 0.5, shape).astype(np.float32))

    def sizes(self, *numbers: int) -> str:
        return self.constant(np.array(numbers, np.int64))

    def node(self, op: str, *inputs: str, results: int = 1, **attrs: object) -> list[str]:
        name = f"{op.lower()}{next(self.numbers)}"
        outputs = tuple(f"{name}.{i}" for i in range(results))
        self.nodes.append(Node(op, inputs, outputs, name, attrs))
        return list(outputs)

    def put(self, value: str, channels: int) -> None:
        self.channels[value] = channels

    def pick(self) -> str:
        return self.random.choice(list(self.channels)[-4:])

    def conv(self, value: str, made: int, group: int = 1, kernel: int = 1) -> str:
        read = self.channels[value]
        w = self.weight(made, read // group, kernel, kernel)
        pad = (kernel // 2,) * 4
        bias = (self.weight(made),) if self.random.random() < 0.5 else ()
        (out,) = self.node("Conv", value, w, *bias, group=group, pads=pad)
        self.put(out, made)
        return out

    def step(self) -> None:
        value = self.pick()
        if self.channels[value] % 2:
            self.conv(value, 6)
        else:
            getattr(self, self.random.choice(STEPS))(value, self.channels[value])

    def plain(self, value: str, channels: int) -> None:
        self.conv(value, self.random.choice([4, 6, 8, 12]), kernel=self.random.choice([1, 3]))

    def depthwise(self, value: str, channels: int) -> None:
        self.conv(value, channels, group=channels, kernel=3)

    def grouped(self, value: str, channels: int) -> None:
        self.conv(value, self.random.choice([4, 8, 12]), group=2)

    def activation(self, value: str, channels: int) -> None:
        op = self.random.choice(["Relu", "Sigmoid", "Tanh", "Exp", "HardSwish"])
        (clipped,) = self.node("Tanh", value)
        self.put(self.node(op, clipped)[0], channels)

    def add(self, value: str, channels: int) -> None:
        other = self.conv(value, channels)
        self.put(self.node("Add", value, other)[0], channels)

    def concat(self, value: str, channels: int) -> None:
        other = self.pick()
        self.put(self.node("Concat", value, other, axis=1)[0], channels + self.channels[other])

    def split(self, value: str, channels: int) -> None:
        half = channels // 2
        parts = self.node("Split", value, self.sizes(half, channels - half), results=2, axis=1)
        self.put(parts[0], half)
        self.put(parts[1], channels - half)

    def glu(self, value: str, channels: int) -> None:
        wide = self.conv(value, 8)
        a, b = self.node("Split", wide, results=2, axis=1, num_outputs=2)
        (gate,) = self.node("Sigmoid", b)
        self.put(self.node("Mul", a, gate)[0], 4)
        self.channels.pop(wide)

    def slice(self, value: str, channels: int) -> None:
        start = self.random.randrange(channels // 2)
        bounds = (self.sizes(start), self.sizes(start + channels // 2), self.sizes(1))
        self.put(self.node("Slice", value, *bounds)[0], channels // 2)

    def scale(self, value: str, channels: int) -> None:
        self.put(self.node("Mul", value, self.weight(channels, 1, 1))[0], channels)

    def shuffle(self, value: str, channels: int) -> None:
        shape = self.sizes(1, 2, channels // 2, SIDE, SIDE)
        (folded,) = self.node("Reshape", value, shape)
        (turned,) = self.node("Transpose", folded, perm=(0, 2, 1, 3, 4))
        (flat,) = self.node("Reshape", turned, self.sizes(1, channels, SIDE, SIDE))
        self.put(flat, channels)

    def turn(self, value: str, channels: int) -> None:
        (last,) = self.node("Transpose", value, perm=(0, 2, 3, 1))
        (mixed,) = self.node("MatMul", last, self.weight(channels, 6))
        (moved,) = self.node("Add", mixed, self.weight(6))
        self.put(self.node("Transpose", moved, perm=(0, 3, 1, 2))[0], 6)

    def squeeze(self, value: str, channels: int) -> None:
        (pooled,) = self.node("GlobalAveragePool", value)
        self.put(pooled, channels)
        narrow = self.conv(pooled, 4)
        (active,) = self.node("Relu", narrow)
        self.put(active, 4)
        gate = self.conv(active, channels)
        self.put(self.node("Mul", value, self.node("Sigmoid", gate)[0])[0], channels)
        for gone in (pooled, narrow, active, gate):
            self.channels.pop(gone)

    def attention(self, value: str, channels: int) -> None:
        (flat,) = self.node("Reshape", value, self.sizes(1, channels, SIDE * SIDE))
        (tokens,) = self.node("Transpose", flat, perm=(0, 2, 1))
        heads = []
        for perm in ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3)):
            (made,) = self.node("MatMul", tokens, self.weight(channels, 12))
            (folded,) = self.node("Reshape", made, self.sizes(1, SIDE * SIDE, 3, 4))
            heads += self.node("Transpose", folded, perm=perm)
        (weights,) = self.node("Softmax", *self.node("MatMul", heads[0], heads[1]), axis=-1)
        (mixed,) = self.node("MatMul", weights, heads[2])
        (joined,) = self.node("Transpose", mixed, perm=(0, 1, 3, 2))
        (image,) = self.node("Reshape", joined, self.sizes(1, 12, SIDE, SIDE))
        self.put(image, 12)

    def normalize(self, value: str, channels: int) -> None:
        (norm,) = self.node("ReduceL2", value, self.sizes(1), keepdims=1)
        self.put(self.node("Div", value, norm)[0], channels)

    def branch(self, value: str, channels: int) -> None:
        """An If with a convolution in one branch; its weights stand inside the body or outside."""
        (total,) = self.node("ReduceSum", value, keepdims=0)
        (positive,) = self.node("Greater", total, self.constant(np.array(0, np.float32)))
        outer, known = self.nodes, dict(self.channels)
        self.nodes = []
        (active,) = self.node("Relu", self.conv(value, channels))
        inside = {k for node in self.nodes for k in node.inputs if k in self.constants}
        own = {k: self.constants.pop(k) for k in inside} if self.random.random() < 0.5 else {}
        then = Graph("then", (), (active,), tuple(self.nodes), own)
        self.nodes = []
        (negative,) = self.node("Neg", value)
        other = Graph("else", (), (negative,), tuple(self.nodes))
        self.nodes, self.channels = outer, known
        (out,) = self.node("If", positive, then_branch=then, else_branch=other)
        self.put(out, channels)

    def graph(self) -> Graph:
        for _ in range(self.random.randrange(5, 12)):
            self.step()
        last = list(self.channels)[-1]
        (pooled,) = self.node("GlobalAveragePool", last)
        (flat,) = self.node("Flatten", pooled)
        (y,) = self.node("Gemm", flat, self.weight(self.channels[last], 3), self.weight(3))
        types = {"x": TensorType(DType.F32, (1, 4, SIDE, SIDE)), y: TensorType(DType.F32, (1, 3))}
        return Graph("drawn", ("x",), (y,), tuple(self.nodes), self.constants, types)


STEPS = [
    *("plain", "depthwise", "grouped", "activation", "add", "concat", "split", "glu", "slice"),
    *("scale", "shuffle", "turn", "squeeze", "attention", "normalize", "branch"),
]


@pytest.mark.parametrize("seed", range(60))
def test_removed_equals_masked(seed: int) -> None:
    drawn = Drawing(seed)
    graph = drawn.graph()
    coupling = couple(graph, OPS, infer(graph, OPS))
    removed = np.zeros(len(coupling.pinned), bool)
    for family in families(coupling):
        count = drawn.random.randrange(family.width) if family.width > 1 else 0
        removed[family.units[drawn.numpy.permutation(family.width)[:count]]] = True
    sliced = slice_axes(coupling, removed, "test")
    masked = mask_axes(coupling, removed, "test")
    assert masked is not None, "no operator drawn here takes statistics over channels"
    feeds = {"x": drawn.numpy.normal(0, 1, (1, 4, SIDE, SIDE)).astype(np.float32)}
    (wanted,) = ort.run(masked, feeds).values()
    (made,) = ort.run(sliced.graph, feeds).values()
    # sums of the same products in another order: some ulps of the largest
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    _assert_shapes_follow(sliced.graph, feeds)


def _assert_shapes_follow(graph: Graph, feeds: dict[str, np.ndarray]) -> None:
    values = [o for node in graph.nodes for o in node.outputs]
    for name, array in ort.run(graph, feeds, values).items():
        assert graph.types[name].shape == array.shape, name
