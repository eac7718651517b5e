"""The version of slimc: a leaf, so that reports can name it without importing all."""

VERSION = "0.1.0"
