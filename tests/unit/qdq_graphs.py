"""Graphs with Q and DQ, as runtimes want them: tests of rules make one thing wrong in them."""

from __future__ import annotations

# Symmetric i8, a float bias, floats behind: TensorRT.
CONV = """graph (%x: f32[1,32,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant i8[] 0
  %w.q = constant i8[32,32,1,1] random(0, -64..64)
  %w.s = constant f32[32] random(1, 0.01..0.02)
  %w.z = constant i8[32] fill(0)
  %b = constant f32[32] random(2)
  %q: i8[1,32,4,4] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,32,4,4] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[32,32,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0} @dqw
  %y: f32[1,32,4,4] = Conv(%a, %w, %b) @conv"""

# Q and DQ around every operator, u8 data: ONNX Runtime.
ADD = """graph (%x: f32[1,32,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 128
  %w.q = constant i8[32,32,1,1] random(0, -64..64)
  %w.s = constant f32[32] random(1, 0.01..0.02)
  %w.z = constant i8[32] fill(0)
  %q: u8[1,32,4,4] = QuantizeLinear(%x, %s, %z) @q
  %a: f32[1,32,4,4] = DequantizeLinear(%q, %s, %z) @dq
  %w: f32[32,32,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0} @dqw
  %c: f32[1,32,4,4] = Conv(%a, %w) @conv
  %d: u8[1,32,4,4] = QuantizeLinear(%c, %s, %z) @cq
  %e: f32[1,32,4,4] = DequantizeLinear(%d, %s, %z) @cdq
  %f: f32[1,32,4,4] = Add(%e, %a) @add
  %g: u8[1,32,4,4] = QuantizeLinear(%f, %s, %z) @fq
  %y: f32[1,32,4,4] = DequantizeLinear(%g, %s, %z) @fdq"""

# Values of scales %s and %t, which are the same, are joined before a convolution.
JOIN = """graph (%x: f32[1,16,4,4]) -> (%y)
  %s = constant f32[] 0.02
  %t = constant f32[] 0.02
  %z = constant i8[] 0
  %w.q = constant i8[32,32,1,1] random(0, -64..64)
  %w.s = constant f32[32] random(1, 0.01..0.02)
  %w.z = constant i8[32] fill(0)
  %p: i8[1,16,4,4] = QuantizeLinear(%x, %s, %z)
  %q: i8[1,16,4,4] = QuantizeLinear(%x, %t, %z)
  %a: f32[1,16,4,4] = DequantizeLinear(%p, %s, %z)
  %b: f32[1,16,4,4] = DequantizeLinear(%q, %t, %z)
  %c: f32[1,32,4,4] = Concat(%a, %b) {axis=1} @join
  %w: f32[32,32,1,1] = DequantizeLinear(%w.q, %w.s, %w.z) {axis=0}
  %y: f32[1,32,4,4] = Conv(%c, %w) @conv"""

# The first product is as onnxruntime wants it. Of the second, Q stands behind a HardSwish alone.
ONE_LOST = """graph (%x: f32[N,32]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 0
  %sw = constant f32[] 0.01
  %v = constant i8[32,32] random(0, -100..100)
  %w = constant i8[32,32,1,1] random(1, -100..100)
  %u = constant f32[32,32] random(2)
  %shape = constant i64[4] [-1, 32, 1, 1]
  %flat = constant i64[2] [-1, 32]
  %q: u8[N,32] = QuantizeLinear(%x, %s, %z) @q
  %d: f32[N,32] = DequantizeLinear(%q, %s, %z) @d
  %dv: f32[32,32] = DequantizeLinear(%v, %sw) @dv
  %m: f32[N,32] = MatMul(%d, %dv) @first
  %qm: u8[N,32] = QuantizeLinear(%m, %s, %z) @qm
  %dm: f32[N,32] = DequantizeLinear(%qm, %s, %z) @dm
  %r: f32[N,32,1,1] = Reshape(%dm, %shape) @reshape
  %dw: f32[32,32,1,1] = DequantizeLinear(%w, %sw) @dw
  %c: f32[N,32,1,1] = Conv(%r, %dw) @second
  %h: f32[N,32,1,1] = HardSwish(%c) @swish
  %qh: u8[N,32,1,1] = QuantizeLinear(%h, %s, %z) @qh
  %dh: f32[N,32,1,1] = DequantizeLinear(%qh, %s, %z) @dh
  %f: f32[N,32] = Reshape(%dh, %flat) @flatten
  %y: f32[N,32] = MatMul(%f, %u) @third"""
