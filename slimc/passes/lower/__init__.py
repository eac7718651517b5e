"""Lowering: from quantization records to the target's Q/DQ, floats and operators."""
