from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from slimc.errors import SlimcError
from slimc.io.read import read
from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.pipeline.script.surgeon_script import SurgeonScript

NET = parse_text("""\
graph @net (%x: f32[N,4]) -> (%y)
  metadata "author" "me"
  %a: f32[N,4] = Exp(%x) @exp
  %y: f32[N,4] = Relu(%a) @relu
""")
EDIT = """
    import onnx_graphsurgeon as gs
    def edit(graph):
        for node in graph.nodes:
            if node.op == "Relu":
                node.op = "Neg"
"""
PROGRAM = """
    import sys
    import onnx
    import onnx_graphsurgeon as gs
    graph = gs.import_onnx(onnx.load({loaded}))
    graph.nodes[1].op = "Neg"
    print("edited")
    onnx.save(gs.export_onnx(graph), {saved})
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    write(NET, path)
    return path


def script_of(tmp_path: Path, text: str, function: str = "") -> SurgeonScript:
    path = tmp_path / "script.py"
    path.write_text(dedent(text))
    return SurgeonScript.of(path, function)


def kinds(tmp_path: Path, script: SurgeonScript, model: Path, *words: str, result: str = "") -> str:
    made = tmp_path / "folder" / "made.onnx"
    made.parent.mkdir()
    script.run(model, made, words, result)
    return " ".join(node.op for node in read(made).nodes)


def test_the_only_function_of_a_graph_is_called(tmp_path: Path, model: Path) -> None:
    script = script_of(tmp_path, EDIT)
    assert (script.function, script.paths) == ("edit", False)
    assert kinds(tmp_path, script, model) == "Exp Neg"
    assert read(tmp_path / "folder" / "made.onnx").metadata["author"] == "me"


def test_a_usual_name_goes_before_others(tmp_path: Path) -> None:
    text = EDIT + "    def modify(graph):\n        return graph\n"
    assert script_of(tmp_path, text).function == "modify"


def test_a_function_may_be_registered_and_may_return_another_graph(
    tmp_path: Path, model: Path
) -> None:
    text = """
    import onnx_graphsurgeon as gs
    @gs.Graph.register()
    def first_half(self):
        made = self.copy()
        made.outputs = [made.nodes[0].outputs[0]]
        return made.cleanup()
    """
    assert kinds(tmp_path, script_of(tmp_path, text, "first_half"), model) == "Exp"


def test_a_function_of_two_paths(tmp_path: Path, model: Path) -> None:
    text = """
    import onnx, onnx_graphsurgeon as gs
    def patch(source, target, ratio=0.5):
        onnx.save(gs.export_onnx(gs.import_onnx(onnx.load(source))), target)
    """
    assert kinds(tmp_path, script_of(tmp_path, text, "patch"), model) == "Exp Relu"


def test_a_function_imports_what_stands_beside_it(tmp_path: Path, model: Path) -> None:
    (tmp_path / "beside_it.py").write_text("OP = 'Neg'\n")
    text = """
    import onnx_graphsurgeon as gs
    def run(graph: gs.Graph):
        from beside_it import OP
        graph.nodes[1].op = OP
    """
    assert kinds(tmp_path, script_of(tmp_path, text), model) == "Exp Neg"


def test_a_program_finds_the_model_where_its_text_loads_it(tmp_path: Path, model: Path) -> None:
    text = PROGRAM.format(loaded="'./deep/encoder.onnx'", saved="'modified.onnx'")
    script = script_of(tmp_path, text)
    assert (script.function, script.loads) == ("", "deep/encoder.onnx")
    assert kinds(tmp_path, script, model) == "Exp Neg"


def test_a_program_may_save_over_what_it_loads(tmp_path: Path, model: Path) -> None:
    text = PROGRAM.format(loaded="'model.onnx'", saved="'model.onnx'")
    assert kinds(tmp_path, script_of(tmp_path, text), model) == "Exp Neg"
    assert [node.op for node in read(model).nodes] == ["Exp", "Relu"]


def test_arguments_of_a_program_name_the_files(tmp_path: Path, model: Path) -> None:
    text = PROGRAM.format(loaded="sys.argv[1]", saved="sys.argv[2].split('=')[1]")
    script = script_of(tmp_path, text)
    assert kinds(tmp_path, script, model, "{in}", "--to={out}") == "Exp Neg"


def test_one_of_several_results_is_named(tmp_path: Path, model: Path) -> None:
    text = PROGRAM.format(loaded="'model.onnx'", saved="'a.onnx'")
    text += "    onnx.save(onnx.load('a.onnx'), 'b.onnx')\n"
    script = script_of(tmp_path, text)
    with pytest.raises(SlimcError, match=r"it saved 2 models: a\.onnx, b\.onnx") as caught:
        kinds(tmp_path, script, model)
    assert caught.value.name == "script-unclear"
    (tmp_path / "folder").rename(tmp_path / "other")
    assert kinds(tmp_path, script, model, result="b.onnx") == "Exp Neg"


def test_a_folder_that_is_called_like_a_model_is_none(tmp_path: Path, model: Path) -> None:
    text = """
    import shutil, os
    os.mkdir("parts.onnx")
    shutil.copy("model.onnx", "parts.onnx/whole.onnx")
    """
    assert kinds(tmp_path, script_of(tmp_path, text), model) == "Exp Relu"


def test_what_is_printed_is_told(tmp_path: Path, model: Path) -> None:
    heard: list[str] = []
    text = PROGRAM.format(loaded="'model.onnx'", saved="'a.onnx'")
    script_of(tmp_path, text).run(model, tmp_path / "made.onnx", told=heard.append)
    assert heard == ["edited"]
    script_of(tmp_path, EDIT + "        print('by a function')").run(
        model, tmp_path / "other.onnx", told=heard.append
    )
    assert heard[1:] == ["by a function"]


@pytest.mark.parametrize(
    ("text", "function", "name", "message", "where"),
    [
        ("def f(:\n", "", "script-failed", "it is no Python", "line 1"),
        ("x = 1\n", "", "script-unclear", "none of its functions take a graph", "script.py"),
        ("def f(graph): ...\ndef g(self): ...\n", "", "script-unclear", "2 of its", "script.py"),
        ("def f(graph): ...\n", "h", "unknown-function", "it has no function 'h'", "script.py"),
        ("def f(a, b, c): ...\n", "f", "script-unclear", "needs 3 arguments", "script.py"),
    ],
)
def test_what_cannot_be_run_is_told_beforehand(
    tmp_path: Path, text: str, function: str, name: str, message: str, where: str
) -> None:
    with pytest.raises(SlimcError, match=message) as caught:
        script_of(tmp_path, text, function)
    assert caught.value.name == name
    assert where in caught.value.where


@pytest.mark.parametrize(
    ("text", "name", "message", "where"),
    [
        ("def f(graph):\n    graph.x.y = 1\n", "script-failed", "AttributeError", "line 2"),
        ("def f(graph):\n    raise SystemExit(3)\n", "script-failed", "SystemExit: 3", "line 2"),
        ("print('a')\nraise OSError('b')\n", "script-failed", "OSError: b", "line 2"),
        ("import sys\nsys.exit(3)\n", "script-failed", "status 3", "script.py"),
        ("print('a')\n", "script-saved-nothing", "it saved no model", "script.py"),
    ],
)
def test_a_failure_names_script_and_line(
    tmp_path: Path, model: Path, text: str, name: str, message: str, where: str
) -> None:
    with pytest.raises(SlimcError, match=message) as caught:
        kinds(tmp_path, script_of(tmp_path, text + "print()\n" * ("graph" not in text)), model)
    assert caught.value.name == name
    assert where in caught.value.where


def test_a_failure_names_the_line_of_a_script_given_by_a_relative_path(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script_of(tmp_path, "def f(graph):\n    graph.x.y = 1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SlimcError) as caught:
        SurgeonScript.of(Path("script.py")).run(model, tmp_path / "made.onnx")
    assert "line 2" in caught.value.where


def test_a_called_function_takes_no_arguments(tmp_path: Path, model: Path) -> None:
    with pytest.raises(SlimcError, match="it takes no arguments"):
        kinds(tmp_path, script_of(tmp_path, EDIT), model, "{in}")


def test_a_script_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="there is no such file"):
        SurgeonScript.of(tmp_path / "none.py")
