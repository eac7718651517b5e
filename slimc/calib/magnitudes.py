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
    """Return max |x| of every f32 value, infinity where one is not finite, in one run over `data`.

    The values stay in onnxruntime: one number of each comes out.
    """
    editor = Editor(graph)
    names = {}
    for value in values:
        size = editor.add("Abs", [value], types=[graph.type_of(value)], name=f"{value}.abs")[0]
        most = TensorType(DType.F32, ())
        names[value] = editor.add("ReduceMax", [size], types=[most], attrs={"keepdims": 0})[0]
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
