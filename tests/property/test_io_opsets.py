"""Old forms of operators give the same after they are brought to the IR's opset, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime_raw import FAILURES, run_model

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.io.read import from_model
from slimc.io.write import to_bytes
from slimc.ir.graph import OPSET
from slimc.ir.verify import find_problems

TOLERANCE = 1e-6  # the same kernels, or the same sums in another order

# name: (opset, inputs, outputs, nodes in the text of onnx.parser)
MODELS: dict[str, tuple[int, str, str, str]] = {
    "add_broadcasts_from_an_axis": (6, "float[2,3,4,5] x, float[3,4] b", "y",
        "y = Add<axis=1, broadcast=1>(x, b)"),
    "batch_norm_in_test_mode": (6, "float[2,3,4] x, float[3] s", "y",
        "y = BatchNormalization<is_test=1>(x, s, s, s, s)"),
    "softmax_of_a_matrix": (7, "float[2,3,4] x", "y", "y = Softmax(x)"),
    "softmax_of_all": (11, "float[2,3,4] x", "y", "y = Softmax<axis=0>(x)"),
    "softmax_over_the_last_axis": (11, "float[2,3,4] x", "y", "y = Softmax<axis=2>(x)"),
    "softmax_of_named_sizes": (11, "float[N,3,M] x", "y", "y = Softmax<axis=-2>(x)"),
    "log_softmax_before_units": (11, "float[2,3,1,1] x", "y", "y = LogSoftmax<axis=1>(x)"),
    "hardmax_of_a_matrix": (9, "float[2,3,4] x", "y", "y = Hardmax<axis=1>(x)"),
    "clip_by_attributes": (7, "float[2,3] x", "y", "y = Clip<min=-0.5, max=0.25>(x)"),
    "clip_of_f16_above": (7, "float16[2,3] x", "y", "y = Clip<max=0.5>(x)"),
    "clip_without_limits": (7, "float[2,3] x", "y", "y = Clip(x)"),
    "pad_by_attributes": (7, "float[2,3] x", "y", "y = Pad<pads=[0, 1, 2, 0], value=1.5>(x)"),
    "pad_reflects": (9, "float[2,3] x", "y", 'y = Pad<mode="reflect", pads=[1, 1, 0, 1]>(x)'),
    "pad_of_integers": (11, "int64[2,3] x", "y",
        "p = Constant<value=int64[4] {0, 1, 1, 0}>() y = Pad(x, p)"),
    "slice_by_attributes": (9, "float[4,5] x", "y",
        "y = Slice<axes=[1, 0], starts=[1, -3], ends=[4, 9999]>(x)"),
    "slice_of_leading_axes": (7, "float[4,5] x", "y", "y = Slice<starts=[1], ends=[3]>(x)"),
    "top_k_by_attribute": (7, "float[3,5] x", "y, i", "y, i = TopK<axis=1, k=2>(x)"),
    "split_by_attribute": (11, "float[2,6] x", "y, z",
        "y, z = Split<axis=1, split=[2, 4]>(x)"),
    "split_evenly": (7, "float[2,6] x", "y, z", "y, z = Split<axis=-1>(x)"),
    "split_of_a_named_size": (13, "float[N,6] x", "y, z", "y, z = Split<axis=0>(x)"),
    "squeeze_by_attribute": (11, "float[1,3,1] x", "y", "y = Squeeze<axes=[0]>(x)"),
    "squeeze_all": (9, "float[1,3,1] x", "y", "y = Squeeze(x)"),
    "unsqueeze_by_attribute": (7, "float[3] x", "y", "y = Unsqueeze<axes=[0, 2]>(x)"),
    "reduce_sum_by_attribute": (11, "float[2,3,4] x", "y",
        "y = ReduceSum<axes=[1, -1], keepdims=0>(x)"),
    "reduce_all": (9, "float[2,3,4] x", "y", "y = ReduceMean(x)"),
    "reduce_max_by_attribute": (17, "float[2,3,4] x", "y", "y = ReduceMax<axes=[0]>(x)"),
    "reduce_l2": (12, "float[2,3,4] x", "y", "y = ReduceL2<axes=[2], keepdims=0>(x)"),
    "reduce_log_sum_exp": (13, "float[2,3,4] x", "y", "y = ReduceLogSumExp<axes=[-2]>(x)"),
    "arg_max": (9, "float[2,3,4] x", "y", "y = ArgMax<axis=1, keepdims=0>(x)"),
    "dropout": (11, "float[2,3] x", "y", "y = Dropout<ratio=0.3>(x)"),
    "upsample_nearest": (7, "float[1,2,3,3] x", "y",
        'y = Upsample<mode="nearest", scales=[1.0, 1.0, 2.0, 3.0]>(x)'),
    "upsample_linear": (9, "float[1,2,3,3] x", "y",
        'c = Constant<value=float[4] {1.0, 1.0, 2.0, 1.5}>() y = Upsample<mode="linear">(x, c)'),
    "resize_10_nearest": (10, "float[1,2,4,4] x", "y",
        'c = Constant<value=float[4] {1.0, 1.0, 0.6, 1.7}>() y = Resize<mode="nearest">(x, c)'),
    "resize_10_shrinks": (10, "float[1,2,4,4] x", "y",
        'c = Constant<value=float[4] {1.0, 1.0, 0.6, 0.6}>() y = Resize<mode="nearest">(x, c)'),
    "resize_10_computed": (10, "float[1,2,4,4] x", "y",
        "a = Constant<value=float[2] {1.0, 1.0}>() b = Constant<value=float[2] {0.5, 1.4}>()"
        ' c = Concat<axis=0>(a, b) y = Resize<mode="nearest">(x, c)'),
    "resize_10_linear": (10, "float[1,2,4,4] x", "y",
        'c = Constant<value=float[4] {1.0, 1.0, 0.6, 1.7}>() y = Resize<mode="linear">(x, c)'),
    "resize_11_with_empty_operands": (11, "float[1,2,4,4] x", "y",
        "e = Constant<value=float[0] {}>() s = Constant<value=int64[4] {1, 2, 7, 3}>()"
        ' y = Resize<coordinate_transformation_mode="align_corners", mode="linear">(x, e, e, s)'),
    "resize_12_cubic": (12, "float[1,1,4,4] x", "y",
        "e = Constant<value=float[0] {}>() c = Constant<value=float[4] {1.0, 1.0, 2.0, 1.5}>()"
        ' y = Resize<mode="cubic", cubic_coeff_a=-0.5>(x, e, c)'),
    "batch_norm": (7, "float[2,3,4] x, float[3] s", "y",
        "p = Abs(s) y = BatchNormalization<epsilon=0.01>(x, s, s, s, p)"),
    "batch_norm_9": (9, "float[2,3,4] x, float[3] s", "y",
        "p = Abs(s) y = BatchNormalization<momentum=0.8>(x, s, s, s, p)"),
    "scatter": (9, "float[3,3] x, float[1,2] u", "y",
        "i = Constant<value=int64[1,2] {1, 2}>() y = Scatter<axis=1>(x, i, u)"),
    "gather": (7, "float[3,4] x", "y",
        "i = Constant<value=int64[2] {0, 2}>() y = Gather<axis=1>(x, i)"),
    "roi_align_without_half_pixel": (10, "float[1,1,6,6] x", "y",
        "r = Constant<value=float[1,4] {0.0, 0.0, 4.0, 5.0}>() b = Constant<value=int64[1] {0}>()"
        " y = RoiAlign<output_height=2, output_width=2>(x, r, b)"),
    "grid_sample": (16, "float[1,1,4,4] x, float[1,2,2,2] g", "y",
        'y = GridSample<mode="bilinear", align_corners=1>(x, g)'),
    "grid_sample_cubic": (16, "float[1,1,4,4] x, float[1,2,2,2] g", "y",
        'y = GridSample<mode="bicubic">(x, g)'),
    "fourier_transform": (17, "float[1,8,1] x", "y", "y = DFT(x)"),
    "fourier_transform_of_an_axis": (17, "float[2,3,8,1] x", "y",
        "y = DFT<axis=2, onesided=1>(x)"),
    "average_pool_ceil": (11, "float[1,1,5,5] x", "y",
        "y = AveragePool<kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1>(x)"),
    "average_pool_counts_pads": (7, "float[1,1,5,5] x", "y",
        "y = AveragePool<kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1>(x)"),
    "max_pool": (8, "float[1,1,5,5] x", "y, i",
        "y, i = MaxPool<kernel_shape=[2, 2], storage_order=1>(x)"),
    "lp_pool": (11, "float[1,1,5,5] x", "y", "y = LpPool<kernel_shape=[2, 2], p=2>(x)"),
    "gemm": (7, "float[2,3] x, float[3,4] w, float[4] b", "y", "y = Gemm<alpha=0.5>(x, w, b)"),
    "p_relu": (7, "float[2,3,4] x, float[3,1] s", "y", "y = PRelu(x, s)"),
    "equal": (7, "int64[2,3] x, int64[3] z", "y", "y = Equal(x, z)"),
    "where_and_one_hot": (9, "float[2,3] x", "y",
        "i = Constant<value=int64[2] {0, 2}>() d = Constant<value=int64[1] {3}>()"
        " v = Constant<value=float[2] {0.0, 1.0}>() h = OneHot(i, d, v)"
        " z = Constant<value=float[1] {0.5}>() b = Less(h, z) y = Where(b, x, h)"),
    "lstm": (7, "float[3,2,4] x, float[1,12,4] w, float[1,12,3] r", "y",
        "y = LSTM<hidden_size=3>(x, w, r)"),
    "non_max_suppression": (10, "float[1,5,4] x, float[1,1,5] s", "y",
        "m = Constant<value=int64[1] {3}>() y = NonMaxSuppression(x, s, m)"),
    "depth_to_space": (7, "float[1,8,2,2] x", "y", "y = DepthToSpace<blocksize=2>(x)"),
    "quantize_and_back": (10, "float[2,3] x, float s, uint8 z", "y",
        "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"),
    "shape_arithmetic": (12, "float[N,3,4] x", "y",
        "s = Shape(x) i = Constant<value=int64 {0}>() n = Gather(s, i)"
        " u = Unsqueeze<axes=[0]>(n) m = Constant<value=int64[1] {-1}>()"
        " t = Concat<axis=0>(u, m) y = Reshape(x, t)"),
}  # fmt: skip


def model_of(name: str) -> onnx.ModelProto:
    opset, inputs, outputs, nodes = MODELS[name]
    typed = ", ".join(f"float {o.strip()}" for o in outputs.split(","))
    header = f'<ir_version: 7, opset_import: ["" : {opset}]>'
    model = onnx.parser.parse_model(f"{header} old ({inputs}) => ({typed}) {{ {nodes} }}")
    for output in model.graph.output:
        output.ClearField("type")  # onnxruntime finds it
    return model


def _feeds(model: onnx.ModelProto) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    feeds = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        shape = [d.dim_value or 2 for d in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if dtype.kind == "f":
            feeds[value.name] = np.asarray(rng.standard_normal(shape)).astype(dtype)
        else:
            feeds[value.name] = np.asarray(rng.integers(0, 3, shape)).astype(dtype)
    if "s" in feeds and feeds["s"].shape == ():
        feeds["s"] = np.float32(0.02).reshape(())
    return feeds


def _wanted(name: str, model: onnx.ModelProto, feeds: dict[str, Any]) -> list[Any]:
    if MODELS[name][0] >= 7:
        return run_model(model.SerializeToString(), feeds)
    x = feeds["x"]  # onnxruntime has no kernels as old as this: numpy says what is wanted
    if name == "add_broadcasts_from_an_axis":
        return [x + feeds["b"][None, :, :, None]]
    s = feeds["s"][None, :, None]
    return [(x - s) / np.sqrt(s + 1e-5) * s + s]


@pytest.mark.parametrize("name", MODELS)
def test_old_forms_mean_the_same_in_every_opset(name: str) -> None:
    model = model_of(name)
    feeds = _feeds(model)
    if name == "batch_norm_in_test_mode":
        feeds["s"] = np.abs(feeds["s"])
    wanted = _wanted(name, model, feeds)
    graph = from_model(model)
    assert not list(find_problems(graph))
    written, problems_met = [], []
    for opset in (13, 16, 17, 18, 20, 21, OPSET):
        try:
            results = run_model(to_bytes(graph, opset), feeds)
        except SlimcError as error:
            refused = error.name == "opset-cannot-express" and opset < MODELS[name][0]
            problems_met += [] if refused else [str(error)]
        except FAILURES as error:  # onnxruntime lacks some kernels of some opsets
            problems_met += [] if "NOT_IMPLEMENTED" in str(error) else [str(error)]
        else:
            written.append(opset)
            for one, other in zip(wanted, results, strict=True):
                assert difference(one, other) < TOLERANCE, opset
    assert not problems_met
    assert len(written) >= 3


REFUSED = {
    "batch_norm_of_every_element": (7, "float[2,3,4] x, float[3,4] s", "y",
        "y = BatchNormalization<spatial=0>(x, s, s, s, s)"),
    "batch_norm_in_training": (9, "float[2,3,4] x, float[3] s", "y, m, v, n, w",
        "y, m, v, n, w = BatchNormalization(x, s, s, s, s)"),
    "batch_norm_untold": (6, "float[2,3,4] x, float[3] s", "y",
        "y = BatchNormalization(x, s, s, s, s)"),
    "resize_of_tensorflow": (11, "float[1,1,2,2] x, float[0] e, float[4] c", "y",
        'y = Resize<coordinate_transformation_mode="tf_half_pixel_for_nn">(x, e, c)'),
    "upsample_by_height": (1, "float[1,1,2,2] x", "y",
        "y = Upsample<height_scale=2.0, width_scale=2.0>(x)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_new_form_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, name, REFUSED[name])
    with pytest.raises(SlimcError, match="upgrade-impossible") as caught:
        from_model(model_of(name))
    assert caught.value.where.startswith("node '")
