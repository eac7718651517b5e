"""The network that ships with slimc means the same in every opset that can be written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import slimc
from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.io.downgrade import OLDEST
from slimc.io.read import read
from slimc.io.write import write
from slimc.ir.graph import OPSET

NETWORK = Path(slimc.__file__).parent / "demo" / "glyphs.onnx"
TOLERANCE = 1e-5  # f32: another opset's kernels sum in another order


@pytest.mark.slow
@pytest.mark.parametrize("opset", range(OLDEST, OPSET + 1))
@pytest.mark.parametrize("external", [False, True])
def test_the_demo_network_in_every_opset(opset: int, external: bool, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    try:
        write(read(NETWORK), path, opset, external=external)
    except SlimcError as error:
        pytest.skip(error.message)
    onnx.checker.check_model(path, full_check=True)
    wanted, got = (onnxruntime.InferenceSession(str(p)) for p in (NETWORK, path))
    (value,) = wanted.get_inputs()
    shape = [d if isinstance(d, int) else 2 for d in value.shape]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    results = (session.run(None, {value.name: x}) for session in (wanted, got))
    for one, other in zip(*results, strict=True):
        assert difference(one, other) < TOLERANCE
