"""Sums of products: matrix products, Einsum, attention."""

from __future__ import annotations

from collections.abc import Sequence

from slimc.ir.types import DType, Shape
from slimc.ops.axes import Unmatched
from slimc.ops.op import Call, Op, Quant, Weighted, table
from slimc.ops.spelling import broadcast, operands, words


def gemm_axes(call: Call) -> str:
    """A, B, C -> Y, each perhaps transposed; C broadcasts to m n."""
    a = "k m" if call.attr("transA", 0) else "m k"
    b = "n k" if call.attr("transB", 0) else "k n"
    if not call.present(2):
        return f"{a}, {b}, ? -> m n"
    sizes = dict(zip("mk", reversed(call.shape(0)), strict=True)) if a == "k m" else {
        "m": call.shape(0)[0]
    }  # fmt: skip
    whole = {"m": sizes["m"], "n": call.shape(1)[0 if b == "n k" else 1]}
    shape = call.shape(2)
    bias = [
        "1" if size == 1 and whole[name] != 1 else name
        for size, name in zip(shape, "mn"[2 - len(shape) :], strict=True)
    ]
    return f"{a}, {b}, {words(bias)} -> m n"


def _matrix(a: Shape, b: Shape) -> tuple[str, str, str]:
    """Return the axes of a product as numpy's matmul has them: vectors have no outer axis."""
    if not a or not b:
        raise Unmatched("a scalar in a matrix product")
    (left, right), batch = broadcast([a[:-2], b[:-2]], "b")
    m, n = (["m"] if len(a) > 1 else []), (["n"] if len(b) > 1 else [])
    lead_a = left.split() if len(a) > 2 else []
    lead_b = right.split() if len(b) > 2 else []
    return words([*lead_a, *m, "k"]), words([*lead_b, "k", *n]), words([*batch, *m, *n])


def matmul_axes(call: Call) -> str:
    """A, B -> Y with broadcast batch axes."""
    a, b, y = _matrix(call.shape(0), call.shape(1))
    return f"{a}, {b} -> {y}"


def matmul_integer_axes(call: Call) -> str:
    """A, B, zero points -> Y; a zero point is a scalar, or one per row of A or column of B."""
    a, b, y = _matrix(call.shape(0), call.shape(1))
    zero_a = "m" if call.present(2) and call.rank(2) == 1 and call.shape(2) != (1,) else ""
    zero_b = "n" if call.present(3) and call.rank(3) == 1 and call.shape(3) != (1,) else ""
    return f"{a}, {b}, {zero_a}?, {zero_b}? -> {y}"


def qlinear_matmul_axes(call: Call) -> str:
    """A and its scale and zero point, B and its, those of Y."""
    a, b, y = _matrix(call.shape(0), call.shape(3))
    per_column = call.rank(4) == 1 and call.shape(4) != (1,)
    column = "n" if per_column else ""
    return f"{a}, , , {b}, {column}, {column}, , -> {y}"


def einsum_axes(call: Call) -> str:
    """The equation is the signature; `...` broadcasts."""
    equation = str(call.needed("equation")).replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(call.types):
        raise Unmatched(f"equation {equation!r} for {len(call.types)} operands")
    if not arrow:
        letters = sorted(set(left) - set(",."))
        right = "..." * ("..." in left) + "".join(c for c in letters if left.count(c) == 1)
    shapes = [_between(term, call.shape(i)) for i, term in enumerate(terms)]
    texts, batch = broadcast(shapes, "batch")
    largest = _largest(terms, [call.shape(i) for i in range(len(terms))])
    said = []
    for i, term in enumerate(terms):
        before, dots, after = term.partition("...")
        middle = texts[i].split() if shapes[i] else []
        shape = call.shape(i)
        ones = {
            c
            for c, d in zip(before + after, [*shape[: len(before)], *shape[len(shape) - len(after) :]], strict=True)
            if d == 1 and largest[c] != 1
        }  # fmt: skip
        said.append(
            words(
                [*(_letter(c, ones) for c in before), *middle, *(_letter(c, ones) for c in after)]
            )
        )
    before, dots, after = right.partition("...")
    result = [*before, *(batch if dots else []), *after]
    return f"{operands(*said)} -> {words(result)}"


def _letter(c: str, ones: set[str]) -> str:
    return "1" if c in ones else c


def _between(term: str, shape: Shape) -> Shape | None:
    """Return the part of a shape that stands for `...` in a term, None if there is none."""
    before, dots, after = term.partition("...")
    if len(shape) < len(before) + len(after) or (not dots and len(shape) != len(term)):
        raise Unmatched(f"{len(shape)} axes for {term!r}")
    return shape[len(before) : len(shape) - len(after)] if dots else None


def _largest(terms: Sequence[str], shapes: Sequence[Shape]) -> dict[str, object]:
    """Return the size of every letter; a letter of size one broadcasts against others."""
    found: dict[str, object] = {}
    for term, shape in zip(terms, shapes, strict=True):
        before, _, after = term.partition("...")
        sizes = [*shape[: len(before)], *shape[len(shape) - len(after) :]]
        for letter, size in zip(before + after, sizes, strict=True):
            if found.get(letter, 1) == 1:
                found[letter] = size
    return found


CONTRACTION = table(
    Op("Gemm", gemm_axes, quant=Quant.WEIGHTED, weighted=Weighted(0, 1, 2, "n"), macs=((0, 1),)),
    Op("MatMul", matmul_axes, quant=Quant.WEIGHTED, weighted=Weighted(0, 1, None, "n"),
       macs=((0, 1),)),
    Op("MatMulInteger", matmul_integer_axes, dtypes=DType.I32, macs=((0, 1),)),
    Op("QLinearMatMul", qlinear_matmul_axes, dtypes=7, macs=((0, 3),)),
    Op("Einsum", einsum_axes, macs=((0, 1),)),
)  # fmt: skip
