"""Normalisations. `~` marks the axes that their statistics run over."""

from __future__ import annotations

from collections.abc import Mapping

from slimc.ir.types import DType
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import Call, Op, Quant, ShapeRefit, SizedSignature, make_table
from slimc.ops.spelling import join_operands, labels, mark_axes, spell


def batch_norm_axes(call: Call) -> str:
    """In inference the statistics are constants, one per channel."""
    if call.attr("training_mode", 0):
        raise Unmatched("it updates its statistics (training_mode=1)")
    return "n c *s, c, c, c, c -> n c *s"


def layer_norm_axes(call: Call) -> str:
    """X, Scale, B -> Y, Mean, InvStdDev; statistics over the axes from `axis` on."""
    axis, rank = call.axis(-1), call.rank(0)
    axes = mark_axes(labels(rank), range(axis, rank), "~")
    sides = [_parameter_axes(call, i, axes) for i in range(1, len(call.types))]
    reduced = spell([*axes[:axis], *("1" for _ in axes[axis:])])
    return f"{join_operands(spell(axes), *sides)} -> {spell(axes)}, {reduced}, {reduced}"


def _parameter_axes(call: Call, operand: int, axes: list[str]) -> str:
    """Return the axes of a scale that broadcasts to the data."""
    if not call.has_operand(operand):
        return "?"
    shape, data = call.shape(operand), call.shape(0)
    offset = len(data) - len(shape)
    if offset < 0:
        raise Unmatched(f"operand {operand} has more axes than the data")
    return spell([
        "1" if d == 1 and data[offset + i] != 1 else axes[offset + i] for i, d in enumerate(shape)
    ])  # fmt: skip


def _layer_norm_types(call: Call) -> tuple[DType | None, ...]:
    code = call.attr("stash_type", 1)
    return (call.dtype(0), DType.of_code(code), DType.of_code(code))


def group_norm_axes(call: Call) -> SizedSignature:
    """Statistics over the channels of each of g groups and over space; removing groups is exact."""
    return "n (g c~) *s~, (g c~), (g c~) -> n (g c~) *s~", {
        "g": int(call.required_attr("num_groups"))
    }


def refit_num_groups(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the attribute `num_groups`, which repeats the size of label g."""
    changed = after["g"] != bound.sizes["g"]
    return ShapeRefit(attrs={"num_groups": after["g"]} if changed else {})


def mean_variance_axes(call: Call) -> str:
    """Statistics over `axes`, by default all but the channels."""
    rank = call.rank(0)
    over = [int(a) % rank for a in call.attr("axes", (0, 2, 3))]
    axes = spell(mark_axes(labels(rank), over, "~"))
    return f"{axes} -> {axes}"


NORM = make_table(
    Op("BatchNormalization", batch_norm_axes, running=(3, 4), affine=(1, 2)),
    Op(
        "LayerNormalization",
        layer_norm_axes,
        quant=Quant.POINTWISE,
        dtypes=_layer_norm_types,
        affine=(1, 2),
    ),
    Op("RMSNormalization", layer_norm_axes, affine=(1,)),
    Op("GroupNormalization", group_norm_axes, refit=refit_num_groups, affine=(1, 2)),
    Op("InstanceNormalization", "n c *s~, c, c -> n c *s~", affine=(1, 2)),
    Op("MeanVarianceNormalization", mean_variance_axes),
    Op("LRN", "n c! *s -> n c! *s"),
)
