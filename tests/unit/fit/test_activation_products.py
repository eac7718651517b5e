from __future__ import annotations

import numpy as np
import pytest

from slimc.analysis.shapes import infer
from slimc.execute.piecewise import Walk
from slimc.execute.spool import Store
from slimc.fit.activation_products import activation_product
from slimc.ir.text import parse_text
from slimc.ops import OPS

CASES = {
    "matrices": ("f32[2,3,4]", "f32[2,4,5]", "MatMul(%a, %b)", "bmk,bkn->k"),
    "heads": ("f32[2,3,6,4]", "f32[2,3,4,5]", "MatMul(%a, %b)", "bhmk,bhkn->k"),
    "an equation": ("f32[2,3,4]", "f32[2,5,4]", 'Einsum(%a, %b) {equation="bqd,bkd->bqk"}',
                    "bqd,bkd->d"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_shares_are_those_of_the_products(name: str) -> None:
    first, second, node, equation = CASES[name]
    graph = parse_text(f"graph (%a: {first}, %b: {second}) -> (%y)\n  %y = {node} @n")
    product = activation_product(graph, infer(graph, OPS), graph.nodes[0])
    assert product is not None
    rng = np.random.default_rng(0)
    shapes = [infer(graph, OPS).shape(v) for v in graph.inputs]
    feeds = [
        {v: rng.standard_normal(s).astype(np.float32) for v, s in zip("ab", shapes, strict=True)}
        for _ in range(3)
    ]
    with Store() as store:
        energies = product.energies(Walk(graph, feeds, {"n"}, store), len(feeds))
    wanted = sum(np.einsum(equation, feed["a"] ** 2, feed["b"] ** 2) for feed in feeds)
    (shares,) = energies.shares.values()
    np.testing.assert_allclose(shares, wanted / np.sum(wanted), rtol=1e-4)


@pytest.mark.parametrize(
    "text",
    [
        "graph (%a: f32[2,3]) -> (%y)\n  %w = constant f32[3,4] random(0)\n"
        "  %y = MatMul(%a, %w) @n",
        "graph (%a: f32[2,3]) -> (%y)\n  %y = Relu(%a) @n",
    ],
    ids=["weights", "one operand"],
)
def test_other_nodes_are_none(text: str) -> None:
    graph = parse_text(text)
    assert activation_product(graph, infer(graph, OPS), graph.nodes[0]) is None
