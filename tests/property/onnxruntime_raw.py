"""Run the bytes of a model in onnxruntime, also where numpy lacks the element types."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

NUMPY_KINDS = "fiubcOUS"
FAILURES = (
    RuntimeError,
    ValueError,
    *(
        kind
        for kind in vars(onnxruntime_pybind11_state).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ),
)


def run_model(data: bytes, feeds: Mapping[str, Any]) -> list[Any]:
    """Return the outputs; those of types that numpy lacks as their bytes."""
    arrays = {name: as_array(feed) for name, feed in feeds.items()}
    odd = {k for k, a in arrays.items() if is_odd(a)}
    session = load(with_constants(data, {k: arrays[k] for k in odd}) if odd else data)
    given = {k: a for k, a in arrays.items() if k not in odd}
    try:
        return list(session.run(None, given))
    except RuntimeError as error:
        if "No corresponding Numpy type" not in str(error):
            raise
    values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(a) for k, a in given.items()}
    names = [output.name for output in session.get_outputs()]
    return [elements(value) for value in session.run_with_ort_values(names, values)]


def load(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def as_array(feed: Any) -> Any:
    if isinstance(feed, onnx.TensorProto):
        return onnx.numpy_helper.to_array(feed)
    return np.asarray(feed) if isinstance(feed, np.generic) else feed


def is_odd(array: Any) -> bool:
    if not isinstance(array, np.ndarray):
        return False
    return array.dtype.kind not in NUMPY_KINDS or array.dtype.isbuiltin != 1


def with_constants(data: bytes, arrays: Mapping[str, np.ndarray]) -> bytes:
    """Make constants of inputs that cannot be fed from numpy."""
    model = onnx.load_from_string(data)
    kept = [i for i in model.graph.input if i.name not in arrays]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    model.graph.initializer.extend(tensors)
    return model.SerializeToString()


def elements(value: onnxruntime.OrtValue) -> np.ndarray:
    try:
        return value.numpy()
    except RuntimeError:
        size = value.tensor_size_in_bytes()
        raw = (ctypes.c_char * size).from_address(value.data_ptr()).raw
        return np.frombuffer(raw, np.uint8)
