"""The largest absolute value that values take over samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from slimc.calib.data import Data
from slimc.execute.ort import Session
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.ir.types import DType, TensorType


def magnitudes(graph: Graph, data: Data, values: Iterable[str]) -> dict[str, float]:
    """Return max |x| of every floating value over `data`, in one run; infinity: one is not finite.

    The values stay in onnxruntime: one number of each comes out, max |x| + sum(0 x). The sum is
    NaN where an element is not finite, which a maximum may pass over.
    """
    editor = Editor(graph)
    none = editor.add_constant(np.zeros((), np.float32), "none")
    names = {}
    for value in values:
        dtype, wide = graph.dtype_of(value), TensorType(DType.F32, graph.shape_of(value))
        source = value
        if dtype is not None and dtype is not DType.F32:
            source = editor.add("Cast", [value], types=[wide], attrs={"to": DType.F32.code})[0]
        size = editor.add("Abs", [source], types=[wide])[0]
        nothing = editor.add("Mul", [source, none], types=[wide])[0]
        most, sound = (
            editor.add(op, [of], types=[TensorType(DType.F32, ())], attrs={"keepdims": 0})[0]
            for op, of in (("ReduceMax", size), ("ReduceSum", nothing))
        )
        names[value] = editor.add("Add", [most, sound], types=[TensorType(DType.F32, ())])[0]
    if not names:
        return {}
    session = Session(editor.done(keep_dead=True), list(names.values()))
    found = dict.fromkeys(names, 0.0)
    for feed in data:
        results = session.run(feed)
        for value, name in names.items():
            most_now = float(np.nan_to_num(results[name], nan=np.inf, posinf=np.inf))
            found[value] = max(found[value], most_now)
    return found
