"""Inlining of model-local functions."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, ValueInfoProto, helper, inliner, shape_inference

from slimc.errors import SlimcError


def inline_functions(model: ModelProto) -> ModelProto:
    """Return the model with its local functions inlined.

    Weights are not copied, and the model is not changed. Functions of another opset are converted
    to that of the model. Error: function-broken.
    """
    if not model.functions:
        return model
    light = ModelProto()
    light.CopyFrom(model)
    weights = list(light.graph.initializer)
    del light.graph.initializer[:]
    try:
        if _have_one_opset(model):
            light = inliner.inline_local_functions(light)
        else:
            light = _inline_and_convert(
                light, [_make_value_info(w.name, w.data_type, w.dims) for w in weights]
            )
    except (RuntimeError, ValueError, shape_inference.InferenceError) as broken:
        reason = str(broken).splitlines()[0]
        raise SlimcError(
            "function-broken",
            f"its local functions cannot be inlined: {reason}",
            f"model '{model.graph.name}'",
            "export the model without functions",
        ) from broken
    light.graph.initializer.extend(weights)
    return light


def _have_one_opset(model: ModelProto) -> bool:
    versions = {
        imported.version
        for holder in (model, *model.functions)
        for imported in holder.opset_import
        if imported.domain in ("", "ai.onnx")
    }
    return len(versions) < 2


def _make_value_info(name: str, code: int, dims: Sequence[int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, code, dims)


def _inline_and_convert(light: ModelProto, weights: list[ValueInfoProto]) -> ModelProto:
    """Inline functions of other opsets: the conversion needs the types of their inputs."""
    inputs = list(light.graph.input)
    known = {i.name for i in inputs}
    light.graph.input.extend(w for w in weights if w.name not in known)
    light = shape_inference.infer_shapes(light, data_prop=True)
    light = inliner.inline_local_functions(light, convert_version=True)
    del light.graph.input[:]
    light.graph.input.extend(inputs)
    return light
