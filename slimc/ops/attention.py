"""Attention as one operator. Heads are independent; the width of a head is summed over.

b: batch, h: key heads, r: query heads per key head, d: width of queries and keys, e: of values,
q: queries, k: keys, p: keys of the past.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

from slimc.ir import dims
from slimc.ir.types import Dim
from slimc.ops.axes import Bound, Unmatched
from slimc.ops.op import RESULT, Call, Laid, Op, Refit, table
from slimc.ops.spelling import operands, unsaid, words


def attention_axes(call: Call) -> Laid:
    """Q, K, V, mask, past, lengths -> Y, present, scores; 4-D, or 3-D with heads in the last."""
    queries = "q!" if _is_causal(call) else "q"
    past = call.present(4)
    keys = "p!+k!" if past else "k!"
    scores = ["b", "(h r)", queries, keys]
    packed = call.rank(0) == 3
    if packed:
        texts = [f"b {queries} (h r d)", "b k! (h d)", "b k! (h e)"]
        result, sizes = f"b {queries} (h r e)", _heads(call)
    else:
        texts = [f"b (h r) {queries} d", "b h k! d", "b h k! e"]
        result, sizes = f"b (h r) {queries} e", {}
    mask = words(_mask(call, scores)) if call.present(3) else ""
    texts += [f"{mask}?", "b h p! d?", "b h p! e?", "b?"]
    results = [result, f"b h {keys} d", f"b h {keys} e", words(scores)]
    return f"{operands(*texts)} -> {operands(*results)}", sizes


def multi_head_axes(call: Call) -> Laid:
    """Packed Q, K, V, bias of all three, which keys count, bias of scores -> Y, keys, values."""
    if call.rank(0) != 3 or not call.present(1) or call.rank(1) != 3:
        raise Unmatched("its operands are packed in another way than [batch, tokens, channels]")
    if any(call.present(i) for i in range(6, len(call.types))):
        raise Unmatched("it reads keys and values of the past")
    queries = "q!" if call.attr("unidirectional", 0) else "q"
    texts = [f"b {queries} (h d)", "b k! (h d)", "b k! (h e)", "(h d)+(h d)+(h e)?", "?"]
    if call.present(5):
        texts.append(words(_beside_scores(call, ["b", "h", queries, "k!"])))
    results = [f"b {queries} (h e)", "b h k! d", "b h k! e"]
    sizes: dict[str, Dim] = {"h": int(call.needed("num_heads"))}
    return f"{operands(*texts)} -> {operands(*results)}", sizes


def _beside_scores(call: Call, scores: list[str]) -> list[str]:
    """Return the axes of a bias of scores; batch and heads may be one for all."""
    batch, heads, *_ = call.shape(5)
    alone = batch == 1 != call.shape(0)[0], heads == 1 != call.needed("num_heads")
    leading = ["1" if one else word for one, word in zip(alone, scores[:2], strict=True)]
    return [*leading, *scores[2:]]


def _is_causal(call: Call) -> bool:
    windows = (call.attr("left_window_size", -1), call.attr("right_window_size", -1))
    return bool(call.attr("is_causal", 0)) or windows != (-1, -1)


def _heads(call: Call) -> dict[str, Dim]:
    queries, keys = int(call.needed("q_num_heads")), int(call.needed("kv_num_heads"))
    if keys < 1 or queries % keys:
        raise Unmatched(f"{queries} query heads for {keys} key heads")
    return {"h": keys, "r": queries // keys}


def _mask(call: Call, scores: list[str]) -> list[str]:
    """Return the axes of a mask that broadcasts to the scores; its last may be shorter."""
    shape, whole = call.shape(3), _scores_shape(call)
    offset = len(whole) - len(shape)
    axes = []
    for i, size in enumerate(shape):
        at = i + offset
        if dims.same(size, whole[at]):
            axes.append(scores[at])
        else:
            axes.append("1" if size == 1 else f"m{i}!")
    return axes


def _scores_shape(call: Call) -> list[Dim]:
    q, k = call.shape(0), call.shape(1)
    past = call.shape(4)[2] if call.present(4) else 0
    if len(q) == 3:
        return [q[0], int(call.needed("q_num_heads")), q[1], dims.add(k[1], past)]
    return [q[0], q[1], q[2], dims.add(k[2], past)]


def refit_heads(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """Numbers of heads; and the scale, which by default follows from the width of a head."""
    attrs: dict[str, object] = {}
    queries = after["h"] * after.get("r", 1)
    counts = {"q_num_heads": queries, "kv_num_heads": after["h"], "num_heads": after["h"]}
    attrs |= {k: v for k, v in counts.items() if k in call.attrs and call.attrs[k] != v}
    width = bound.sizes["d"]
    if after["d"] != width and not call.attr("scale", 0.0) and isinstance(width, int):
        attrs["scale"] = 1 / sqrt(width)
    return Refit(attrs=attrs)


def linear_attention_axes(call: Call) -> Laid:
    """Packed query, key, value, past state, decay, beta -> packed result, present state."""
    sizes = _heads(call)
    key_heads, decay, beta = sizes["h"], "b t! (h d)", "b t! h"
    if call.present(4) and call.shape(4)[2] == key_heads and call.shape(1)[2] != key_heads:
        decay = "b t! h"
    if call.present(5) and call.shape(5)[2] == 1 and key_heads != 1:
        beta = "b t! 1"
    texts = ["b t! (h r d)", "b t! (h d)", "b t! (h e)", "b h d e?", f"{decay}?", f"{beta}?"]
    return f"{operands(*texts)} -> b t! (h r e), b h d e", sizes


def rotary_axes(call: Call) -> Laid:
    """X, cosines, sines, positions -> Y: pairs within a head are rotated."""
    cache = "m! c!" if call.rank(1) == 2 else "b s c!"
    beside = f"{cache}, {cache}, b s?"
    if call.rank(0) == 4:
        return f"b h s d!, {beside} -> b h s d!", {}
    return f"b s (h d!), {beside} -> b s (h d!)", {"h": int(call.needed("num_heads"))}


def refit_rotary(call: Call, bound: Bound, after: Mapping[str, int]) -> Refit:
    """The attribute `num_heads` repeats the size of label h."""
    repeats = "num_heads" in call.attrs and after["h"] != bound.sizes["h"]
    return Refit(attrs={"num_heads": after["h"]} if repeats else {})


def quantized_attention_axes(call: Call) -> Laid:
    """X, weight and bias of all three projections, scales, zero points: integers, left whole."""
    if call.results > 1:
        raise Unmatched("it keeps the keys and values of earlier runs")
    width = dims.divide(call.shape(1)[1], 3)
    return f"b! s! i!, i! q!, q!{unsaid(call, 3)} -> b! s! y!", {"y": width}


ATTENTION = table(
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
