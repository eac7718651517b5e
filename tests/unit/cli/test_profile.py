"""`slimc profile` from outside: what it prints and writes, and mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slimc.cli import main

TEXT = "\n".join(
    [
        "graph (%v0: f32[1,64,8,8]) -> (%v9)",
        *(f"  %w{i} = constant f32[64,64,3,3] random({i})" for i in range(9)),
        *(
            f"  %v{i + 1}: f32[1,64,8,8] = Conv(%v{i}, %w{i}) {{pads=[1, 1, 1, 1]}} @Conv_{i}"
            for i in range(9)
        ),
    ]
)
Out = tuple[int, str, str]
Slimc = Callable[..., Out]


@pytest.fixture
def slimc(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Slimc:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.txt").write_text(TEXT)
    rows = [{"name": f"Conv_{i}", "averageMs": 0.1 + 0.01 * i} for i in range(9)]
    (tmp_path / "t.json").write_text(json.dumps([{"count": 5}, *rows]))

    def call(*words: str) -> Out:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


def test_a_profile_is_measured_written_and_used(slimc: Slimc, tmp_path: Path) -> None:
    status, out, _ = slimc("profile", "net.txt", "--rounds", "4", "-o", "m.json")
    assert status == 0
    assert "class of work" in out
    assert "off by" in out
    assert "written: m.json" in out
    assert json.loads((tmp_path / "m.json").read_text())["format"] == "slimc-profile-1"
    status, out, _ = slimc(
        "net.txt",
        "--passes",
        "remove-channels{budget=latency,compare=score,score=magnitude}",
        "--target",
        "cpu",
        "--profile",
        "m.json",
    )
    assert status == 0
    assert "latency is predicted by the profile of" in out


def test_times_of_a_device_are_read(slimc: Slimc) -> None:
    status, out, _ = slimc(
        "profile", "net.txt", "--target", "jetson", "--from", "t.json", "--json", "--device", "Orin"
    )
    found = json.loads(out)
    assert status == 0
    assert (found["device"], found["target"], found["threads"]) == ("Orin", "jetson-orin", 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "t.json", "--rounds", "9"], "option --rounds"),
        (["--from", "t.json", "--calib", "d"], "option --calib"),
        (["--layers", "l.json"], "option --layers"),
        (["--from", "t.json", "--from", "t.json"], "2 files for 1 models"),
        (["--calib", "a", "--calib", "b"], "2 places of samples for 1 models"),
        (["--from", "t.json"], "trtexec measures TensorRT"),
        (["-o", "net.txt"], "error[input-overwritten]"),
        (["--target", "jetson"], "error[cannot-measure-here]"),
        (["--target", "jetsom"], "did you mean"),
    ],
)
def test_mistakes_are_said(slimc: Slimc, words: list[str], said: str) -> None:
    status, _, err = slimc("profile", "net.txt", *words)
    assert (status, said in err) == (2, True), err


def test_a_file_that_is_no_profile(slimc: Slimc, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[" * 100_000)
    status, _, err = slimc("net.txt", "--passes", "prune", "--profile", "p.json")
    assert (status, "error[bad-profile]" in err) == (2, True), err
