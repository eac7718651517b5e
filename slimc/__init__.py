"""Prune, quantize and lower trained ONNX graphs for a device."""
