"""Attention as a single operator. Heads are independent; the head dimension is summed over.

b: batch, h: key heads, r: query heads per key head, d: head dimension of queries and keys, e: of
values, q: queries, k: keys, p: past keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from slimc.ir import dims
from slimc.ir.types import Dim
from slimc.ops.axes import BoundSignature, Unmatched
from slimc.ops.op import RESULT, Call, Op, ShapeRefit, SizedSignature, make_table
from slimc.ops.spelling import blank_rest, join_operands, spell


def attention_axes(call: Call) -> SizedSignature:
    """Q, K, V, mask, past, lengths -> Y, present, scores; 4-D, or 3-D with heads in the last."""
    queries = "q!" if _is_causal(call) else "q"
    past = call.has_operand(4)
    keys = "p!+k!" if past else "k!"
    scores = ["b", "(h r)", queries, keys]
    packed = call.rank(0) == 3
    if packed:
        texts = [f"b {queries} (h r d)", "b k! (h d)", "b k! (h e)"]
        result, sizes = f"b {queries} (h r e)", _head_counts(call)
    else:
        texts = [f"b (h r) {queries} d", "b h k! d", "b h k! e"]
        result, sizes = f"b (h r) {queries} e", {}
    mask = spell(_mask_axes(call, scores)) if call.has_operand(3) else ""
    texts += [f"{mask}?", "b h p! d?", "b h p! e?", "b?"]
    results = [result, f"b h {keys} d", f"b h {keys} e", spell(scores)]
    return f"{join_operands(*texts)} -> {join_operands(*results)}", sizes


def multi_head_axes(call: Call) -> SizedSignature:
    """Packed Q, K, V, bias of all three, key mask, attention bias -> Y, keys, values."""
    if call.rank(0) != 3 or not call.has_operand(1) or call.rank(1) != 3:
        raise Unmatched("its operands are not packed as [batch, tokens, channels]")
    if any(call.has_operand(i) for i in range(6, len(call.types))):
        raise Unmatched("it reads past keys and values")
    queries = "q!" if call.attr("unidirectional", 0) else "q"
    texts = [f"b {queries} (h d)", "b k! (h d)", "b k! (h e)", "(h d)+(h d)+(h e)?", "?"]
    if call.has_operand(5):
        texts.append(spell(_attention_bias_axes(call, ["b", "h", queries, "k!"])))
    results = [f"b {queries} (h e)", "b h k! d", "b h k! e"]
    sizes: dict[str, Dim] = {"h": int(call.required_attr("num_heads"))}
    return f"{join_operands(*texts)} -> {join_operands(*results)}", sizes


def _attention_bias_axes(call: Call, scores: list[str]) -> list[str]:
    """Return the axes of an attention bias; batch and heads may be broadcast."""
    batch, heads, *_ = call.shape(5)
    broadcasts = batch == 1 != call.shape(0)[0], heads == 1 != call.required_attr("num_heads")
    leading = [
        "1" if is_broadcast else word
        for is_broadcast, word in zip(broadcasts, scores[:2], strict=True)
    ]
    return [*leading, *scores[2:]]


def _is_causal(call: Call) -> bool:
    windows = (call.attr("left_window_size", -1), call.attr("right_window_size", -1))
    return bool(call.attr("is_causal", 0)) or windows != (-1, -1)


def _head_counts(call: Call) -> dict[str, Dim]:
    queries, keys = int(call.required_attr("q_num_heads")), int(call.required_attr("kv_num_heads"))
    if keys < 1 or queries % keys:
        raise Unmatched(f"{queries} query heads for {keys} key heads")
    return {"h": keys, "r": queries // keys}


def _mask_axes(call: Call, scores: list[str]) -> list[str]:
    """Return the axes of a mask that broadcasts to the scores; the last may be shorter."""
    shape, scores_shape = call.shape(3), _scores_shape(call)
    offset = len(scores_shape) - len(shape)
    axes = []
    for i, size in enumerate(shape):
        position = i + offset
        if dims.are_equal(size, scores_shape[position]):
            axes.append(scores[position])
        else:
            axes.append("1" if size == 1 else f"m{i}!")
    return axes


def _scores_shape(call: Call) -> list[Dim]:
    q, k = call.shape(0), call.shape(1)
    past = call.shape(4)[2] if call.has_operand(4) else 0
    if len(q) == 3:
        return [q[0], int(call.required_attr("q_num_heads")), q[1], dims.add(k[1], past)]
    return [q[0], q[1], q[2], dims.add(k[2], past)]


def refit_heads(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the numbers of heads, and the scale, whose default depends on the head dimension."""
    attrs: dict[str, object] = {}
    queries = after["h"] * after.get("r", 1)
    counts = {"q_num_heads": queries, "kv_num_heads": after["h"], "num_heads": after["h"]}
    attrs |= {k: v for k, v in counts.items() if k in call.attrs and call.attrs[k] != v}
    width = bound.sizes["d"]
    if after["d"] != width and not call.attr("scale", 0.0) and isinstance(width, int):
        attrs["scale"] = 1 / sqrt(width)
    return ShapeRefit(attrs=attrs)


def linear_attention_axes(call: Call) -> SizedSignature:
    """Packed query, key, value, past state, decay, beta -> packed result, present state."""
    sizes = _head_counts(call)
    key_heads, decay, beta = sizes["h"], "b t! (h d)", "b t! h"
    if call.has_operand(4) and call.shape(4)[2] == key_heads and call.shape(1)[2] != key_heads:
        decay = "b t! h"
    if call.has_operand(5) and call.shape(5)[2] == 1 and key_heads != 1:
        beta = "b t! 1"
    texts = ["b t! (h r d)", "b t! (h d)", "b t! (h e)", "b h d e?", f"{decay}?", f"{beta}?"]
    return f"{join_operands(*texts)} -> b t! (h r e), b h d e", sizes


def rotary_axes(call: Call) -> SizedSignature:
    """X, cosines, sines, positions -> Y: pairs within a head are rotated."""
    cache = "m! c!" if call.rank(1) == 2 else "b s c!"
    caches = f"{cache}, {cache}, b s?"
    if call.rank(0) == 4:
        return f"b h s d!, {caches} -> b h s d!", {}
    return f"b s (h d!), {caches} -> b s (h d!)", {"h": int(call.required_attr("num_heads"))}


def refit_rotary(call: Call, bound: BoundSignature, after: Mapping[str, int]) -> ShapeRefit:
    """Update the attribute `num_heads`, which repeats the size of label h."""
    repeats = "num_heads" in call.attrs and after["h"] != bound.sizes["h"]
    return ShapeRefit(attrs={"num_heads": after["h"]} if repeats else {})


def quantized_attention_axes(call: Call) -> SizedSignature:
    """X, weight and bias of all three projections, scales, zero points: integers, left whole."""
    if call.results > 1:
        raise Unmatched("it keeps the keys and values of earlier runs")
    width = dims.divide(call.shape(1)[1], 3)
    return f"b! s! i!, i! q!, q!{blank_rest(call, 3)} -> b! s! y!", {"y": width}


ATTENTION = make_table(
    Op(
        "Attention",
        attention_axes,
        dtypes=lambda c: tuple(c.dtype(i) for i in (0, 1, 2, 0)),
        macs=((0, 1), (2, RESULT)),
        refit=refit_heads,
    ),
    Op("LinearAttention", linear_attention_axes, macs=((0, 1), (2, RESULT)), refit=refit_heads),
    Op(
        "com.microsoft.MultiHeadAttention",
        multi_head_axes,
        macs=((0, 1), (2, RESULT)),
        refit=refit_heads,
    ),
    Op(
        "com.microsoft.QAttention",
        quantized_attention_axes,
        dtypes=2,
        macs=((0, 1),),
        integers="operands",
    ),
    Op("RotaryEmbedding", rotary_axes, refit=refit_rotary),
)
