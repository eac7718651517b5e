"""Lossless passes that bring any export to one form."""
