"""Prune, quantize and lower trained ONNX graphs for a device.

    import slimc

    made = slimc.compile("model.onnx", "prune{ratio=0.3},quant", "jetson", data="samples/")
    made.save("model.jetson.onnx")
    print(slimc.report_text(made.report))

docs/custom_pass.md shows how to write a pass.
"""

from slimc.errors import SlimcError

__version__ = "0.1.0"

__all__ = ["SlimcError", "__version__"]
