"""Operators of opsets 1 to 6: broadcast attributes, memory hints, types as strings."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import TensorProto, defs

from slimc.io.forms.change import Adapter, Change, Site
from slimc.ir.types import DType

_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")
_SELU = {"alpha": 1.673200011253357, "gamma": 1.0506999492645264}  # defaults of Selu 1


def _broadcast_by_rank(site: Site) -> None:
    """Append axes to the second operand: `axis` says where it is aligned."""
    axis = site.pop_attr("axis")
    if not site.pop_attr("broadcast", 0) or axis is None:
        return
    rank, other = site.rank(0), site.rank(1)
    if rank is None or other is None:
        raise site.refusal("the ranks of its operands are not known")
    missing = rank - site.axis(axis, rank) - other
    if missing > 0:
        axes = site.constant(range(other, other + missing), DType.I64, "axes")
        site.set_operand(1, site.add("Unsqueeze", [site.operand(1), axes]))


def _in_test_mode(site: Site) -> None:
    if not site.pop_attr("is_test", 0):
        raise site.refusal("it is in training mode (is_test=0)", "export the model in eval mode")


def _without(attribute: str) -> Adapter:
    """Make an adapter that removes an attribute without meaning, such as a hint."""

    def adapter(site: Site) -> None:
        site.pop_attr(attribute)

    return adapter


def _selu_defaults(site: Site) -> None:
    site.pop_attr("consumed_inputs")
    site.set_attrs(**{k: site.node.attrs.get(k, default) for k, default in _SELU.items()})


def _cast_to_code(site: Site) -> None:
    name = site.pop_attr("to", b"")
    codes = dict(TensorProto.DataType.items())
    if not isinstance(name, bytes) or name.decode() not in codes:
        raise site.refusal(f"its type {name!r} is unknown")
    site.set_attrs(to=codes[name.decode()])


def _reshape_by_operand(site: Site) -> None:
    site.pop_attr("consumed_inputs")
    site.set_operand(1, site.constant(site.pop_attr("shape", ()), DType.I64, "shape"))


def _concat_axis(site: Site) -> None:
    site.set_attrs(axis=site.node.attrs.get("axis", 1))


def _pad_name(site: Site) -> None:
    site.set_attrs(pads=site.pop_required_attr("paddings"))


def _changes() -> Iterator[Change]:
    for op in _BROADCAST:
        yield Change(op, 7, _broadcast_by_rank)
    yield Change("Gemm", 7, _without("broadcast"))
    for op in ("BatchNormalization", "Dropout"):
        yield Change(op, 7, _in_test_mode)
    for op in ("RNN", "LSTM", "GRU"):
        yield Change(op, 7, _without("output_sequence"))  # the outputs of the node say the same
    yield Change("Selu", 6, _selu_defaults)
    yield Change("Cast", 6, _cast_to_code)
    yield Change("Reshape", 5, _reshape_by_operand)
    yield Change("Concat", 4, _concat_axis)
    yield Change("Pad", 2, _pad_name)
    other = {"Selu", "Reshape"}
    for op in _with_consumed_inputs():
        if op not in other:
            yield Change(op, 6, _without("consumed_inputs"))


def _with_consumed_inputs() -> list[str]:
    schemas = [s for s in defs.get_all_schemas_with_history() if not s.domain]
    return sorted({s.name for s in schemas if "consumed_inputs" in s.attributes})


OLDEST: tuple[Change, ...] = tuple(_changes())
