"""Quantization: scales, ranges, rounding, bias."""
