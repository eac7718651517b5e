from __future__ import annotations

from slimc.ir.digest import digest
from slimc.ir.editor import Editor
from slimc.ir.text import parse_text

TEXT = """
graph (%x: f32[1,2]) -> (%y)
  %w = constant f32[2,400] random(0)
  %y: f32[1,400] = MatMul(%x, %w) @a
"""


def test_every_element_and_name_counts() -> None:
    graph = parse_text(TEXT)
    assert digest(graph) == digest(parse_text(TEXT))
    others = [TEXT.replace("random(0)", "random(1)"), TEXT.replace("@a", "@b")]
    assert len({digest(graph), *(digest(parse_text(text)) for text in others)}) == 3
    editor = Editor(graph)
    array = graph.constants["w"].array.copy()
    array[1, 399] += 1
    editor.set_constant("w", array)
    assert digest(editor.finish()) != digest(graph)
