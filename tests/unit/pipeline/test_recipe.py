from __future__ import annotations

from pathlib import Path

import pytest

from slimc.errors import SlimcError
from slimc.pipeline.recipe import Recipe, load_recipe


def test_a_recipe_may_say_all(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    passes = 'prune{ratio=0.3,keep=["head/*"]},quant'
    path.write_text(
        f"name: small\npasses: '{passes}'\ntarget: jetson\nbind: {{sr: 16000}}\nseed: 7\n"
    )
    assert load_recipe(path) == Recipe("small", passes, "jetson", {"sr": "16000"}, {}, 7)


def test_a_recipe_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(
        "# for the demo\npasses: >\n  prune{ratio=0.3},\n  quant\ntarget: cpu\n"
        "bind: {sr: 16000}\nshape:\n  x: 1x3x224x224\n"
    )
    assert load_recipe(path) == Recipe(
        "", "prune{ratio=0.3}, quant", "cpu", {"sr": "16000"}, {"x": "1x3x224x224"}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("passes: [prune]", "passes: expected a text, found a list"),
        ("pass: prune", "pass: there is no such key"),
        ("prune", "it holds no `key: value` lines"),
        ("seed: true", "seed: expected a whole number, found 'true'"),
        ("seed: [1]", "seed: expected a whole number, found a list"),
        (f"seed: {'9' * 5000}", "seed: expected a whole number, found '99"),
        ("bind: sr=1", "bind: expected a table, found 'sr=1'"),
        ("bind: {sr: [1]}", r"bind\['sr'\]: expected a text, found a list"),
        ("a: [", "it is no YAML"),
        ("!!python/object/apply:os.system ['true']", "it holds no `key: value` lines"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(SlimcError, match=message) as caught:
        load_recipe(path)
    assert caught.value.name == "bad-recipe"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SlimcError, match="it cannot be read"):
        load_recipe(tmp_path / "none.yaml")
