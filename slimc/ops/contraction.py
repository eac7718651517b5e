"""Contractions: matrix products and Einsum."""

from __future__ import annotations

from slimc.ir.types import Dim, DType, Shape
from slimc.ops.axes import Unmatched
from slimc.ops.op import RESULT, Call, Op, Quant, Weighted, make_table
from slimc.ops.spelling import blank_rest, broadcast, join_operands, labels, mark_axes, spell


def gemm_axes(call: Call) -> str:
    """A, B, C -> Y; A and B may be transposed, C broadcasts to m n."""
    a = "k m" if call.attr("transA", 0) else "m k"
    b = "n k" if call.attr("transB", 0) else "k n"
    return f"{a}, {b}, {_bias_of_matrix(call, 2, a, 0, b, 1)} -> m n"


def _bias_of_matrix(call: Call, bias: int, a: str, left: int, b: str, right: int) -> str:
    """Return the axes of an operand that broadcasts to the product of two others."""
    if not call.has_operand(bias):
        return "?"
    rows, columns = call.shape(left)[a.index("m") // 2], call.shape(right)[b.index("n") // 2]
    whole, shape = {"m": rows, "n": columns}, call.shape(bias)
    return spell([
        "1" if size == 1 and whole[name] != 1 else name
        for size, name in zip(shape, "mn"[2 - len(shape) :], strict=True)
    ])  # fmt: skip


def _product_axes(a: Shape, b: Shape) -> tuple[str, str, str]:
    """Return the axes of a product as numpy's matmul has them: vectors have no outer axis."""
    if not a or not b:
        raise Unmatched("a scalar in a matrix product")
    (batch_a, batch_b), batch = broadcast([a[:-2], b[:-2]], "b")
    m, n = (["m"] if len(a) > 1 else []), (["n"] if len(b) > 1 else [])
    lead_a = batch_a.split() if len(a) > 2 else []
    lead_b = batch_b.split() if len(b) > 2 else []
    return spell([*lead_a, *m, "k"]), spell([*lead_b, "k", *n]), spell([*batch, *m, *n])


def matmul_axes(call: Call) -> str:
    """A, B -> Y with broadcast batch axes."""
    a, b, y = _product_axes(call.shape(0), call.shape(1))
    return f"{a}, {b} -> {y}"


def matmul_integer_axes(call: Call) -> str:
    """A, B, zero points -> Y; a zero point is a scalar, or one per row of A or column of B."""
    a, b, y = _product_axes(call.shape(0), call.shape(1))
    zero_a = "m" if call.has_operand(2) and call.rank(2) == 1 and call.shape(2) != (1,) else ""
    zero_b = "n" if call.has_operand(3) and call.rank(3) == 1 and call.shape(3) != (1,) else ""
    return f"{a}, {b}, {zero_a}?, {zero_b}? -> {y}"


def qlinear_matmul_axes(call: Call) -> str:
    """A and its scale and zero point, B and its, those of Y."""
    a, b, y = _product_axes(call.shape(0), call.shape(3))
    per_column = call.rank(4) == 1 and call.shape(4) != (1,)
    column = "n" if per_column else ""
    return f"{a}, , , {b}, {column}, {column}, , -> {y}"


def integer_to_float_axes(call: Call) -> str:
    """A, B and their scales and zero points, a bias: those of B may be one per column."""
    a, b, y = _product_axes(call.shape(0), call.shape(1))
    return f"{join_operands(a, b, *_per_column(call, 2))} -> {y}"


def dynamic_matmul_axes(call: Call) -> str:
    """A, B, scale and zero point of B, a bias; the scale of A covers all of it."""
    a, b, y = _product_axes(call.shape(0), call.shape(1))
    axes = a.split()
    whole = spell(mark_axes(axes, range(len(axes)), "!"))
    return f"{join_operands(whole, b, *_per_column(call, 2))} -> {y}"


def _per_column(call: Call, first: int) -> list[str]:
    """Return the axes of operands that are one number, or one per column of the result."""
    shapes = [call.shape(i) if call.has_operand(i) else () for i in range(first, len(call.types))]
    return ["n" if shape and shape != (1,) else "" for shape in shapes]


def qgemm_axes(call: Call) -> str:
    """A and its scale and zero point, B and its, C, those of Y."""
    a = "k m" if call.attr("transA", 0) else "m k"
    b = "n k" if call.attr("transB", 0) else "k n"
    column = "n" if call.rank(4) and call.shape(4) != (1,) else ""
    bias = _bias_of_matrix(call, 6, a, 0, b, 3)
    return f"{a}, , , {b}, {column}, {column}, {bias}{blank_rest(call, 7)} -> m n"


def stored_weight_axes(call: Call) -> str:
    """A [.., K]; B [N, blocks, bytes] and what belongs to it: no index of these leaves."""
    rows = labels(call.rank(0) - 1)
    data, result = spell([*rows, "k!"]), spell([*rows, "n!"])
    return f"{data}, n! blocks! bytes!{blank_rest(call, 2)} -> {result}"


def einsum_axes(call: Call) -> str:
    """Use the equation as the signature; letters and axes under `...` may broadcast."""
    terms, result = _parse_equation(str(call.required_attr("equation")), len(call.types))
    shapes = [call.shape(i) for i in range(len(terms))]
    hidden = [len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True)]
    widest = max((h for t, h in zip(terms, hidden, strict=True) if "..." in t), default=0)
    axes = [_term_axes(t, h, widest) for t, h in zip(terms, hidden, strict=True)]
    largest: dict[str, Dim] = {}
    for name, size in (
        pair for a, s in zip(axes, shapes, strict=True) for pair in zip(a, s, strict=True)
    ):
        if largest.get(name, 1) == 1:
            largest[name] = size
    texts = [
        spell(
            ["1" if d == 1 and largest[name] != 1 else name for name, d in zip(a, s, strict=True)]
        )
        for a, s in zip(axes, shapes, strict=True)
    ]
    return f"{join_operands(*texts)} -> {spell(_term_axes(result, widest, widest))}"


def _parse_equation(text: str, count: int) -> tuple[list[str], str]:
    """Return the terms of an equation; the default result has the letters that appear once."""
    inputs, arrow, result = text.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != count:
        raise Unmatched(f"equation {text!r} for {count} operands")
    if not arrow:
        once = "".join(c for c in sorted(set(inputs) - set(",.")) if inputs.count(c) == 1)
        result = "..." * ("..." in inputs) + once
    return terms, result


def _term_axes(term: str, hidden: int, widest: int) -> list[str]:
    """Return a label per axis of a term; `...` stands for the last `hidden` of `widest` axes."""
    if hidden < 0 or (hidden and "..." not in term):
        raise Unmatched(f"{term!r} does not fit the rank of its operand")
    before, _, after = term.partition("...")
    return [*before, *labels(widest, "batch")[widest - hidden :], *after]


MAX_TERMS = 8  # of an equation whose MACs are counted
LEFT_TO_RIGHT = tuple(tuple(range(count)) for count in range(2, MAX_TERMS + 1))

CONTRACTION = make_table(
    Op("Gemm", gemm_axes, quant=Quant.WEIGHTED,
       weighted=Weighted(0, 1, 2, "n", factors=("alpha", "beta")), macs=((0, 1),)),
    Op("MatMul", matmul_axes, quant=Quant.WEIGHTED, weighted=Weighted(0, 1, None, "n"),
       macs=((0, 1),)),
    Op("MatMulInteger", matmul_integer_axes, dtypes=DType.I32, macs=((0, 1),), integers="operands"),
    Op("QLinearMatMul", qlinear_matmul_axes, dtypes=7, macs=((0, 3),), integers="operands"),
    Op("com.microsoft.MatMulIntegerToFloat", integer_to_float_axes, dtypes=2, macs=((0, 1),),
       integers="operands"),
    Op("com.microsoft.DynamicQuantizeMatMul", dynamic_matmul_axes, macs=((0, 1),),
       integers="operands"),
    Op("com.microsoft.QGemm", qgemm_axes, dtypes=lambda c: (c.dtype(8 if c.has_operand(8) else 1),),
       macs=((0, 3),), integers="operands"),
    Op("com.microsoft.MatMulNBits", stored_weight_axes, macs=((0, RESULT),),
       integers="weight"),
    Op("Einsum", einsum_axes, macs=LEFT_TO_RIGHT),
)  # fmt: skip
