from __future__ import annotations

import math

import numpy as np

from slimc.ir.text import parse_text
from slimc.pipeline.agreement import agreement, comparable

TEXT = """\
graph (%x: f32[N,4]) -> (%y, %k)
  %e = constant f32[1] {}
  %y: f32[N,4] = Mul(%x, %e)
  %k: i64[N,1] = ArgMax(%y) {{axis=1}}
"""


def test_sums_over_all_feeds() -> None:
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((n, 4)).astype(np.float32)} for n in (2, 3)]
    a, b = (parse_text(TEXT.format(f"[{factor}]")) for factor in (1, 1.125))
    y, k = agreement(a, b, feeds)
    assert math.isclose(y.sqnr_db, 20 * math.log10(8), rel_tol=1e-6)
    assert y.top1 == 1
    assert math.isclose(y.max_abs, max(np.abs(f["x"]).max() for f in feeds) / 8, rel_tol=1e-6)
    assert (k.sqnr_db, k.max_abs, k.top1) == (math.inf, 0, None)


def test_flipped_signs_and_lost_values_are_seen() -> None:
    feeds = [{"x": np.array([[1, 2, 3, 4]], np.float32)}]
    a, b, c = (parse_text(TEXT.format(f"[{factor}]")) for factor in (1, -1, "nan"))
    assert agreement(a, b, feeds)[0].top1 == 0
    lost = agreement(a, c, feeds)[0]
    assert (lost.sqnr_db, lost.max_abs) == (-math.inf, math.inf)


def test_graphs_are_compared_up_to_plugins() -> None:
    first = parse_text("""\
graph (%x: f32[N,4], %gone: f32[N]) -> (%y, %z)
  %a: f32[N,4] = Exp(%x) @exp
  %y: f32[N,4] = Neg(%a) @neg
  %z: f32[N] = Abs(%gone) @abs
""")
    second = parse_text("""\
graph (%x: f32[N,4]) -> (%found)
  %a: f32[N,4] = Exp(%x) @exp
  %y: f32[N,4] = Neg(%a) @neg
  %found: i32[N] = Detect_TRT(%y, %a) @detect
""")
    pair = comparable(first, second)
    assert [graph.outputs for graph in pair] == [("y", "a"), ("y", "a")]
    feed = {"x": np.ones((2, 4), np.float32), "gone": np.ones(2, np.float32)}
    assert [one.max_abs for one in agreement(*pair, [feed])] == [0, 0]
