"""docs/indices.md, for real: a pruned network back in PyTorch computes what its graph computes."""

from __future__ import annotations

import json
import re
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from slimc.cli import main
from slimc.execute.ort import Session
from slimc.io.read import read

torch = pytest.importorskip("torch")
nn = torch.nn

PAGE = Path(__file__).parents[2] / "docs" / "indices.md"
CUT, NAMES = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
ROUNDING = 1e-5  # the two sum in another order
EXPORTS: dict[str, dict[str, Any]] = {
    "dynamo": {"dynamo": True, "optimize": False, "external_data": False, "verbose": False},
    "script": {"dynamo": False, "do_constant_folding": False},
}


def conv(cin: int, cout: int, stride: int = 1, groups: int = 1) -> Any:
    layers = nn.Conv2d(cin, cout, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm2d(cout)
    return nn.Sequential(*layers, nn.ReLU())


class Residual(nn.Module):  # type: ignore[name-defined,misc]
    """A block with a depthwise convolution, and a projection on the skip."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(cin, cout, 2), conv(cout, cout, groups=cout))
        self.skip = conv(cin, cout, 2)

    def forward(self, x: Any) -> Any:
        return self.body(x) + self.skip(x)


def network() -> Any:
    torch.manual_seed(0)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(24 * 16, 32), nn.ReLU(), nn.Linear(32, 10))
    parts = {"stem": conv(1, 12), "block": Residual(12, 24), "dense": dense}
    net = nn.Sequential(OrderedDict(parts)).eval()
    for name, tensor in net.state_dict().items():
        if tensor.ndim == 1:
            low = -1 if name.endswith(("bias", "mean")) else 0.5
            tensor.uniform_(low, 2)
    return net


def prune(net: Any, folder: Path, export: dict[str, Any]) -> None:
    """Export a network, prune it, and write indices.json, as the page says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporters deprecate each other
        torch.onnx.export(net, (torch.zeros(2, 1, 8, 8),), folder / "model.onnx", **export)
    for words in (
        "model.onnx --passes remove-channels{ratio=0.4,align=1} --report report.json -o small.onnx",
        "export-indices report.json -o indices.json",
    ):
        with pytest.raises(SystemExit) as left:
            main(words.split())
        assert not left.value.code


@pytest.fixture(params=EXPORTS)
def pruned(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Any, Path]:
    monkeypatch.chdir(tmp_path)
    net = network()
    prune(net, tmp_path, EXPORTS[request.param])
    return net, tmp_path


def outputs(net: Any, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    x = torch.randn(2, 1, 8, 8)
    graph = read(folder / "small.onnx")
    (found,) = Session(graph).run({graph.inputs[0]: x.numpy()}).values()
    return net(x).detach().numpy(), found


def test_the_example_gives_the_outputs_of_the_pruned_graph(pruned: tuple[Any, Path]) -> None:
    net, folder = pruned
    assert len(CUT.splitlines()) <= 10
    before = sum(p.numel() for p in net.parameters())
    exec(CUT, {"json": json, "torch": torch, "net": net})
    assert sum(p.numel() for p in net.parameters()) < before
    mine, its = outputs(net, folder)
    assert np.abs(mine - its).max() < ROUNDING * np.abs(its).max()


def test_the_network_so_cut_can_be_trained(pruned: tuple[Any, Path]) -> None:
    net, _ = pruned
    exec(CUT, {"json": json, "torch": torch, "net": net})
    net.train()
    trained = torch.optim.SGD(net.parameters(), 0.1)
    net(torch.randn(4, 1, 8, 8)).square().mean().backward()
    assert all(p.grad.shape == p.shape for p in net.parameters())
    trained.step()


def test_names_are_found_by_values(pruned: tuple[Any, Path]) -> None:
    net, folder = pruned
    model = onnx.load(folder / "model.onnx")
    for tensor in model.graph.initializer:
        tensor.name = f"t{tensor.name}"
    space: dict[str, Any] = {"onnx": onnx}
    exec(NAMES, space)
    state = net.state_dict()
    found = space["names_of"](model, state)
    wanted = {name for name, entry in state.items() if entry.numel() > 1}
    assert {name.removeprefix("t"): own for name, (own, _) in found.items()} == {
        name: name for name in wanted
    }
    assert not any(turned for _, turned in found.values())
