"""Rules on If: what TensorRT's builders refuse of branches is found, and nothing else."""

from __future__ import annotations

import pytest

from slimc.io.read import FileHeader
from slimc.ir.text import parse_text
from slimc.ops import OPS
from slimc.targets.check import check
from slimc.targets.target import Subject, Target
from slimc.targets.tensorrt.devices import JETSON_NANO, JETSON_ORIN, JETSON_ORIN_JP51, TRT_A100

INPUTS = "graph (%x: f32[2,3], %c: bool[]) -> (%y)"
BY_SIZE = """graph (%x: f32[N,3]) -> (%y)
  %at = constant i64[] 0
  %two = constant i64[] 2
  %sizes: i64[2] = Shape(%x)
  %size: i64[] = Gather(%sizes, %at)
  %c: bool[] = Equal(%size, %two)"""
UNSQUEEZE = "%e: f32[?] = Unsqueeze(%x, %k)"
LSTM = "LSTM(%s, %w, %r) {hidden_size=4} @lstm"
STEPS = """graph (%s: f32[3,2,8], %x: f32[1,2,4], %z: f32[3,1,2,4], %c: bool[]) -> (%y)
  %w = constant f32[1,16,8] random(0)
  %r = constant f32[1,16,4] random(1)"""
ROWS = "graph (%x: f32[3], %s: f32[2,3], %n: i64[], %go: bool[], %c: bool[]) -> (%y)"


def branches(head: str, then: str, other: str = "%e: f32[?] = Neg(%x)") -> str:
    return f"""{head}
  %k = constant i64[1] [0]
  %y: f32[?] = If(%c) @if
    then_branch = graph () -> (%t)
      {then}
    else_branch = graph () -> (%e)
      {other}"""


def found(text: str, target: Target) -> list[tuple[str, str]]:
    findings = check(Subject(parse_text(text), OPS, target, FileHeader(17, 8)))
    rules = ("equal-branches", "loops-in-branches")
    return [(one.rule, one.severity) for one in findings if one.rule in rules]


ABS = "%t: f32[2,3] = Abs(%x)"
AXES = branches(INPUTS, ABS, UNSQUEEZE)
SIZES = branches(INPUTS, ABS, "%e: f32[?] = Concat(%x, %x) {axis=0}")
AXES_BY_SIZE = branches(BY_SIZE, "%t: f32[N,3] = Abs(%x)", UNSQUEEZE)


@pytest.mark.parametrize("target", [JETSON_NANO, JETSON_ORIN_JP51, JETSON_ORIN])
def test_before_10_13_branches_have_one_shape(target: Target) -> None:
    for text in (AXES, SIZES, AXES_BY_SIZE):
        assert found(text, target) == [("equal-branches", "error")]


def test_later_ones_need_as_many_axes() -> None:
    assert found(AXES, TRT_A100) == [("equal-branches", "error")]
    assert found(SIZES, TRT_A100) == []
    assert found(AXES_BY_SIZE, TRT_A100) == []  # built for one size, it is constant


EQUAL = {
    "one shape": branches(INPUTS, ABS),
    "a constant condition": branches(
        INPUTS.replace(", %c: bool[]", "") + "\n  %c = constant bool[] true", ABS, UNSQUEEZE
    ),
    "a condition of known sizes": branches(BY_SIZE.replace("N,3", "2,3"), ABS, UNSQUEEZE),
    "unknown sizes": branches(INPUTS.replace("2,3", "A,3"), "%t: f32[?] = Concat(%x, %x) {axis=0}"),
}


@pytest.mark.parametrize("case", list(EQUAL))
def test_what_may_be_equal_is_no_fault(case: str) -> None:
    for target in (JETSON_NANO, JETSON_ORIN, TRT_A100):
        assert found(EQUAL[case], target) == []


LOOP = """%t: f32[3], %all: f32[?] = Loop(%n, %go, %x) @loop
        body = graph (%i: i64[], %b: bool[], %v: f32[3]) -> (%b2, %v2, %o)
          %b2: bool[] = Identity(%b)
          %v2: f32[3] = Abs(%v)
          %o: f32[3] = Neg(%v)"""
SCAN = """%t: f32[3], %all: f32[2,3] = Scan(%x, %s) {num_scan_inputs=1} @scan
        body = graph (%v: f32[3], %row: f32[3]) -> (%v2, %o)
          %v2: f32[3] = Add(%v, %row)
          %o: f32[3] = Abs(%v2)"""
UNREAD = {
    "LSTM": branches(STEPS, f"%all: f32[3,1,2,4], %t: f32[1,2,4] = {LSTM}"),
    "LSTM without a sequence": branches(STEPS, f"_, %t: f32[1,2,4] = {LSTM}"),
    "Loop": branches(ROWS, LOOP),
    "Scan": branches(ROWS, SCAN),
}


@pytest.mark.parametrize("case", list(UNREAD))
def test_loops_in_branches_have_all_steps_read(case: str) -> None:
    assert found(UNREAD[case], TRT_A100) == [("loops-in-branches", "error")]
    assert found(UNREAD[case], JETSON_ORIN) == [("loops-in-branches", "info")]


SUM = "%t: f32[1,2,4] = Add(%sum, %h)"
READ = {
    "the sequence": branches(STEPS, f"%t: f32[3,1,2,4] = {LSTM}", "%e: f32[?] = Neg(%z)"),
    "both": branches(
        STEPS,
        f"%all: f32[3,1,2,4], %h: f32[1,2,4] = {LSTM}\n"
        f"      %sum: f32[1,2,4] = ReduceSum(%all, %k) {{keepdims=0}}\n      {SUM}",
    ),
    "a loop without results of steps": branches(
        ROWS, LOOP.replace(", %all: f32[?]", "").replace(", %o)", ")").rpartition("\n")[0]
    ),
    "no branch": STEPS.replace(", %c: bool[]", "") + f"\n  _, %y: f32[1,2,4] = {LSTM}",
}


@pytest.mark.parametrize("case", list(READ))
def test_loops_that_build_are_no_fault(case: str) -> None:
    for target in (JETSON_ORIN, TRT_A100):
        assert found(READ[case], target) == []
