"""How fast the devices of our targets are, by their data sheets: only ratios mean something.

What counts is the ratio of multiply-accumulates to bytes and to the time per node: it decides
whether a narrower layer pays by its arithmetic, its memory traffic, or not at all. Peaks, so real
runs take longer; all of them about alike.
"""

from __future__ import annotations

from slimc.analysis.latency import Speed

# 8 cores of 3 GHz with two 8-wide fused multiply-adds; two channels of DDR4-3200.
AVX2 = Speed(macs=3.8e11, bytes=5.1e10, node_seconds=3e-6)
# The same with 16-wide ones.
AVX512 = Speed(macs=7.7e11, bytes=5.1e10, node_seconds=3e-6)
# Raspberry Pi 5: 4 Cortex-A76 of 2.4 GHz with two 4-wide fused multiply-adds; LPDDR4X-4267.
ARM64 = Speed(macs=7.7e10, bytes=1.7e10, node_seconds=5e-6)
# Jetson Orin Nano 8 GB (NVIDIA's data sheet, 2023): 10 TFLOPS dense f16, 68 GB/s, f16 in memory.
ORIN = Speed(macs=5e12, bytes=1.36e11, node_seconds=5e-6)
# Jetson Nano (NVIDIA's data sheet): 472 GFLOPS f16, 25.6 GB/s, f16 in memory.
NANO = Speed(macs=2.36e11, bytes=5.1e10, node_seconds=1e-5)
