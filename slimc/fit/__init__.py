"""Least squares on second moments of activations: fit, repair and round the weights of layers."""
