"""How fast the devices of our targets are: only ratios mean something.

What counts is the ratio of multiply-accumulates to bytes and to the time per node: it decides
whether a narrower layer pays by its arithmetic, its memory traffic, or not at all. CPUs are stated
per core, since small layers do not fill more.
"""

from __future__ import annotations

from slimc.analysis.latency import Speed

# Fitted to ONNX Runtime on one core: 18 models, each whole and with 3/4 and 1/2 of its channels.
# The predicted share of the time that is left is off by 0.04 in the mean. VPDPBUSD multiplies four
# times the elements of a fused multiply-add of f32; measured by `slimc profile` (AMD EPYC, Zen 4),
# convolutions are 3.2 times as fast in integers, products 2.7 times, depthwise ones no faster. With
# 2.5 the seconds of whole models in integers are off by 22 % in the mean, with 4 by 31 %.
AVX512 = Speed(macs=7e10, bytes=2e10, node_seconds=7e-7, integer=2.5)
# Half the width of its vectors; three instructions where VNNI has one.
AVX2 = Speed(macs=3.5e10, bytes=2e10, node_seconds=7e-7, integer=4 / 3)
# Data sheet of a Raspberry Pi 5: Cortex-A76 of 2.4 GHz with two 4-wide fused multiply-adds, a
# quarter of LPDDR4X-4267.
ARM64 = Speed(macs=1.9e10, bytes=4.3e9, node_seconds=1e-6, integer=4.0)  # SDOT
# Data sheet of a Jetson Orin Nano 8 GB: 10 TFLOPS dense f16, 68 GB/s, f16 in memory. Launching a
# kernel takes some 5 us.
ORIN = Speed(macs=5e12, bytes=1.36e11, node_seconds=5e-6)
# Data sheet of a Jetson Nano: 472 GFLOPS f16, 25.6 GB/s, f16 in memory.
NANO = Speed(macs=2.36e11, bytes=5.1e10, node_seconds=1e-5)
# Data sheets, dense f16 and memory, f16 in memory: Jetson TX2 (1.33 TFLOPS, 59.7 GB/s), AGX Xavier
# (11 TFLOPS, 137 GB/s), L4 (121 TFLOPS, 300 GB/s), A100 (312 TFLOPS, 1.56 TB/s), H100 SXM (990
# TFLOPS, 3.35 TB/s).
TX2 = Speed(macs=6.65e11, bytes=1.2e11, node_seconds=1e-5)
XAVIER = Speed(macs=5.5e12, bytes=2.7e11, node_seconds=5e-6)
L4 = Speed(macs=6e13, bytes=6e11, node_seconds=3e-6)
A100 = Speed(macs=1.56e14, bytes=3.1e12, node_seconds=3e-6)
H100 = Speed(macs=4.95e14, bytes=6.7e12, node_seconds=3e-6)
