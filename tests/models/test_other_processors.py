"""A processor without VNNI, emulated: sums of integers are exact there too, and files the same.

There onnxruntime's kernels saturate, which nothing shows on the processors of most machines of
continuous integration. Float kernels of convolutions round otherwise there (onnxruntime lays out
channels in blocks as wide as the vectors of the processor), so bytes are compared of products.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slimc.analysis.shapes import retype
from slimc.io.write import write
from slimc.ir.text import parse_text
from slimc.ops import OPS

QEMU = shutil.which("qemu-x86_64")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="qemu-x86_64 (package qemu-user) is not installed"),
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="no x86 libraries"),
]
HASWELL = [str(QEMU), "-cpu", "Haswell"]  # AVX2 and FMA, no AVX-512
# Sorts of numpy in AVX2 crash, or give a wrong order, in qemu 7.2: it gets its plain ones there.
PLAIN_NUMPY = " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", ()))
ROOT = Path(__file__).parents[2]
KERNELS = [
    "tests/unit/execute/test_exact_sums.py",
    "tests/unit/passes/lower/test_emit_dynamic.py",
    "tests/property/test_schemes.py",
]
# 64 products of 255 and 127, straight from onnxruntime's kernel.
PROBE = """
import numpy as np, onnx, onnxruntime
from onnx import TensorProto as T, helper as h, numpy_helper as n
w = n.from_array(np.full((64, 8), 127, np.int8), "w")
x, y = (h.make_tensor_value_info(*v) for v in (("x", T.UINT8, [1, 64]), ("y", T.INT32, [1, 8])))
graph = h.make_graph([h.make_node("MatMulInteger", ["x", "w"], ["y"])], "g", [x], [y], [w])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())
print(session.run(None, {"x": np.full((1, 64), 255, np.uint8)})[0].max())
"""
PRODUCTS = """graph (%x: f32[N,64]) -> (%y)
  %wa = constant f32[64,64] random(0)
  %ba = constant f32[64] random(1)
  %wb = constant f32[64,32] random(2)
  %a = Gemm(%x, %wa, %ba) @first
  %r = Relu(%a) @relu
  %s = Add(%r, %x) @sum
  %y = MatMul(%s, %wb) @second"""
TIMES = re.compile(r" +\d+\.\d+ s ")


def run(command: list[str]) -> str:
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def run_there(command: list[str]) -> str:
    """Run a command on the emulated processor."""
    return run(["env", f"NPY_DISABLE_CPU_FEATURES={PLAIN_NUMPY}", *HASWELL, *command])


def test_the_emulated_processor_saturates() -> None:
    assert int(run_there([sys.executable, "-c", PROBE])) < 64 * 255 * 127


@pytest.mark.parametrize("file", KERNELS)
def test_what_runs_integer_kernels_passes_there(file: str) -> None:
    run_there([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", file])


@pytest.mark.parametrize(
    ("target", "scheme"),
    [
        ("cpu-avx2", "int8"),
        ("cpu-vnni", "int8"),
        ("jetson", "int8"),
        ("generic-onnx", "int8"),
        ("generic-onnx", "int8-dynamic"),
    ],
)
def test_a_compile_there_makes_the_same_bytes(target: str, scheme: str, tmp_path: Path) -> None:
    write(retype(parse_text(PRODUCTS), OPS), tmp_path / "net.onnx")
    x = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", x=x)
    files, reports = [], []
    command = [sys.executable, "-m", "slimc", str(tmp_path / "net.onnx"), "--target", target]
    command += ["--passes", f"quant{{scheme={scheme}}}", "--calib", str(tmp_path / "calib.npz")]
    command += ["-o", str(tmp_path / "out.onnx")]
    for runs in (run, run_there):
        reports.append(TIMES.sub(" ", runs(command)))
        files.append((tmp_path / "out.onnx").read_bytes())
        (tmp_path / "out.onnx").unlink()
    assert reports[0] == reports[1]
    assert files[0] == files[1]
