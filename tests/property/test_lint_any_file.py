"""Rules and fixes stand any ONNX file: the models that onnx itself ships for tests."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest

from slimc.io.read import FileHeader, from_model, read_with_header
from slimc.pipeline.catalogue import catalogue
from slimc.pipeline.inspect.fix import mend
from slimc.pipeline.inspect.lint import judge
from slimc.targets.target import Subject

DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
SIMPLE = sorted(DATA.glob("simple/*/*.onnx"))
LARGE = sorted((*DATA.glob("light/*.onnx"), *DATA.glob("pytorch-*/*/*.onnx")))
NAMES = catalogue()


def check_all(path: Path) -> None:
    """Judge and mend a file for every target; nothing raises."""
    graph, header = read_with_header(path)
    for name in NAMES.targets:
        subject = Subject(graph, NAMES.ops, NAMES.target(name), header)
        verdict = judge(subject)
        assert all(one.code and one.rule and one.message for one in verdict.findings)
        mend(subject, ())


@pytest.mark.parametrize("path", SIMPLE, ids=lambda path: path.parent.name)
def test_small_models(path: Path) -> None:
    check_all(path)


@pytest.mark.slow
@pytest.mark.parametrize("path", LARGE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_large_models(path: Path) -> None:
    check_all(path)


@pytest.mark.slow
def test_every_operator_of_onnx() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        cases = [case.model for case in collect_testcases(None) if case.model is not None]
    models = {case.graph.node[0].op_type: case for case in cases}.values()
    assert len(models) > 150
    for model in models:
        graph = from_model(model)
        header = FileHeader(model.opset_import[0].version, model.ir_version)
        for name in NAMES.targets:
            judge(Subject(graph, NAMES.ops, NAMES.target(name), header))
