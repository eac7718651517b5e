"""ONNX Runtime's CPU kernels and XNNPACK."""
