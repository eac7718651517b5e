from __future__ import annotations

import pytest

from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.passes.schemes import Schemes, schemes_of
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.tensorrt.devices import JETSON_ORIN

GRAPH = parse_text("""graph (%x: f32[2,8]) -> (%y)
  %w = constant f32[8,8] random(0)
  %a: f32[2,8] = MatMul(%x, %w) @body/a
  %b: f32[2,8] = MatMul(%a, %w) @body/b
  %y: f32[2,8] = Relu(%b) @head""")


def read(
    mixed: tuple[str, ...] = (),
    keep: tuple[str, ...] = (),
    most: str = "int8",
    block: int | None = None,
) -> Schemes:
    return schemes_of(GRAPH, GENERIC_ONNX, most, mixed, keep, block, "a-pass")


def test_the_last_pattern_that_matches_counts_and_keep_above_all() -> None:
    found = read(("*=int4-weights", "body/a=int8-weights", "head=float"), ("body/b",))
    names = {node.name: found.of_node(node) for node in GRAPH.nodes}
    assert names == {"body/a": "int8-weights", "body/b": "float", "head": "float"}


def test_a_wish_follows_the_scheme_and_the_block() -> None:
    a, b, head = GRAPH.nodes
    found = read(("body/a=int4-weights",), block=64)
    wish = found.wish(a)
    assert wish is not None
    assert wish.weights is not None
    assert wish.weights.block == 64
    static = found.wish(b)
    assert static is not None
    assert static.activations is not None
    assert found.wish(head) is None
    assert found.refusal(head) == "generic-onnx runs Relu in float"
    assert not found.is_static(a)
    assert found.is_static(b)


def test_auto_is_the_first_scheme_of_the_target() -> None:
    assert read(most="auto").most == "int8"


@pytest.mark.parametrize(
    ("mixed", "name", "said"),
    [
        ("body/a=int3", "scheme-unsupported", "it has int8"),
        ("bodi*=int8", "unknown-node", "bodi"),
    ],
)
def test_what_is_wrong_in_mixed_is_told(mixed: str, name: str, said: str) -> None:
    with pytest.raises(SlimcError, match=said) as caught:
        read((mixed,))
    assert caught.value.name == name


def test_a_scheme_that_the_target_lacks_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(SlimcError, match="it has int8, int8-weights, int4-weights") as caught:
        schemes_of(GRAPH, JETSON_ORIN, "int16-act", (), (), None, "a-pass")
    assert caught.value.name == "scheme-unsupported"


def test_a_block_without_effect_is_an_error() -> None:
    with pytest.raises(SlimcError, match="no scheme in use has weights in blocks"):
        read(block=64)
