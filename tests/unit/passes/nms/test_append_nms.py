"""Non-maximum suppression behind detection heads, against the plug-in's algorithm in numpy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from slimc.calib.data import Data
from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.io.read import from_bytes
from slimc.io.write import to_bytes
from slimc.ir.graph import Graph
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.passes.context import Context
from slimc.passes.nms.append_nms import PLUGIN, RESULTS, AppendNms
from slimc.targets.generic import GENERIC_ONNX
from slimc.targets.tensorrt.plugins import missing_attributes

WITH_PLUGIN = replace(GENERIC_ONNX, plugins=frozenset({PLUGIN}), version="10.3")
JOINED = parse_text("graph (%x: f32[B,7,N]) -> (%y)\n  %y: f32[B,7,N] = Identity(%x)")
APART = parse_text("""\
graph (%b: f32[B,N,4], %s: f32[B,N,3]) -> (%boxes, %scores)
  %boxes: f32[B,N,4] = Identity(%b)
  %scores: f32[B,N,3] = Identity(%s)
""")


def appended(graph: Graph, one: AppendNms, plugin: bool = False) -> Graph:
    target = WITH_PLUGIN if plugin else GENERIC_ONNX
    return one.run(graph, Context(OPS, target, Data(graph, "", lambda: iter(()), ()))).graph


def reference(boxes: np.ndarray, scores: np.ndarray, one: AppendNms) -> dict[str, np.ndarray]:
    """Return what efficientNMSInference.cu computes for one image, pair by pair."""
    if one.score_activation:
        scores = 1 / (1 + np.exp(-scores))
    if one.box_coding == "center-size":
        boxes = np.concatenate(
            [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1
        )
    pairs = [
        (score, label, i)
        for i, row in enumerate(scores)
        for label, score in enumerate(row)
        if score >= one.score_threshold and label != one.background_class
    ]
    kept: list[tuple[float, int, int]] = []
    for score, label, i in sorted(pairs, key=lambda pair: -pair[0])[:4096]:
        rivals = [k for k in kept if one.class_agnostic or k[1] == label]
        if all(overlap(boxes[i], boxes[j]) < one.iou_threshold for _, _, j in rivals):
            kept.append((score, label, i))
    kept = kept[: one.max_output_boxes]
    padding = one.max_output_boxes - len(kept)
    return {
        "num_detections": np.array([len(kept)], np.int32),
        "detection_boxes": np.pad(
            np.array([boxes[i] for _, _, i in kept], np.float32).reshape(-1, 4),
            ((0, padding), (0, 0)),
        ),
        "detection_scores": np.pad(np.array([s for s, _, _ in kept], np.float32), (0, padding)),
        "detection_classes": np.pad(np.array([c for _, c, _ in kept], np.int32), (0, padding)),
    }


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low = np.maximum(np.minimum(a[:2], a[2:]), np.minimum(b[:2], b[2:]))
    high = np.minimum(np.maximum(a[:2], a[2:]), np.maximum(b[:2], b[2:]))
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.abs(np.prod(a[2:] - a[:2])) + np.abs(np.prod(b[2:] - b[:2])))
    return shared / (areas - shared) if shared > 0 else 0.0


def detections(seed: int, images: int = 2, boxes: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes of centre and size, in clusters, and scores of three classes."""
    rng = np.random.default_rng(seed)
    centers = rng.uniform(0, 100, (images, 6, 2))[:, rng.integers(0, 6, boxes)]
    places = centers + rng.normal(0, 3, (images, boxes, 2))
    sizes = rng.uniform(10, 30, (images, boxes, 2))
    scores = rng.uniform(0, 1, (images, boxes, 3))
    return np.concatenate([places, sizes], 2).astype(np.float32), scores.astype(np.float32)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_agnostic": True},
        {"background_class": 0, "iou_threshold": 0.3},
        {"class_agnostic": True, "background_class": 2, "max_output_boxes": 7},
        {"score_activation": True, "score_threshold": 0.6},
        {"box_coding": "corner"},
        {"score_threshold": 0.9999},  # some images have none
        {"max_output_boxes": 300},  # more than there are pairs
    ],
)
def test_operators_compute_what_the_plugin_does(options: dict[str, Any]) -> None:
    one = AppendNms(**{"score_threshold": 0.4, "max_output_boxes": 20, **options})
    boxes, scores = detections(len(str(options)))
    joined = appended(JOINED, one)
    got = run(joined, {"x": np.concatenate([boxes, scores], 2).transpose(0, 2, 1).copy()})
    apart = run(appended(APART, one), {"b": boxes, "s": scores})
    wanted = [reference(b, s, one) for b, s in zip(boxes, scores, strict=True)]
    for name in RESULTS:
        for each in (got, apart):
            assert each[name].dtype == wanted[0][name].dtype
            # sums in another order: corners of centres, f32
            np.testing.assert_allclose(each[name], [w[name] for w in wanted], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"class_agnostic": True}, {"score_activation": True}])
def test_images_may_have_no_boxes(options: dict[str, Any]) -> None:
    made = appended(JOINED, AppendNms(max_output_boxes=3, score_threshold=0, **options))
    got = run(made, {"x": np.zeros((2, 7, 0), np.float32)})
    assert got["num_detections"].tolist() == [[0], [0]]
    assert not any(got[name].any() for name in RESULTS)


def test_an_objectness_is_multiplied_in() -> None:
    graph = parse_text("graph (%x: f32[B,N,8]) -> (%y)\n  %y: f32[B,N,8] = Identity(%x)")
    one = AppendNms(objectness=True, score_threshold=0.2)
    boxes, scores = detections(3)
    sure = np.random.default_rng(1).uniform(0.5, 1, (2, 60, 1)).astype(np.float32)
    got = run(appended(graph, one), {"x": np.concatenate([boxes, sure, scores], 2)})
    wanted = [reference(b, s, one) for b, s in zip(boxes, sure * scores, strict=True)]
    np.testing.assert_array_equal(got["num_detections"], [w["num_detections"] for w in wanted])
    np.testing.assert_allclose(got["detection_scores"], [w["detection_scores"] for w in wanted])


def test_16_bit_floats_go_in_and_out() -> None:
    graph = parse_text("graph (%x: f16[1,7,N]) -> (%y)\n  %y: f16[1,7,N] = Identity(%x)")
    boxes, scores = detections(3, images=1)
    feed = np.concatenate([boxes, scores], 2).transpose(0, 2, 1).astype(np.float16)
    got = run(appended(graph, AppendNms()), {"x": feed})
    assert got["detection_boxes"].dtype == np.float16
    assert got["num_detections"][0, 0] > 3


@pytest.mark.parametrize("opset", [13, 17])
def test_the_operators_are_of_old_opsets_too(opset: int) -> None:
    graph = from_bytes(to_bytes(appended(JOINED, AppendNms()), opset))
    assert run(graph, {"x": np.ones((1, 7, 5), np.float32)})["num_detections"].shape == (1, 1)


def test_the_plugin_is_one_node_with_its_attributes() -> None:
    made = appended(JOINED, AppendNms(background_class=1, box_coding="corner"), plugin=True)
    node = made.nodes[-1]
    assert (node.op, node.outputs, made.outputs) == (PLUGIN, RESULTS, RESULTS)
    assert node.attrs == {
        "plugin_version": b"1", "score_threshold": 0.25, "iou_threshold": 0.45,
        "max_output_boxes": 100, "background_class": 1, "score_activation": 0, "box_coding": 0,
    }  # fmt: skip
    agnostic = appended(JOINED, AppendNms(class_agnostic=True), plugin=True)
    assert agnostic.nodes[-1].attrs["class_agnostic"] == 1
    assert [str(made.types[name]) for name in RESULTS] == [
        "i32[B,1]", "f32[B,100,4]", "f32[B,100]", "i32[B,100]",
    ]  # fmt: skip
    inputs = [str(kind) for kind in (made.types.get(v) for v in node.inputs) if kind]
    assert inputs == ["f32[B,N,4]", "f32[B,N,3]"]


def test_other_outputs_stay_in_their_place() -> None:
    graph = parse_text("""\
graph (%x: f32[B,7,N], %m: f32[B,2,8,8]) -> (%first, %y, %masks)
  %first: f32[B,7,N] = Neg(%x)
  %y: f32[B,7,N] = Abs(%x)
  %masks: f32[B,2,8,8] = Exp(%m)
""")
    made = appended(graph, AppendNms(head="y"), plugin=True)
    assert made.outputs == ("first", *RESULTS, "masks")


@pytest.mark.parametrize(
    ("graph", "options", "name", "message"),
    [
        (JOINED, {"head": "z"}, "unknown-output", "no output 'z'"),
        (JOINED, {"boxes": "y"}, "no-detection-head", "give either head"),
        (APART, {"head": "boxes"}, "no-detection-head", "which cannot hold boxes and scores"),
        (APART, {"boxes": "scores", "scores": "boxes"}, "no-detection-head", "'scores' is of type"),
        (APART, {"boxes": "boxes", "scores": "boxes"}, "no-detection-head", "give either head"),
        (
            APART,
            {"objectness": True, "boxes": "boxes", "scores": "scores"},
            "bad-option-value",
            "objectness",
        ),
        (JOINED, {"background_class": 3}, "bad-option-value", "there are 3 classes"),
    ],
)
def test_what_is_no_head_is_told(
    graph: Graph, options: dict[str, Any], name: str, message: str
) -> None:
    with pytest.raises(SlimcError, match=message) as caught:
        appended(graph, AppendNms(**options))
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [
        ("f16[2,9,4]", "f32[2,9,3]"),  # the plug-in takes both in one type
        ("i64[2,9,4]", "i64[2,9,3]"),
        ("f32[1,9,4]", "f32[2,9,3]"),
    ],
)
def test_boxes_and_scores_are_floats_of_the_same_images(boxes: str, scores: str) -> None:
    graph = parse_text(f"""\
graph (%b: {boxes}, %s: {scores}) -> (%boxes, %scores)
  %boxes: {boxes} = Identity(%b)
  %scores: {scores} = Identity(%s)
""")
    with pytest.raises(SlimcError, match="no output looks like"):
        appended(graph, AppendNms())
    with pytest.raises(SlimcError, match="and 'scores' is of type"):
        appended(graph, AppendNms(boxes="boxes", scores="scores"))


def test_integers_are_no_head() -> None:
    graph = parse_text("graph (%x: i64[1,7,9]) -> (%y)\n  %y: i64[1,7,9] = Identity(%x)")
    with pytest.raises(SlimcError, match="no output looks like boxes and scores"):
        appended(graph, AppendNms())


def test_what_looks_like_no_head_is_told() -> None:
    graph = parse_text("graph (%x: f32[B,10]) -> (%y)\n  %y: f32[B,10] = Identity(%x)")
    with pytest.raises(SlimcError, match=r"no output looks like boxes and scores: 'y' f32\[B,10\]"):
        appended(graph, AppendNms())


def test_an_old_plugin_compares_within_classes() -> None:
    lacks = missing_attributes("8.2.1", (8, 2, 1))
    old = replace(WITH_PLUGIN, version="8.2.1", lacks=lacks)
    data = Data(JOINED, "", lambda: iter(()), ())
    with pytest.raises(SlimcError, match=r"the plug-in of TensorRT 8\.2\.1"):
        AppendNms(class_agnostic=True).run(JOINED, Context(OPS, old, data))


def test_a_name_that_is_taken_is_told() -> None:
    graph = parse_text("""\
graph (%x: f32[B,7,N]) -> (%y, %num_detections)
  %y: f32[B,7,N] = Identity(%x)
  %num_detections: f32[B,7,N] = Neg(%x)
""")
    with pytest.raises(SlimcError, match="a value 'num_detections' already"):
        appended(graph, AppendNms(head="y"))
