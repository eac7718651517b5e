"""Every backend test of onnx that onnxruntime runs gives the same after reading and writing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx.backend.test.loader import load_model_tests
from onnxruntime_raw import FAILURES, run_model

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.io.downgrade import OLDEST
from slimc.io.read import from_model
from slimc.io.write import to_bytes
from slimc.ir.graph import OPSET
from slimc.ir.text import parse_text, to_text
from slimc.ir.verify import find_problems

# Runs of the same kernel differ by nothing; another opset's kernel may sum in another order.
TOLERANCE = 1e-6
DECOMPOSED_TOLERANCE = 1e-5  # several f32 roundings in place of one
F16_OR_BF16 = ("_fp16", "_causal_fp16", "_bfloat16")  # decomposed, they round at every step

# In the newest opset onnxruntime has no kernel, or another one (Attention in f16, or with -inf).
ONLY_OLDER = ("test_attention", "test_dynamicquantizelinear", "test_if_opt", "test_loop16_seq_none",
              "test_swish")  # fmt: skip


@dataclass(frozen=True)
class Case:
    name: str
    model: onnx.ModelProto
    feeds: tuple[Mapping[str, Any], ...]
    wanted: tuple[list[Any], ...]

    @property
    def opset(self) -> int:
        return max((o.version for o in self.model.opset_import if not o.domain), default=OPSET)


@pytest.fixture(scope="module")
def cases() -> tuple[Case, ...]:
    """Return the cases that onnxruntime runs as they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx makes some cases by dividing by zero
        kinds = ("node", "simple", "pytorch-converted", "pytorch-operator")
        tests = [test for kind in kinds for test in load_model_tests(kind=kind)]
    return tuple(case for test in tests if (case := _runnable(test)))


def _runnable(test: Any) -> Case | None:
    model = test.model or onnx.load(Path(test.model_dir) / "model.onnx")
    names = [i.name for i in model.graph.input]
    sets = test.data_sets or _data_sets(Path(test.model_dir))
    feeds = tuple(dict(zip(names, inputs, strict=False)) for inputs in sets)
    if test.data_sets:
        feeds = tuple(dict(zip(names, inputs, strict=False)) for inputs, _ in sets)
    try:
        wanted = tuple(run_model(model.SerializeToString(), feed) for feed in feeds)
    except FAILURES:
        return None
    return Case(test.name, model, feeds, wanted)


def _data_sets(folder: Path) -> list[list[onnx.TensorProto]]:
    found = []
    for data_set in sorted(folder.glob("test_data_set_*")):
        files = sorted(data_set.glob("input_*.pb"), key=lambda f: int(f.stem.split("_")[1]))
        found.append([onnx.load_tensor(file) for file in files])
    return found


def _differing(case: Case, data: bytes, tolerance: float = TOLERANCE) -> Iterator[str]:
    inputs = {i.name for i in onnx.load_from_string(data).graph.input}
    for feed, wanted in zip(case.feeds, case.wanted, strict=True):
        try:
            got = run_model(data, {k: v for k, v in feed.items() if k in inputs})
        except FAILURES as error:
            yield f"{case.name}: {error}"
            return
        worst = max(map(difference, wanted, got), default=0.0)
        if worst > tolerance or len(wanted) != len(got):
            yield f"{case.name}: differs by {worst}"


def test_all_survive_in_the_lowest_opset(
    cases: tuple[Case, ...], record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    broken: list[str] = []
    for case in cases:
        try:
            graph = from_model(case.model)
            broken += [f"{case.name}: {p}" for p in find_problems(graph)]
            broken += _differing(case, to_bytes(graph))
        except SlimcError as error:
            broken.append(f"{case.name}: {error}")
    survivors = f"{len(cases) - len(broken)} of {len(cases)}"
    record_property("survivors", survivors)
    with capsys.disabled():
        print(f"\nbackend tests of onnx that survive reading and writing: {survivors}")
    assert not broken, "\n".join(broken)
    assert len(cases) >= 1850  # fewer: the test does not run them any more


def test_all_survive_in_the_newest_opset(cases: tuple[Case, ...]) -> None:
    broken = [
        problem
        for case in cases
        if not case.name.startswith(ONLY_OLDER)
        for problem in _differing(case, to_bytes(from_model(case.model), OPSET))
    ]
    assert not broken, "\n".join(broken)


def test_all_survive_in_their_own_opset(cases: tuple[Case, ...]) -> None:
    broken = [
        problem
        for case in cases
        if OLDEST < case.opset < OPSET
        for problem in _differing(case, to_bytes(from_model(case.model), case.opset))
    ]
    assert not broken, "\n".join(broken)


@pytest.mark.parametrize(("opset", "at_least"), [(13, 880), (17, 770)])
def test_an_older_opset_gives_the_same_or_is_refused(
    cases: tuple[Case, ...], opset: int, at_least: int
) -> None:
    broken = []
    written = 0
    for case in cases:
        if case.opset <= opset or case.name.endswith(F16_OR_BF16):
            continue
        try:
            data = to_bytes(from_model(case.model), opset)
        except SlimcError as error:
            named = error.name == "opset-cannot-express" and error.where.startswith("node '")
            broken += [] if named else [f"{case.name}: {error}"]
        else:
            written += 1
            broken += _differing(case, data, DECOMPOSED_TOLERANCE)
    assert not broken, "\n".join(broken)
    assert written >= at_least


def test_all_survive_as_text(cases: tuple[Case, ...]) -> None:
    """The text form is as lossless as the file, notes of the file's maker aside."""
    broken = []
    for case in cases:
        graph = from_model(case.model)
        text = to_text(graph)
        if to_text(parse_text(text)) != text:
            broken.append(case.name)
    assert not broken, "\n".join(broken)
