from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from slimc.errors import SlimcError
from slimc.execute.ort import run
from slimc.io.read import from_bytes, from_model, read
from slimc.ir.graph import OPSET, Form
from slimc.ir.types import DType, TensorType
from slimc.ir.verify import find_problems


def model(text: str, opset: int = 17, more: str = "") -> onnx.ModelProto:
    header = f'<ir_version: 8, opset_import: ["" : {opset}{more}]>'
    return onnx.parser.parse_model(f"{header} {text}")


RELU = "net (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"


def refused(name: str, made: onnx.ModelProto) -> SlimcError:
    with pytest.raises(SlimcError) as caught:
        from_model(made)
    assert caught.value.name == name
    return caught.value


def test_a_small_model() -> None:
    graph = from_model(model(RELU))
    assert graph.form is Form.IMPORTED
    assert (graph.name, graph.inputs, graph.outputs) == ("net", ("x",), ("y",))
    assert [n.kind for n in graph.nodes] == ["Relu"]
    assert graph.nodes[0].name == "y"
    assert graph.type_of("y") == TensorType(DType.F32, ("N", 3))


def test_files_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="model-missing"):
        read(tmp_path / "none.onnx")
    for i, data in enumerate((b"hello, I am text", b"", model(RELU).SerializeToString()[:-7])):
        path = tmp_path / f"{i}.onnx"
        path.write_bytes(data)
        with pytest.raises(SlimcError, match="model-unreadable"):
            read(path)


def test_opsets_newer_than_known() -> None:
    error = refused("opset-unknown", model(RELU, OPSET + 1))
    assert str(OPSET) in error.message


def test_training_models_and_devices_are_refused() -> None:
    made = model(RELU)
    made.training_info.add()
    refused("training-model", made)
    made = model(RELU)
    made.configuration.add(name="two", num_devices=2)
    refused("device-configuration", made)
    made = model(RELU)
    made.graph.node[0].device_configurations.add(configuration_id="two")
    refused("device-configuration", made)


def test_unknown_fields_are_refused_not_dropped() -> None:
    field = b"\xfa\x7d\x03abc"  # field 2015, of three bytes
    made = onnx.load_from_string(model(RELU).SerializeToString() + field)
    refused("unknown-fields", made)
    node = onnx.NodeProto.FromString(model(RELU).graph.node[0].SerializeToString() + field)
    made = model(RELU)
    made.graph.node[0].CopyFrom(node)
    refused("unknown-fields", made)


def test_quantization_annotations_are_refused() -> None:
    made = model(RELU)
    made.graph.quantization_annotation.add(tensor_name="x")
    refused("quantization-annotation", made)


def test_unknown_sizes_of_inputs_get_names() -> None:
    graph = from_model(
        model("net (float[?,3,x_0] x, float[?] x_2) => (float y) { y = Mul(x, x_2) }")
    )
    assert graph.type_of("x") == TensorType(DType.F32, ("x_0_", 3, "x_0"))
    assert graph.type_of("x_2") == TensorType(DType.F32, ("x_2_0",))


def test_constant_nodes_become_constants() -> None:
    made = model("net (float[3] x) => (float[3] y) { y = Relu(x) }")
    for key, value in {
        "value_int": 7,
        "value_ints": [1, 2],
        "value_float": 0.5,
        "value_floats": [0.5, 2.0],
        "value_string": "a",
        "value_strings": ["a", "b"],
        "value": numpy_helper.from_array(np.arange(3, dtype=np.int8)),
    }.items():
        made.graph.node.append(helper.make_node("Constant", [], [key], **{key: value}))
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("", TensorProto.FLOAT, [2], [1.0, 2.0]),
        helper.make_tensor("", TensorProto.INT64, [2, 2], [0, 1, 1, 2]),
        [2, 3],
    )
    made.graph.node.append(helper.make_node("Constant", [], ["sparse"], sparse_value=sparse))
    arrays = {k: c.array for k, c in from_model(made).constants.items()}
    assert arrays["value_int"].shape == ()
    assert arrays["value_int"].dtype == np.int64
    assert arrays["value_floats"].dtype == np.float32
    assert arrays["value_strings"].tolist() == ["a", "b"]
    assert arrays["value_string"].item() == "a"
    assert arrays["value"].tolist() == [0, 1, 2]
    assert arrays["sparse"].tolist() == [[0, 1, 0], [0, 0, 2]]


def test_sparse_initializers_become_dense() -> None:
    made = model("net (float[2,3] x) => (float[2,3] y) { y = Add(x, w) }")
    for indices in ([1, 5], [[0, 1], [1, 2]]):
        del made.graph.sparse_initializer[:]
        flat = np.array(indices, np.int64)
        made.graph.sparse_initializer.append(
            helper.make_sparse_tensor(
                helper.make_tensor("w", TensorProto.FLOAT, [2], [3.0, 4.0]),
                numpy_helper.from_array(flat),
                [2, 3],
            )
        )
        dense = from_model(made).array("w")
        assert dense is not None
        assert dense.tolist() == [[0, 3, 0], [0, 0, 4]]


def test_initializers_among_inputs_are_constants() -> None:
    made = model("net (float[3] x, float[3] w) => (float[3] y) { y = Add(x, w) }")
    made.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "w"))
    graph = from_model(made)
    assert graph.inputs == ("x",)
    assert list(graph.constants) == ["w"]


IF = """net (bool c, float[2] x) => (float[2] y) {
  y = If (c) <
    then_branch = yes () => (float[2] r) { k = Constant<value=float[1] {2.0}>() r = Mul(x, k) },
    else_branch = no () => (float[2] r) { k = Constant<value=float[1] {3.0}>() r = Add(x, k) }
  >
}"""


def test_names_of_bodies_are_made_unique() -> None:
    graph = from_model(model(IF))
    assert not list(find_problems(graph))
    yes, no = graph.nodes[0].bodies[1], graph.nodes[0].bodies[0]
    assert {yes.name, no.name} == {"yes", "no"}
    assert set(yes.constants).isdisjoint(no.constants)
    feeds = {"c": np.array(False), "x": np.ones(2, np.float32)}
    assert run(graph, feeds)["y"].tolist() == [4, 4]


def test_a_body_may_shadow_an_outer_name() -> None:
    made = model(IF)
    branch = made.graph.node[0].attribute[0].g
    branch.node[0].output[0] = "x_"
    branch.node[1].input[1] = "x_"
    made.graph.node[0].attribute[1].g.node[1].name = "y"
    made.graph.node.append(helper.make_node("Relu", ["y"], ["k"]))  # the name of both constants
    graph = from_model(made)
    assert not list(find_problems(graph))
    assert "k" in graph.producers


def test_nodes_get_names_of_their_own() -> None:
    made = model("net (float[3] x) => (float[3] y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    made.graph.node[0].name = made.graph.node[1].name = "relu"
    assert [n.name for n in from_model(made).nodes] == ["relu", "relu_1", "y"]


def test_nodes_out_of_order_are_sorted() -> None:
    made = model("net (float[3] x) => (float[3] y) { y = Relu(a) a = Exp(x) }")
    assert [n.op for n in from_model(made).nodes] == ["Exp", "Relu"]
    made.graph.node[1].input[0] = "y"
    refused("graph-cycle", made)


def test_values_that_nothing_or_two_nodes_make() -> None:
    error = refused("value-undefined", model("net (float[3] x) => (float[3] y) { y = Add(x, z) }"))
    assert "'z'" in error.message
    refused("value-undefined", model("net (float[3] x) => (float[3] z) { y = Relu(x) }"))
    refused("value-twice", model("net (float[3] x) => (float[3] y) { y = Relu(x) y = Exp(x) }"))


@pytest.mark.parametrize("opset", [17, 11])
def test_local_functions_are_inlined(opset: int) -> None:
    """Also where a function is of another opset than the model."""
    made = onnx.parser.parse_model(f"""
      <ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
      net (float[N,4] x) => (float[N,1] y) {{ a = mine.twice(x) y = mine.twice(a) }}
      <domain: "mine", opset_import: ["" : {opset}]>
      twice (x) => (y) {{ two = Constant<value=float {{2.0}}>() y = Mul(x, two) }}
    """)
    graph = from_model(made)
    assert [n.op for n in graph.nodes] == ["Mul", "Mul"]
    assert "mine" not in graph.opsets
    assert len(made.functions) == 1
    assert run(graph, {"x": np.ones((1, 4), np.float32)})["y"].tolist() == [[4, 4, 4, 4]]


def test_nodes_of_other_domains_are_carried() -> None:
    made = model("net (float[3] x) => (float[3] y) { y = com.acme.Warp<a=1, b=[0.5]>(x) }",
                 more=', "com.acme" : 3')  # fmt: skip
    graph = from_model(made)
    assert graph.opsets == {"com.acme": 3}
    assert graph.nodes[0].kind == "com.acme.Warp"
    assert graph.nodes[0].attrs == {"a": 1, "b": (0.5,)}


def test_metadata_and_notes_are_carried() -> None:
    made = model(RELU)
    made.producer_name, made.doc_string, made.model_version = "pytorch", "of a model", 3
    made.metadata_props.add(key="author", value="me")
    made.graph.doc_string = "of a graph"
    made.graph.node[0].doc_string = "of a node"
    made.graph.node[0].metadata_props.add(key="scope", value="head")
    made.graph.input[0].doc_string = "an image"
    made.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph = from_model(made)
    assert graph.metadata == {
        "author": "me",
        "onnx.producer_name": "pytorch",
        "onnx.model_version": "3",
        "onnx.doc_string": "of a model",
    }
    assert graph.doc == "of a graph"
    assert graph.nodes[0].notes == {"scope": "head", "": "of a node"}
    assert graph.notes["x"] == {"onnx.denotation.0": "DATA_BATCH", "": "an image"}


def test_a_failing_inference_does_not_fail_the_reading() -> None:
    made = model(
        "net (float[2,3] x) => (float[7,7] y) { t = Transpose<perm=[0, 1, 2]>(x) y = Relu(t) }"
    )
    graph = from_model(made)
    assert graph.type_of("y") == TensorType(DType.F32, (7, 7))


def test_bytes_are_read_as_a_file() -> None:
    made = model("net (float[3] x) => (float[3] y) { a = Relu(x) y = com.acme.Warp(a) }")
    assert [node.domain for node in from_bytes(made.SerializeToString()).nodes] == ["", "com.acme"]
