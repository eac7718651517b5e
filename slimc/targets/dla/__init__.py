"""NVIDIA's DLA: limits, rewrites, and the files that TensorRT wants next to the model."""
