from __future__ import annotations

from dataclasses import replace

import numpy as np

from slimc.execute.ort import run
from slimc.execute.plugins import is_plugin, up_to_plugins
from slimc.ir.graph import Node
from slimc.ir.text import parse_text

NET = parse_text("""\
graph (%x: f32[N,4]) -> (%y, %z, %t)
  %a: f32[N,4] = Exp(%x) @exp
  %b: f32[N,4] = Neg(%a) @neg
  %p: f32[N,4], %q: i32[N] = Detect_TRT(%b, %x) @detect
  %y: f32[N,4] = Abs(%p) @abs
  %z: f32[N,4] = Relu(%b) @relu
  %t: f32[N,4] = Tanh(%a) @tanh
""")


def test_what_neither_onnx_nor_onnxruntime_has_is_a_plugin() -> None:
    def kind(op: str, domain: str = "") -> bool:
        return is_plugin(Node(op, (), (), "n", {}, domain))

    assert not kind("Conv")
    assert not kind("Gelu", "com.microsoft")
    assert not kind("Scaler", "ai.onnx.ml")
    assert kind("EfficientNMS_TRT")
    assert kind("EfficientNMS_TRT", "TRT")


def test_a_graph_runs_up_to_its_plugins() -> None:
    runs, aside = up_to_plugins(NET)
    assert [node.name for node in aside] == ["detect", "abs"]
    assert runs.outputs == ("z", "t", "b")
    feeds = {"x": np.ones((2, 4), np.float32)}
    whole = replace(NET, nodes=NET.nodes[:2], outputs=("b",))
    assert (run(runs, feeds)["b"] == run(whole, feeds)["b"]).all()


def test_a_node_with_a_plugin_in_its_body_is_taken_out() -> None:
    graph = parse_text("""\
graph (%x: f32[4], %c: bool[]) -> (%y, %z)
  %y: f32[4] = If(%c) @choose
    else_branch = graph () -> (%e)
      %e: f32[4] = Exp(%x) @exp
    then_branch = graph () -> (%t)
      %t: f32[4] = Mine_TRT(%x) @mine
  %z: f32[4] = Neg(%x) @neg
""")
    runs, aside = up_to_plugins(graph)
    assert [node.name for node in aside] == ["choose"]
    assert [node.name for node in runs.nodes] == ["neg"]


def test_a_graph_without_plugins_is_itself() -> None:
    runs, aside = up_to_plugins(parse_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = Exp(%x)"))
    assert (len(runs.nodes), aside) == (1, ())
