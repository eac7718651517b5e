"""What is wrong with a file is one error that leads to the place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from slimc.io.records import RecordError, parse_record, structure


@dataclass(frozen=True)
class Layer:
    name: str
    scale: float
    kind: Literal["conv", "gemm"] = "conv"

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError("a scale is negative")


@dataclass(frozen=True)
class Model:
    layers: tuple[Layer, ...]
    sizes: tuple[int, float]
    by_name: Mapping[str, Layer]
    quick: bool = False
    note: str | None = None


GOOD: Mapping[str, Any] = {
    "layers": [{"name": "a", "scale": 1, "kind": "gemm"}],
    "sizes": [1, 2],
    "by_name": {"b": {"name": "b", "scale": 0.5}},
}
LARGE = 10**400


def test_a_record_is_read_with_its_defaults() -> None:
    expected = Model((Layer("a", 1.0, "gemm"),), (1, 2.0), {"b": Layer("b", 0.5)})
    assert structure(GOOD, Model) == expected
    assert type(structure(GOOD, Model).layers[0].scale) is float


@pytest.mark.parametrize(
    ("change", "message", "help"),
    [
        ({"layers": "ab"}, "layers: expected a list, found 'ab'", ""),
        ({"layers": {"0": 1}}, "layers: expected a list, found a table", ""),
        ({"layers": [[1]]}, "layers[0]: expected a table, found a list", ""),
        ({"layers": [{"name": "a"}]}, "layers[0].scale: it is missing", ""),
        ({"layers": [{"name": 1, "scale": 1}]}, "layers[0].name: expected a text, found 1", ""),
        (
            {"layers": [{"name": "a", "scal": 1}]},
            "layers[0].scal: there is no such key",
            "did you mean 'scale'? known: name, scale, kind",
        ),
        (
            {"layers": [{"name": "a", "scale": 1, "kind": "gem"}]},
            "layers[0].kind: 'gem' is none of its values",
            "did you mean 'gemm'? known: conv, gemm",
        ),
        ({"layers": [{"name": "a", "scale": -1}]}, "layers[0]: a scale is negative", ""),
        (
            {"layers": [{"name": "a", "scale": float("inf")}]},
            "layers[0].scale: expected a number, found inf",
            "",
        ),
        (
            {"layers": [{"name": "a", "scale": LARGE}]},
            "layers[0].scale: expected a number, found a number of more than 64 bits",
            "",
        ),
        (
            {"sizes": [LARGE, 1]},
            "sizes[0]: expected a whole number, found a number of more than 64 bits",
            "",
        ),
        ({"sizes": [1]}, "sizes: expected 2 values, found 1", ""),
        ({"sizes": [1.5, 1]}, "sizes[0]: expected a whole number, found 1.5", ""),
        ({"sizes": [True, 1]}, "sizes[0]: expected a whole number, found True", ""),
        ({"by_name": [1]}, "by_name: expected a table, found a list", ""),
        ({"by_name": {"b": 3}}, "by_name['b']: expected a table, found 3", ""),
        ({"quick": 1}, "quick: expected true or false, found 1", ""),
        ({"note": 1}, "note: expected a text, found 1", ""),
    ],
)
def test_a_wrong_value_is_named_by_its_keys(
    change: dict[str, Any], message: str, help: str
) -> None:
    with pytest.raises(RecordError) as caught:
        structure({**GOOD, **change}, Model)
    assert (str(caught.value), caught.value.help) == (message, help)


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(RecordError) as caught:
        structure({**GOOD, "quick": "x" * 10_000}, Model)
    assert len(str(caught.value)) < 100


def test_many_wrong_items_are_one_error() -> None:
    """A stranger's file of a million wrong items makes no million exceptions."""
    with pytest.raises(RecordError) as caught:
        structure({**GOOD, "layers": [3] * 1_000_000}, Model)
    error: BaseException | None = caught.value.__cause__
    count = 0
    while isinstance(error, BaseExceptionGroup):
        count += len(error.exceptions)
        error = error.exceptions[0]
    assert count <= 2  # of the attribute, and of its first item


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it is not JSON"),
        ("[" * 20_000, "nested too deep"),
        ('{"format": "layer-1", "name": "a", "scale": NaN}', "NaN is not a number"),
        ('{"format": "layer-1", "name": "a", "scale": 1e999}', "scale: expected a number, found i"),
        (f'{{"format": "layer-1", "name": "a", "scale": {"1" * 5000}}}', "it is not JSON"),
        ('{"format": "layer-2"}', "found format 'layer-2', expected 'layer-1'"),
        ('{"name": "a"}', "found format None, expected 'layer-1'"),
        ("[3]", "found format a list, expected 'layer-1'"),
    ],
)
def test_text_of_another_format_is_refused(text: str, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        parse_record(text, Layer, "layer-1")
    assert message in str(caught.value)


def test_text_of_the_format_is_read() -> None:
    text = json.dumps({"format": "layer-1", "name": "a", "scale": 2})
    assert parse_record(text, Layer, "layer-1") == Layer("a", 2.0)
