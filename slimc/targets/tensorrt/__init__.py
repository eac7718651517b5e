"""TensorRT: one table per device and release, its limits and rules."""
