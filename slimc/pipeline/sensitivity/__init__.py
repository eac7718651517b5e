"""What each prune group and each quantized region costs the outputs."""
