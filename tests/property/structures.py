"""One small graph per structure that channels pass through, as texts."""

from __future__ import annotations

_LAYER = """
graph (%x: f32[5,2,6]) -> (%y)
  %w = constant f32[{d},{q}h,6] random(0)
  %r = constant f32[{d},{q}h,8] random(1)
  %b = constant f32[{d},{p}h] random(2)
  %v = constant f32[8,3] random(4)
  %s, %last = {op}(%x, %w, %r, %b) {{hidden_size=8{attrs}}} @layer
  %y = MatMul(%s, %v) @out
"""


def recurrent(op: str, gates: int, directions: int = 1, attrs: str = "") -> str:
    """Return a recurrent layer with 8 hidden units in front of a matrix product."""
    text = _LAYER.format(op=op, d=directions, q=gates, p=2 * gates, attrs=attrs)
    return text.replace(f"{2 * gates}h", str(16 * gates)).replace(f"{gates}h", str(8 * gates))


LSTM_STATES = """
graph (%x: f32[5,2,6]) -> (%y)
  %w = constant f32[1,32,6] random(0)
  %r = constant f32[1,32,8] random(1)
  %b = constant f32[1,64] random(2)
  %h = constant f32[1,2,8] random(3)
  %c = constant f32[1,2,8] random(4)
  %p = constant f32[1,24] random(5)
  %v = constant f32[8,3] random(6)
  %k = constant i64[1] [0]
  %s, %t, %u = LSTM(%x, %w, %r, %b, _, %h, %c, %p) {hidden_size=8} @layer
  %m = Add(%t, %u) @sum
  %q = Squeeze(%m, %k) @squeeze
  %y = MatMul(%q, %v) @out
"""

TWO_LAYERS = """
graph (%x: f32[5,2,6]) -> (%y)
  %w = constant f32[2,24,6] random(0)
  %r = constant f32[2,24,8] random(1)
  %w2 = constant f32[1,12,16] random(2)
  %r2 = constant f32[1,12,4] random(3)
  %v = constant f32[4,3] random(4)
  %k = constant i64[1] [1]
  %shape = constant i64[3] [0, 0, -1]
  %a = GRU(%x, %w, %r) {hidden_size=8, direction="bidirectional"} @first
  %t = Transpose(%a) {perm=[0, 2, 1, 3]} @turn
  %f = Reshape(%t, %shape) @join
  %b = GRU(%f, %w2, %r2) {hidden_size=4} @second
  %s = Squeeze(%b, %k) @squeeze
  %y = MatMul(%s, %v) @out
"""


def between_convolutions(middle: str, made: int = 8, read: int = 8, constants: str = "") -> str:
    """Return conv `a` (8 channels), nodes that make %m of %a, and conv `b` that reads %m."""
    return f"""
graph (%x: f32[1,3,6,6]) -> (%y)
  %wa = constant f32[{made},3,3,3] random(0)
  %ba = constant f32[{made}] random(1)
  %wb = constant f32[4,{read},1,1] random(2)
{constants}
  %a = Conv(%x, %wa, %ba) {{pads=[1, 1, 1, 1]}} @a
{middle}
  %y = Conv(%m, %wb) @b
"""


def between_products(middle: str, constants: str = "", read: int = 8) -> str:
    """Return product `a` (8 columns), nodes that make %m of %a, and product `b` that reads %m."""
    return f"""
graph (%x: f32[2,5,6]) -> (%y)
  %wa = constant f32[6,8] random(0)
  %wb = constant f32[{read},4] random(1)
{constants}
  %a = MatMul(%x, %wa) @a
{middle}
  %y = MatMul(%m, %wb) @b
"""


PRELU = "  %s = constant f32[8,1,1] random(3)"
UP = "  %w = constant f32[8,{o},2,2] random(3)\n  %c = constant f32[{n}] random(4)"


def transposed(group: int, each: int) -> str:
    """Return a ConvTranspose in groups between convolutions."""
    made = group * each
    return between_convolutions(
        f"  %m = ConvTranspose(%a, %w, %c) {{group={group}, strides=[2, 2]}} @up",
        read=made,
        constants=UP.format(o=each, n=made),
    )


GATHER = """  %k = constant i64[{n}] {indices}"""


def gathered(indices: list[int]) -> str:
    """Return a Gather of channels by constant indices between convolutions."""
    return between_convolutions(
        "  %m = Gather(%a, %k) {axis=1} @pick",
        read=len(indices),
        constants=GATHER.format(n=len(indices), indices=indices),
    )


EMBEDDING = """
graph (%ids: i64[2,5]) -> (%y)
  %table = constant f32[7,8] random(0)
  %place = constant f32[5,8] random(1)
  %w = constant f32[8,4] random(2)
  %e = Gather(%table, %ids) @embed
  %p = Add(%e, %place) @place
  %y = MatMul(%p, %w) @out
"""

TIED_EMBEDDING = """
graph (%ids: i64[2,5]) -> (%y)
  %table = constant f32[7,8] random(0)
  %w = constant f32[8,8] random(2)
  %e = Gather(%table, %ids) @embed
  %h = MatMul(%e, %w) @mix
  %r = Relu(%h) @act
  %s = Add(%r, %e) @residual
  %t = Transpose(%table) @turn
  %y = MatMul(%s, %t) @out
"""

SPLIT_SLICE_CONCAT = between_convolutions(
    """  %s0, %s1 = Split(%a, %parts) {axis=1} @split
  %c0 = Conv(%s0, %wc) @c
  %j = Concat(%s1, %c0, %s0) {axis=1} @join
  %m = Slice(%j, %from, %to, %on) @slice""",
    read=8,
    constants="""  %parts = constant i64[2] [3, 5]
  %wc = constant f32[4,3,1,1] random(3)
  %from = constant i64[1] [2]
  %to = constant i64[1] [10]
  %on = constant i64[1] [1]""",
)

CROSS_STAGE = between_convolutions(  # as in YOLO's C2f
    """  %s0, %s1 = Split(%a) {axis=1, num_outputs=2} @split
  %c0 = Conv(%s1, %wc) @c
  %c1 = Conv(%c0, %wd) @d
  %r = Add(%c1, %s1) @residual
  %m = Concat(%s0, %s1, %r) {axis=1} @join""",
    read=12,
    constants="""  %wc = constant f32[6,4,1,1] random(3)
  %wd = constant f32[4,6,1,1] random(4)""",
)


def gemms(weight_first: bool, ta: int, tb: int) -> str:
    """Return two Gemms with 8 channels between, operands transposed or not."""

    def shape(rows: int, columns: int, turned: int) -> str:
        return f"{columns},{rows}" if turned else f"{rows},{columns}"

    data, weight, last = shape(5, 6, ta), shape(6, 8, tb), shape(8, 3, tb)
    first, second, bias, turned = "%x, %w", "%t, %v", "8", ta
    if weight_first:
        data, weight, last = shape(6, 5, tb), shape(8, 6, ta), shape(3, 8, ta)
        first, second, bias, turned = "%w, %x", "%v, %t", "8,1", tb
    return f"""
graph (%x: f32[{data}]) -> (%y)
  %w = constant f32[{weight}] random(0)
  %c = constant f32[{bias}] random(1)
  %v = constant f32[{last}] random(2)
  %h = Gemm({first}, %c) {{transA={ta}, transB={tb}}} @first
  %r = Relu(%h) @act
  %t = {"Transpose" if turned else "Identity"}(%r) @turn
  %y = Gemm({second}) {{transA={ta}, transB={tb}}} @second
"""


LEFT_WEIGHTS = """
graph (%x: f32[2,6,5]) -> (%y)
  %w = constant f32[8,6] random(0)
  %v = constant f32[3,8] random(1)
  %h = MatMul(%w, %x) @first
  %y = MatMul(%v, %h) @second
"""

VECTORS = """
graph (%x: f32[6]) -> (%y)
  %w = constant f32[6,8] random(0)
  %v = constant f32[8] random(1)
  %h = MatMul(%x, %w) @first
  %y = MatMul(%h, %v) @second
"""

BATCHED_WEIGHTS = """
graph (%x: f32[3,5,6]) -> (%y)
  %w = constant f32[3,6,8] random(0)
  %v = constant f32[3,8,2] random(1)
  %h = MatMul(%x, %w) @first
  %y = MatMul(%h, %v) @second
"""

SHARED = """
graph (%x: f32[1,8,6,6]) -> (%y)
  %wi = constant f32[8,8,1,1] random(0)
  %w = constant f32[8,8,3,3] random(1)
  %wo = constant f32[3,8,1,1] random(2)
  %i = Conv(%x, %wi) @in
  %a = Conv(%i, %w) {pads=[1, 1, 1, 1]} @once
  %r = Relu(%a) @act
  %b = Conv(%r, %w) {pads=[1, 1, 1, 1]} @twice
  %y = Conv(%b, %wo) @out
"""

OUTPUTS = """
graph (%x: f32[1,3,6,6]) -> (%y, %z, %h)
  %wa = constant f32[8,3,1,1] random(0)
  %wb = constant f32[8,8,1,1] random(1)
  %wc = constant f32[4,8,1,1] random(2)
  %wd = constant f32[6,8,1,1] random(3)
  %a = Conv(%x, %wa) @a
  %b = Conv(%a, %wb) @b
  %y = Conv(%a, %wc) @c
  %z = Conv(%b, %wd) @d
  %h = Relu(%z) @act
"""

EINSUM = """
graph (%x: f32[2,5,6]) -> (%y)
  %w = constant f32[6,2,4] random(0)
  %v = constant f32[6,2,4] random(1)
  %o = constant f32[2,4,3] random(2)
  %q = Einsum(%x, %w) {equation="bsi,ihd->bhsd"} @q
  %k = Einsum(%x, %v) {equation="bti,ihd->bhtd"} @k
  %s = Einsum(%q, %k) {equation="bhsd,bhtd->bhst"} @scores
  %p = Softmax(%s) {axis=-1} @soft
  %y = Einsum(%p, %q, %o) {equation="bhst,bhtd,hdo->bso"} @mix
"""

ATTENTION = """
graph (%x: f32[2,5,6]) -> (%y)
  %wq = constant f32[6,16] random(0)
  %wk = constant f32[6,8] random(1)
  %wv = constant f32[6,12] random(2)
  %wo = constant f32[24,3] random(3)
  %q = MatMul(%x, %wq) @q
  %k = MatMul(%x, %wk) @k
  %v = MatMul(%x, %wv) @v
  %a = Attention(%q, %k, %v) {q_num_heads=4, kv_num_heads=2} @attention
  %y = MatMul(%a, %wo) @o
"""

MULTI_HEAD = """
graph (%x: f32[2,5,6]) -> (%y)
  opset com.microsoft 1
  %wq = constant f32[6,16] random(0)
  %wk = constant f32[6,16] random(1)
  %wv = constant f32[6,16] random(2)
  %b = constant f32[48] random(3)
  %wo = constant f32[16,3] random(4)
  %q = MatMul(%x, %wq) @q
  %k = MatMul(%x, %wk) @k
  %v = MatMul(%x, %wv) @v
  %a = com.microsoft.MultiHeadAttention(%q, %k, %v, %b) {num_heads=4} @attention
  %y = MatMul(%a, %wo) @o
"""

SQUEEZE_EXCITE = between_convolutions(
    """  %p = ReduceMean(%a, %k) {keepdims=1} @pool
  %n = Conv(%p, %wn) @narrow
  %r = Relu(%n) @act
  %g = Conv(%r, %wg) @wide
  %h = HardSigmoid(%g) @gate
  %m = Mul(%a, %h) @scale""",
    constants="""  %k = constant i64[2] [2, 3]
  %wn = constant f32[4,8,1,1] random(3)
  %wg = constant f32[8,4,1,1] random(4)""",
)
