"""A damaged file gives a graph or an error that says so, never a traceback of ours."""

from __future__ import annotations

import random

import onnx
import pytest
from test_io_opsets import MODELS, model_of

from slimc.errors import SlimcError
from slimc.io.read import from_bytes
from slimc.io.write import to_bytes
from slimc.ir.graph import OPSET

NUMBERS = [-100, -3, 0, 7, 99, 1 << 40]


def flipped(model: onnx.ModelProto, rng: random.Random) -> bytes:
    data = bytearray(model.SerializeToString())
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def misshapen(model: onnx.ModelProto, rng: random.Random) -> bytes:
    """Change an attribute or an operand of a node, or the rank of an input."""
    node = rng.choice(model.graph.node)
    kind = rng.randrange(5)
    if kind == 0 and node.attribute:
        attribute = rng.choice(node.attribute)
        if attribute.type == onnx.AttributeProto.INT:
            attribute.i = rng.choice(NUMBERS)
        elif attribute.ints:
            attribute.ints[0] = rng.choice(NUMBERS)
        else:
            attribute.name = "other"
    elif kind == 1 and node.input:
        del node.input[-1]
    elif kind == 2 and node.attribute:
        del node.attribute[rng.randrange(len(node.attribute))]
    elif kind == 3:
        model.graph.input[0].type.tensor_type.shape.dim.add(dim_value=3)
    else:
        model.graph.input[0].type.tensor_type.ClearField("shape")
    return model.SerializeToString()


@pytest.mark.parametrize("damage", [flipped, misshapen])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_damaged_files(damage: object) -> None:
    rng = random.Random(0)
    told = 0
    for name in sorted(MODELS) * 10:
        model = model_of(name)
        data = flipped(model, rng) if damage is flipped else misshapen(model, rng)
        try:
            graph = from_bytes(data)
            for opset in (13, OPSET):
                to_bytes(graph, opset)
        except SlimcError:
            told += 1
    assert told > 100
