from __future__ import annotations

from pathlib import Path

import pytest

import slimc
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.ir.types import DType
from slimc.pipeline.catalogue import catalogue
from slimc.targets.grids import S8
from slimc.targets.target import Target
from slimc.targets.tensorrt.devices import JETSON_ORIN


def read(tmp_path: Path, text: str, name: str = "board.toml") -> Target:
    path = tmp_path / name
    path.write_text(text)
    return catalogue().target(str(path))


def test_what_is_not_said_is_the_base(tmp_path: Path) -> None:
    made = read(tmp_path, 'base = "jetson-orin"')
    assert (made.name, made.base) == ("board", "jetson-orin")
    assert made.summary == f"{JETSON_ORIN.summary}; changed by board.toml"
    assert (made.schemes, made.rules, made.speed) == (
        JETSON_ORIN.schemes, JETSON_ORIN.rules, JETSON_ORIN.speed
    )  # fmt: skip


def test_tables_are_merged_key_by_key(tmp_path: Path) -> None:
    made = read(
        tmp_path,
        """
        base = "jetson-orin"
        name = "mine"
        opset_max = 18
        floats = ["f32", "f16"]
        plugins = {add = ["Mine_TRT"], remove = ["Clip_TRT"]}
        [schemes.int8]
        MatMul = false
        Conv = {weights = {low = -64, high = 63}, only = {group = ["absent", 1]}}
        Mul = {activations = "s8", short = [4, 32]}
        [schemes.plain.Gemm]
        weights = {dtype = "i8", low = -127, high = 127, symmetric = true}
        [placement]
        residual = "both"
        [forbids]
        Einsum = "why"
        [rules]
        remove = ["aligned-channels"]
        """,
    )
    base = JETSON_ORIN
    assert (made.name, made.opset_max, made.floats) == ("mine", 18, (DType.F32, DType.F16))
    assert made.plugins == (base.plugins | {"Mine_TRT"}) - {"Clip_TRT"}
    rows = made.schemes["int8"]
    assert "MatMul" not in rows
    weights, was = rows["Conv"].weights, base.schemes["int8"]["Conv"].weights
    assert weights is not None
    assert was is not None
    assert (weights.low, weights.high, weights.per_channel) == (-64, 63, was.per_channel)
    assert rows["Conv"].only == {"group": (None, 1)}
    assert rows["Conv"].activations == base.schemes["int8"]["Conv"].activations
    assert (rows["Mul"].activations, rows["Mul"].short) == (S8, (4, 32))
    assert made.schemes["plain"]["Gemm"].activations is None
    assert made.placement is not None
    assert base.placement is not None
    assert (made.placement.residual, made.placement.bias) == ("both", base.placement.bias)
    assert made.forbids == {**base.forbids, "Einsum": "why"}
    assert [r.name for r in base.rules if r not in made.rules] == ["aligned-channels"]


def test_a_file_may_start_from_another(tmp_path: Path) -> None:
    (tmp_path / "family.toml").write_text('base = "generic-onnx"\nopset = 15\n')
    made = read(tmp_path, 'base = "family.toml"\nopset_max = 16\n')
    assert (made.opset, made.opset_max, made.base) == (15, 16, str(tmp_path / "family.toml"))


def test_a_part_may_be_taken_away(tmp_path: Path) -> None:
    made = read(tmp_path, 'base = "generic-onnx"\nplacement = false\n[schemes]\n' + "\n".join(
        f"{name} = false" for name in ("int8", "int16-act", "fp8")
    ))  # fmt: skip
    assert made.placement is None
    assert "int8" not in made.schemes


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("base = ", "it is no TOML: invalid value", ""),
        (f'base = "cpu-avx2"\nopset = {"1" * 5000}', "it is no TOML: exceeds the limit", ""),
        ("opset = 17", "it names no target to start from", "'base' in "),
        ('base = "jetson-orion"', "there is no target 'jetson-orion'", "'base' in "),
        ('base = "board.toml"', "is it a circle", "'base' in "),
        ('base = "cpu-avx2"\nopset_maxx = 3', "there is no such key", "'opset_maxx' in "),
        ('base = "cpu-avx2"\nsuit = "x"', "it comes from the base", "'suit' in "),
        ('base = "cpu-avx2"\nopset = "17"', "expected a whole number, found '17'", "'opset' in "),
        ('base = "cpu-avx2"\nfuse_bias = 1', "expected true or false, found 1", "'fuse_bias' in "),
        ('base = "cpu-avx2"\nopset = 19\nopset_max = 18', "opsets 19 to 18", "'opset' in "),
        ('base = "cpu-avx2"\nfloats = ["f33"]', "'f33' is not an element type", "'floats.0' in "),
        ('base = "cpu-avx2"\nprefer = "f16"', "f16 is none of its floats", "'prefer' in "),
        ('base = "cpu-avx2"\nplacement = 3', "expected a table, found 3", "'placement' in "),
        ('base = "cpu-avx2"\nplacement = false', "need Q and DQ somewhere", "'placement' in "),
        (
            'base = "cpu-avx2"\nplacement = {bias = "int"}',
            "'int' is none of its values",
            "'placement.bias' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Conv.wieghts = "w8"',
            "there is no such key",
            "'schemes.int8.Conv.wieghts' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Cnv.weights = "w8"',
            "there is no such operator",
            "'schemes.int8.Cnv' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Cnv = false',
            "there is none to take away",
            "'schemes.int8.Cnv' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Conv.weights.low = -200',
            "-200..127 are no integers of i8",
            "'schemes.int8.Conv.weights' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.new.Conv.weights = {low = 1}',
            "it lacks 'dtype'",
            "'schemes.new.Conv.weights' in ",
        ),
        (
            'base = "cpu-avx2"\nplugins = {remove = ["X"]}',
            "there is no 'X'",
            "'plugins.remove' in ",
        ),
        ('base = "cpu-avx2"\nrules = []', "rules are those of the base", "'rules' in "),
        (
            'base = "cpu-avx2"\nrules.remove = ["x"]',
            "there is no rule 'x'",
            "'rules.remove' in ",
        ),
        (
            'base = "cpu-avx2"\nforbids.Einsm = "x"',
            "no such operator of ONNX",
            "'forbids.Einsm' in ",
        ),
        ('base = "cpu-avx2"\nname = 3', "expected a text", "'name' in "),
        ('base = "cpu-avx2"\nspeed.measured = {}', "no such key", "'speed.measured' in "),
        (f"a = {'[' * 3000}", "nested too deep", ""),
        (f"a = '{'x' * (1 << 20)}'", "more than 1 MiB", ""),
        ('base = "cpu-avx2"\nname = "../x"', "no name may have", "'name' in "),
        ('base = "cpu-avx2"\nname = "a\\nb"', "no name may have", "'name' in "),
        ('base = "cpu-avx2"\nversion = "new"', "no version such as", "'version' in "),
        ('base = "cpu-avx2"\nalign_float = 0', "expected 1 or more", "'align_float' in "),
        ('base = "cpu-avx2"\nir_version = 99', "above ir_version_max", "'ir_version' in "),
        ('base = "cpu-avx2"\nspeed.macs = 0', "a number above 0", "'speed.macs' in "),
        ('base = "cpu-avx2"\nspeed.bytes = nan', "a number, found nan", "'speed.bytes' in "),
        ('base = "cpu-avx2"\nspeed.node_seconds = -1', "0 or more", "'speed.node_seconds' in "),
        ('base = "cpu-avx2"\nfloats = ["i8"]\nprefer = "i8"', "no type of floats", "'floats' in "),
        (
            'base = "cpu-avx2"\nschemes.int8.Conv.min_channels = -1',
            "expected 0 or more",
            "'schemes.int8.Conv.min_channels' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Sigmoid.result = [1, 0]',
            "ends before it begins",
            "'schemes.int8.Sigmoid.result' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Conv.activations.dtype = "string"',
            "no type of integers",
            "'schemes.int8.Conv.activations' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Conv.activations.symmetric = true',
            "hold no negative numbers",
            "'schemes.int8.Conv.activations' in ",
        ),
        (
            'base = "cpu-avx2"\nschemes.int8.Conv.weights.block = -1',
            "0 or more",
            "'schemes.int8.Conv.weights' in ",
        ),
    ],
)
def test_what_is_wrong_names_file_and_key(
    tmp_path: Path, text: str, message: str, where: str
) -> None:
    with pytest.raises(SlimcError, match=message.replace("(", r"\(")) as caught:
        read(tmp_path, text)
    assert caught.value.name == "bad-target"
    assert caught.value.where.startswith(f"{where}target file '")
    assert "board.toml" in caught.value.where


def test_a_typing_error_is_mended(tmp_path: Path) -> None:
    with pytest.raises(SlimcError) as caught:
        read(tmp_path, 'base = "cpu-avx2"\nopset_maxx = 3')
    assert caught.value.help.startswith("did you mean 'opset_max'?")


def test_names_that_slimc_knows_are_taken(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="the name 'jetson' is taken"):
        read(tmp_path, 'base = "cpu-avx2"\nname = "jetson"')


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="there is no such file"):
        catalogue().target(str(tmp_path / "none.toml"))


def test_a_python_file_has_a_target(tmp_path: Path) -> None:
    text = """\
from dataclasses import replace
from slimc.targets.generic import GENERIC_ONNX
TARGET = replace(GENERIC_ONNX, name="mine", opset=15)
"""
    assert read(tmp_path, text, "board.py").opset == 15
    with pytest.raises(SlimcError, match=r"expected TARGET = a slimc\.Target"):
        read(tmp_path, "x = 1", "other.py")


def test_a_compile_takes_the_file(tmp_path: Path) -> None:
    graph = parse_text("""\
graph (%x: f32[N,32,8,8]) -> (%y)
  %w = constant f32[32,32,3,3] random(0)
  %y: f32[N,32,6,6] = Conv(%x, %w) @conv
""")
    path = tmp_path / "narrow.toml"
    path.write_text('base = "generic-onnx"\n[schemes.int8]\nConv = {min_channels = 64}\n')
    assert slimc.compile(graph, "quant").report.integer_intended == 1
    made = slimc.compile(graph, "quant", str(path))
    assert (made.report.integer_intended, made.report.target) == (0, "narrow")
    assert made.target.source == str(path)


def test_a_failing_pass_is_repeated_for_the_file(tmp_path: Path) -> None:
    path = tmp_path / "float.toml"
    path.write_text('base = "jetson-nano"\n')
    graph = parse_text("graph (%x: f32[4]) -> (%y)\n  %y: f32[4] = Exp(%x)")
    with pytest.raises(SlimcError) as caught:
        slimc.compile(graph, "quant{scheme=int8}", str(path), dump=tmp_path / "dump")
    assert caught.value.help.endswith(f"--target {path}")
