"""A text encoder as exporters write one: embeddings, masked attention, two layers of products."""

from __future__ import annotations

import numpy as np

from slimc.ir.graph import Graph
from slimc.ir.text import parse_text

VOCABULARY, TOKENS, WIDTH, HEADS, WIDE, CLASSES = 1000, 16, 64, 4, 256, 8

_HEAD = f"""graph (%ids: i64[N,{TOKENS}], %mask: i64[N,{TOKENS}]) -> (%logits)
  %words = constant f32[{VOCABULARY},{WIDTH}] random(0, -1..1)
  %places = constant f32[1,{TOKENS},{WIDTH}] random(1, -1..1)
  %half = constant f32[] 0.5
  %one = constant f32[] 1
  %low = constant f32[] -10000
  %root2 = constant f32[] 1.4142135
  %rootd = constant f32[] {(WIDTH // HEADS) ** 0.5}
  %heads = constant i64[4] [0, {TOKENS}, {HEADS}, {WIDTH // HEADS}]
  %whole = constant i64[3] [0, {TOKENS}, {WIDTH}]
  %beside = constant i64[2] [1, 2]
  %first = constant i64[] 0
  %word = Gather(%words, %ids) @embed
  %placed = Add(%word, %places) @place
  %seen = Cast(%mask) {{to=1}} @seen
  %unseen = Sub(%one, %seen) @unseen
  %weighed = Mul(%unseen, %low) @weigh
  %bias = Unsqueeze(%weighed, %beside) @bias
"""
_LAYER = """
  %{i}.g = constant f32[{d}] random({s}0, 0.5..1.5)
  %{i}.s = constant f32[{d}] random({s}1, -0.3..0.3)
  %{i}.n = LayerNormalization({x}, %{i}.g, %{i}.s) {{axis=-1}} @{i}/norm
{parts}
  %{i}.k2 = Transpose(%{i}.kh) {{perm=[0, 2, 3, 1]}} @{i}/turn
  %{i}.q2 = Transpose(%{i}.qh) {{perm=[0, 2, 1, 3]}} @{i}/turn_q
  %{i}.v2 = Transpose(%{i}.vh) {{perm=[0, 2, 1, 3]}} @{i}/turn_v
  %{i}.qk = MatMul(%{i}.q2, %{i}.k2) @{i}/scores
  %{i}.sc = Div(%{i}.qk, %rootd) @{i}/scale
  %{i}.ma = Add(%{i}.sc, %bias) @{i}/mask
  %{i}.p = Softmax(%{i}.ma) {{axis=-1}} @{i}/softmax
  %{i}.pv = MatMul(%{i}.p, %{i}.v2) @{i}/mix
  %{i}.t = Transpose(%{i}.pv) {{perm=[0, 2, 1, 3]}} @{i}/back
  %{i}.f = Reshape(%{i}.t, %whole) @{i}/flat
  %{i}.ow = constant f32[{d},{d}] random({s}8, -0.2..0.2)
  %{i}.ob = constant f32[{d}] random({s}9, -0.2..0.2)
  %{i}.o = MatMul(%{i}.f, %{i}.ow) @{i}/out
  %{i}.oo = Add(%{i}.ob, %{i}.o) @{i}/out_bias
  %{i}.r = Add(%{i}.oo, {x}) @{i}/residual
  %{i}.uw = constant f32[{d},{wide}] random({s}10, -0.3..0.3)
  %{i}.ub = constant f32[{wide}] random({s}11, -0.2..0.2)
  %{i}.u = MatMul(%{i}.r, %{i}.uw) @{i}/up
  %{i}.uu = Add(%{i}.ub, %{i}.u) @{i}/up_bias
  %{i}.g1 = Div(%{i}.uu, %root2) @{i}/gelu_div
  %{i}.g2 = Erf(%{i}.g1) @{i}/gelu_erf
  %{i}.g3 = Add(%{i}.g2, %one) @{i}/gelu_add
  %{i}.g4 = Mul(%{i}.uu, %{i}.g3) @{i}/gelu_mul
  %{i}.g5 = Mul(%{i}.g4, %half) @{i}/gelu
  %{i}.dw = constant f32[{wide},{d}] random({s}12, -0.1..0.1)
  %{i}.db = constant f32[{d}] random({s}13, -0.2..0.2)
  %{i}.d = MatMul(%{i}.g5, %{i}.dw) @{i}/down
  %{i}.dd = Add(%{i}.db, %{i}.d) @{i}/down_bias
  %{i}.y = Add(%{i}.dd, %{i}.r) @{i}/residual_2
"""
_PART = """  %{i}.{p}w = constant f32[{d},{d}] random({s}{k}, -0.2..0.2)
  %{i}.{p}b = constant f32[{d}] random({s}2{k}, -0.2..0.2)
  %{i}.{p} = MatMul(%{i}.n, %{i}.{p}w) @{i}/{p}
  %{i}.{p}{p} = Add(%{i}.{p}b, %{i}.{p}) @{i}/{p}_bias
  %{i}.{p}h = Reshape(%{i}.{p}{p}, %heads) @{i}/{p}_heads"""
_TAIL = """
  %token = Gather({x}, %first) {{axis=1}} @first
  %cw = constant f32[{c},{d}] random(7, -0.3..0.3)
  %cb = constant f32[{c}] random(8, -0.3..0.3)
  %logits: f32[N,{c}] = Gemm(%token, %cw, %cb) {{transB=1}} @classify
"""


def text_encoder(layers: int = 2) -> Graph:
    """Return the graph: 6 products with constant weights and 2 of activations in each layer."""
    text, x = _HEAD, "%placed"
    for number in range(1, layers + 1):
        i = f"l{number}"
        parts = "\n".join(
            _PART.format(i=i, p=p, d=WIDTH, s=number, k=k) for k, p in enumerate("qkv", 3)
        )
        text += _LAYER.format(i=i, x=x, s=number, d=WIDTH, wide=WIDE, parts=parts)
        x = f"%{i}.y"
    return parse_text(text + _TAIL.format(x=x, c=CLASSES, d=WIDTH))


def sentences(count: int, batch: int = 8) -> list[dict[str, np.ndarray]]:
    """Return feeds of random words; the last words of each sentence are masked."""
    rng = np.random.default_rng(0)
    feeds = []
    for _ in range(count // batch):
        lengths = rng.integers(TOKENS // 2, TOKENS + 1, (batch, 1))
        mask = (np.arange(TOKENS) < lengths).astype(np.int64)
        ids = rng.integers(0, VOCABULARY, (batch, TOKENS)) * mask
        feeds.append({"ids": ids, "mask": mask})
    return feeds
