"""Oracles and the process that they work in. Runtimes that are not installed are skipped."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from slimc.errors import SlimcError
from slimc.execute.oracles import ask as ask_module
from slimc.execute.oracles.ask import ORACLES, Answer, ask, ask_onnxruntime, oracle_of
from slimc.io.write import write
from slimc.ir.text import parse_text

TWO_CONVOLUTIONS = """graph (%x: f32[1,32,8,8]) -> (%y)
  %s = constant f32[] 0.02
  %z = constant u8[] 0
  %sw = constant f32[] 0.01
  %sb = constant f32[] 0.0002
  %w = constant i8[32,32,1,1] random(0, -100..100)
  %b = constant i32[32] random(1, -100..100)
  %v = constant f32[32,32,1,1] random(2, -0.1..0.1)
  %q: u8[1,32,8,8] = QuantizeLinear(%x, %s, %z)
  %d: f32[1,32,8,8] = DequantizeLinear(%q, %s, %z)
  %dw: f32[32,32,1,1] = DequantizeLinear(%w, %sw)
  %db: f32[32] = DequantizeLinear(%b, %sb)
  %c: f32[1,32,8,8] = Conv(%d, %dw, %db) @first
  %qc: u8[1,32,8,8] = QuantizeLinear(%c, %s, %z)
  %dc: f32[1,32,8,8] = DequantizeLinear(%qc, %s, %z)
  %y: f32[1,32,8,8] = Conv(%dc, %v) @second"""

# A child that is no oracle: what runtimes do to the process that they work in.
MISBEHAVES = {
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV"),
    "aborts": ("import os; os.abort()", "SIGABRT"),
    "takes all memory": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "fails": ("raise RuntimeError('no such device')", "no such device"),
    "says nothing": ("", "ended with 0"),
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    write(parse_text(TWO_CONVOLUTIONS), path, 17, 8)
    return path


def answering(tmp_path: Path, text: str) -> str:
    """Make an interpreter that runs a text in place of the oracle."""
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n{text}\n")
    script.chmod(0o755)
    return str(script)


@pytest.mark.parametrize("how", list(MISBEHAVES))
def test_a_child_that_misbehaves_is_inconclusive(how: str, tmp_path: Path, model: Path) -> None:
    text, said = MISBEHAVES[how]
    answer = ask(ORACLES["onnxruntime"], model, {}, answering(tmp_path, text))
    assert said in answer.silence
    assert (answer.parsed, answer.built, answer.kernels) == (None, None, ())


def test_what_was_known_before_a_crash_is_kept(tmp_path: Path, model: Path) -> None:
    text = (
        "import json, os, sys\n"
        "open(sys.argv[-1], 'w').write(json.dumps({'version': '9', 'parsed': True}))\n"
        "os.abort()"
    )
    answer = ask(ORACLES["onnxruntime"], model, {}, answering(tmp_path, text))
    assert (answer.version, answer.parsed, answer.built) == ("9", True, None)
    assert answer.silence == "it was killed by SIGABRT, building: it said nothing"


def test_a_child_that_takes_too_long_is_killed_with_its_children(
    tmp_path: Path, model: Path
) -> None:
    noted = tmp_path / "pid"
    text = (
        "import subprocess, time, pathlib\n"
        f"child = subprocess.Popen(['sleep', '60'])\n"
        f"pathlib.Path({str(noted)!r}).write_text(str(child.pid))\n"
        "time.sleep(60)"
    )
    answer = ask(ORACLES["onnxruntime"], model, {}, answering(tmp_path, text), limit_seconds=0.5)
    assert answer.silence == "no answer in 0.5 s (starting)"
    if noted.exists():  # where the machine was too slow for that, there is nothing left to kill
        assert _is_gone(int(noted.read_text()))


def _is_gone(pid: int) -> bool:
    """Wait for a killed process to leave the table; a zombie is gone too."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.02)
    return False


def test_a_child_that_no_one_waits_for_ends_itself(tmp_path: Path) -> None:
    folder = Path(ask_module.__file__).parent
    text = (
        "import sys, time, types\n"
        f"sys.path.insert(0, {str(folder)!r})\n"
        "import child\n"
        "child._load = lambda name: types.SimpleNamespace(ask=lambda *words: time.sleep(60))\n"
        f"sys.argv[1:] = ['x', 'model.onnx', '{{}}', '0.1', {str(tmp_path / 'answer')!r}]\n"
        "child.main()"
    )
    ended = subprocess.run([sys.executable, "-c", text], timeout=50, check=False)
    assert ended.returncode == -signal.SIGALRM


@pytest.mark.parametrize("elsewhere", [True, False])
def test_another_interpreter_has_its_own_packages(
    elsewhere: bool, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "import json, os, sys\n"
        "version = os.environ.get('PYTHONPATH', '')\n"
        "open(sys.argv[-1], 'w').write(json.dumps({'version': version}))"
    )
    python = answering(tmp_path, text)
    monkeypatch.setenv("PYTHONPATH", "/of/this/one")
    if not elsewhere:
        monkeypatch.setattr(sys, "executable", python)
    answer = ask(ORACLES["onnxruntime"], model, {}, python if elsewhere else "")
    assert answer.version == ("" if elsewhere else "/of/this/one")


def test_data_files_are_found_beside_a_link(tmp_path: Path, model: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "model.onnx").symlink_to(model)
    python = answering(tmp_path, "import sys; sys.exit(sys.argv[3])")
    answer = ask(ORACLES["onnxruntime"], tmp_path / "links" / "model.onnx", {}, python)
    assert answer.silence.endswith(f": {tmp_path / 'links' / 'model.onnx'}")


def test_a_runtime_may_say_why_it_says_no_more(tmp_path: Path, model: Path) -> None:
    text = """import sys; open(sys.argv[-1], 'w').write('{"silence": "code 1002"}')"""
    answer = ask(ORACLES["qnn"], model, {}, answering(tmp_path, text))
    assert (answer.silence, answer.built) == ("code 1002", None)


def test_a_missing_package_says_what_to_install(tmp_path: Path, model: Path) -> None:
    text = """import sys; open(sys.argv[-1], 'w').write('{"missing": "No module named z"}')"""
    with pytest.raises(SlimcError, match="OpenVINO cannot be asked: No module named z") as caught:
        ask(ORACLES["openvino"], model, {}, answering(tmp_path, text))
    assert caught.value.name == "oracle-missing"
    assert "slimc[openvino-check]" in caught.value.help


def test_an_interpreter_that_is_not_there(model: Path) -> None:
    with pytest.raises(SlimcError, match="cannot be run") as caught:
        ask(ORACLES["openvino"], model, {}, "/nowhere/python")
    assert caught.value.name == "oracle-missing"


def test_an_oracle_that_is_not_known() -> None:
    assert oracle_of("tensorrt-rtx:SM86") == (ORACLES["tensorrt-rtx"], "SM86")
    with pytest.raises(SlimcError, match="there is no oracle 'tensort'"):
        oracle_of("tensort:SM86")


def computes(answer: Answer) -> dict[str, str]:
    found = {}
    for kernel in answer.kernels:
        found |= dict.fromkeys({"first", "second"} & {*kernel.names}, kernel.computes)
        found |= {"second": kernel.computes} if "y" in kernel.names else {}
    return found


def test_onnxruntime_here_and_apart(model: Path) -> None:
    apart = ask(ORACLES["onnxruntime"], model, {})
    assert (apart.parsed, apart.built, apart.silence) == (True, True, "")
    assert computes(apart) == {"first": "integers", "second": "floats"}
    assert ask_onnxruntime(model, {}).kernels == apart.kernels


def test_onnxruntime_refuses_what_it_has_no_kernel_for(tmp_path: Path) -> None:
    graph = parse_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = com.acme.Warp(%x) @warp")
    write(graph, tmp_path / "warp.onnx")
    answer = ask(ORACLES["onnxruntime"], tmp_path / "warp.onnx", {})
    assert answer.built is False
    assert answer.problems


def test_a_damaged_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x08\x12" + bytes(40))
    answer = ask_onnxruntime(path, {})
    assert (answer.parsed, answer.built) == (False, False)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is missing")
def test_openvino(model: Path) -> None:
    answer = ask(ORACLES["openvino"], model, {"shapes": {"x": [1, 32, 8, 8]}})
    assert computes(answer) == {"first": "integers", "second": "floats"}


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="tensorrt-rtx is missing"
)
def test_tensorrt_refuses_unsigned_data(tmp_path: Path, model: Path) -> None:
    options = {"variant": "SM86", "profile": {"x": [1, 32, 8, 8]}}
    answer = ask(ORACLES["tensorrt-rtx"], model, options)
    assert (answer.parsed, answer.built) == (False, False)
    assert answer.problems


TENSORRT_LISTING = """\
Name: __myl_Move_myl0_0, LayerType: kgen, Inputs: [ { Name: x, Datatype: Float }], Constants: [], \
Outputs: [ { Name: r, Datatype: Int8 }], TacticName: m, StreamId: 0, Metadata: [ONNX Layer: q]
Name: first_myl0_1, LayerType: correlation, Inputs: [ { Name: r, Datatype: Int8 }], Constants: \
[ { Name: w, Datatype: Int8 }], Outputs: [ { Name: c, Datatype: Float }], TacticName: t, \
Metadata: [ONNX Layer: first][ONNX Layer: node_of_w.dq]
Name: second_myl0_2, LayerType: gemm, Inputs: [ { Name: c, Datatype: Half }], Constants: \
[ { Name: v, Datatype: Int4 }], Outputs: [ { Name: y, Datatype: Half }], TacticName: t, \
Metadata: [ONNX Layer: second]
"""


def test_the_listing_of_tensorrt_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its form is that of TensorRT-RTX 1.7; it is read where the package is missing too."""
    monkeypatch.setitem(sys.modules, "tensorrt_rtx_bindings", SimpleNamespace(ILogger=object))
    monkeypatch.delitem(sys.modules, "slimc.execute.oracles.tensorrt_cpu", raising=False)
    read = importlib.import_module("slimc.execute.oracles.tensorrt_cpu").kernels_of
    monkeypatch.delitem(sys.modules, "slimc.execute.oracles.tensorrt_cpu")
    kernels = [one for line in TENSORRT_LISTING.split("\n") for one in read(line)]
    assert [one["computes"] for one in kernels] == ["floats", "integers", "weights"]
    assert [one["names"] for one in kernels] == [["q"], ["first", "w.dq"], ["second"]]
