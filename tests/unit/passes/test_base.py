"""What an option may be is checked when its pass is constructed, before any model is read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest

from slimc.errors import SlimcError
from slimc.passes import PASSES
from slimc.passes.base import Pass, allowed_range
from slimc.passes.canonical.bind_inputs import BindInputs
from slimc.passes.lower.lower_float16 import LowerFloat16
from slimc.passes.nms.append_nms import AppendNms
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.quant.assign_scales import AssignScales
from slimc.passes.sparsify.sparsify_weights import SparsifyWeights
from slimc.passes.text import options_of

ADDED = (AppendNms,)  # passes of no stage that runs by default
KINDS = sorted({*PASSES, *ADDED}, key=lambda kind: kind.name)


def outside(field: dataclasses.Field[Any]) -> Iterator[float]:
    """The nearest values beyond each bound of an option."""
    is_float = isinstance(field.default, float)
    for name, bound in field.metadata["bounds"].items():
        if name in ("above", "below"):
            yield bound
        else:
            step = 1e-9 if is_float else 1
            yield bound - step if name == "least" else bound + step
    if is_float:
        yield from (math.nan, math.inf, -math.inf)
    else:
        yield from (2**63, -(10**400))


def inside(field: dataclasses.Field[Any]) -> Iterator[float]:
    """Values just within each bound."""
    step = 1e-9 if isinstance(field.default, float) else 1
    for name, bound in field.metadata["bounds"].items():
        yield {"least": bound, "most": bound, "above": bound + step, "below": bound - step}[name]


FIELDS = [
    (kind, field)
    for kind in KINDS
    for field in dataclasses.fields(kind)
    if field.metadata.get("bounds")
]
OUTSIDE = [(kind, field, value) for kind, field in FIELDS for value in outside(field)]
INSIDE = [(kind, field, value) for kind, field in FIELDS for value in inside(field)]


def test_every_number_has_a_range() -> None:
    numbers = {
        (kind.name, field.name)
        for kind in KINDS
        for field in dataclasses.fields(kind)
        if type(field.default) in (int, float)
    }
    assert numbers
    assert numbers <= {(kind.name, field.name) for kind, field in FIELDS}


@pytest.mark.parametrize(
    ("kind", "field", "value"), OUTSIDE, ids=lambda v: str(getattr(v, "name", v))[:40]
)
def test_a_value_outside_its_range_makes_no_pass(
    kind: type[Pass], field: dataclasses.Field[Any], value: float
) -> None:
    with pytest.raises(SlimcError) as caught:
        kind(**{field.name: value})
    assert caught.value.name == "bad-option-value"
    assert caught.value.where == f"pass {kind.name}"
    assert caught.value.message.startswith(f"{field.name} is {value}, it must be ")
    assert caught.value.message.endswith(allowed_range(field.metadata["bounds"]))
    assert field.metadata["help"] in caught.value.help


@pytest.mark.parametrize(
    ("kind", "field", "value"), INSIDE, ids=lambda v: str(getattr(v, "name", v))[:40]
)
def test_a_value_at_the_edge_of_its_range_is_taken(
    kind: type[Pass], field: dataclasses.Field[Any], value: float
) -> None:
    options: dict[str, Any] = {field.name: value}
    if field.name == "percentile":
        options["calibrator"] = "percentile"
    assert getattr(kind(**options), field.name) == value


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (RemoveChannels, {"choose": "exact", "budget": "channels"}, "chooses nothing"),
        (RemoveChannels, {"widths": ("conv1",)}, "cannot read 'conv1'"),
        (RemoveChannels, {"widths": ("conv1:32-8",)}, "'conv1:32-8' allows no width"),
        (SparsifyWeights, {"align": 6}, "align is 6, it must be a multiple of 4"),
        (SparsifyWeights, {"score": "magnitude", "samples": 8}, "samples has no effect"),
        (AssignScales, {"percentile": 99.0}, "but the calibrator is mse"),
        (AssignScales, {"mixed": ("body/a",)}, "'body/a' in mixed is no pattern=scheme"),
        (AssignScales, {"mixed": ("=int8",)}, "'=int8' in mixed is no pattern=scheme"),
        (AssignScales, {"scheme": "fp16", "block": 32}, "block has no effect with scheme=fp16"),
        (LowerFloat16, {"mixed": ("a=",)}, "'a=' in mixed is no pattern=scheme"),
        (AppendNms, {"objectness": True, "boxes": "b", "scores": "s"}, "boxes have their own"),
        (BindInputs, {"values": ("sr",)}, "'sr' binds nothing"),
    ],
)
def test_options_that_contradict_each_other_make_no_pass(
    kind: type[Pass], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(SlimcError) as caught:
        kind(**options)
    assert message in caught.value.message


def test_the_help_shows_the_range() -> None:
    ranges = {option.name: option.range for option in options_of(RemoveChannels)}
    assert ranges["ratio"] == "above 0 and below 1"
    assert ranges["min_channels"] == "at least 1"
    assert ranges["keep"] == ""
