"""2:4 sparsity."""
