from __future__ import annotations

from pathlib import Path

import pytest

from slimc.targets.onnxruntime.machine import choose, flags


@pytest.mark.parametrize(
    ("machine", "found", "name"),
    [
        ("x86_64", {"sse4_2", "avx2"}, "cpu-avx2"),
        ("x86_64", {"avx2", "avx_vnni"}, "cpu-vnni"),
        ("x86_64", {"avx2", "avx512f", "avx512_vnni"}, "cpu-vnni"),
        ("x86_64", {"avx2", "avx512_vnni", "amx_int8"}, "cpu-amx"),
        ("AMD64", set(), "cpu-avx2"),
        ("aarch64", {"asimd"}, "cpu-arm64"),
        ("arm64", set(), "cpu-arm64"),
    ],
)
def test_the_target_follows_from_machine_and_flags(
    machine: str, found: set[str], name: str
) -> None:
    target = choose(machine, frozenset(found))
    assert target.name == name
    assert target.chosen.startswith(f"cpu stands for {name}: ")


def test_flags_are_those_of_the_first_cpu(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert flags(file) == {"fpu", "avx2"}
    assert flags(tmp_path / "none") == frozenset()
