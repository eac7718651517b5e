"""The folder names are the data flow: a folder imports only folders before it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

import slimc

ROOT = Path(slimc.__file__).parent
ORDER = [
    {"errors", "remarks", "version"},
    {"ir"},
    {"ops"},
    {"io"},
    {"analysis", "execute", "rewrite"},
    {"calib"},
    {"fit", "targets"},
    {"passes"},
    {"pipeline"},
    {"report"},
    {"demo"},
    {"cli", "testing"},
]
RANK = {name: rank for rank, names in enumerate(ORDER) for name in names}
CONFINED = {
    "cattrs": ("io/records",),
    "yaml": ("io/yaml_file",),
    "onnx": ("io", "execute/oracles/onnxruntime_cpu"),
    "onnx_graphsurgeon": ("io/graphsurgeon",),
    "onnxruntime": (
        "execute/ort",
        "execute/oracles/onnxruntime_cpu",
        "execute/oracles/qnn_htp",
    ),
    "onnxruntime_qnn": ("execute/oracles/qnn_htp",),
    "openvino": ("execute/oracles/openvino_cpu",),
    "tensorrt_rtx_bindings": ("execute/oracles/tensorrt_cpu",),
    "torch": ("execute/torch", "train"),
    "click": ("cli",),
    "matplotlib": ("report/plots",),
    "rich": ("cli",),
    "PIL": ("calib/images",),
    "pytest": ("testing",),
    "networkx": ("analysis", "passes"),
    "threadpoolctl": ("execute/threads",),
    "scipy": ("analysis", "fit", "passes", "pipeline/mixed_precision"),
}
ORACLES = sorted(p.stem for p in (ROOT / "execute" / "oracles").glob("*_*.py") if p.stem[0] != "_")
FILES = sorted(p for p in ROOT.rglob("*.py") if p.relative_to(ROOT).as_posix() != "__init__.py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{a.name}" for a in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_flow_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).with_suffix("").as_posix()
    if own == "__main__":
        return
    folder = own.split("/")[0]
    assert folder in RANK, f"{folder} has no place in the order"
    for name in imported(path):
        top, *rest = name.split(".")
        assert name != "slimc", f"{own} imports slimc itself"
        if top != "slimc" or not rest or rest[0] not in RANK:
            continue
        other = rest[0]
        assert other == folder or RANK[other] < RANK[folder], f"{own} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_third_parties_are_confined(path: Path) -> None:
    own = path.relative_to(ROOT).with_suffix("").as_posix()
    for name in imported(path):
        top = name.split(".")[0]
        if top in CONFINED:
            places = CONFINED[top]
            assert any(own == p or own.startswith(p + "/") for p in places), f"{own} imports {top}"
        else:
            known = {"slimc", "numpy", "ml_dtypes", "_pytest", "google"}
            assert top in known or top in sys.stdlib_module_names, f"{own} imports {top}"


@pytest.mark.parametrize("oracle", ["child", *ORACLES])
def test_oracles_run_where_slimc_is_not(oracle: str) -> None:
    """Other interpreters run them, by path."""
    names = imported(ROOT / "execute" / "oracles" / f"{oracle}.py")
    assert not [name for name in names if name.split(".")[0] == "slimc"]


def test_sizes_of_files_and_functions() -> None:
    for path in FILES:
        text = path.read_text()
        own = path.relative_to(ROOT).as_posix()
        if not own.startswith("ops/"):
            assert text.count("\n") <= 400, f"{own} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 60, f"{own}: {node.name} has {length} lines"
