"""YAML of strangers: texts only, no aliases, and whatever is wrong is a ValueError."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimc.io.yaml_file import read_yaml

BOMB = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_scalars_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: no\nb: 012\nc: 1:30\nd: [1.0, ~]\ne: {f: 2020-01-01}\n")
    assert read_yaml(path) == {
        "a": "no",
        "b": "012",
        "c": "1:30",
        "d": ["1.0", "~"],
        "e": {"f": "2020-01-01"},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"line 2: aliases \(\*name\) are not read"),
        ("a: &x {b: *x}", "line 1: aliases"),
        ("<<: {a: 1}\n<<: {b: 1}", "line 2: '<<' is there twice"),
        ("a: 1\na: 2", "line 2: 'a' is there twice"),
        ("a: " + "[" * 20_000, "nested too deep|it is no YAML"),
        ("a: " + "[" * 20_000 + "]" * 20_000, "nested too deep"),
        ("a: " + "{b: " * 10_000 + "}" * 10_000, "nested too deep"),
        ("[a, b]", "it holds no `key: value` lines"),
        ("", "it holds no `key: value` lines"),
        ("? [a]\n: 1", "line 1: a key is no text"),
        ("a: [", "it is no YAML"),
        ("a: " + "x" * (1 << 16), "more than"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_plain_yaml_is_a_value_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_yaml(path)
