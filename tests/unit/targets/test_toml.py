"""Tables <-> targets: what is shown of a target reads back as that target."""

from __future__ import annotations

import json
import tomllib
from typing import Any, get_type_hints

import pytest

from slimc.pipeline.catalogue import catalogue
from slimc.targets.target import Target
from slimc.targets.toml import Place, as_table, merged

BY_HAND = [
    key
    for key in get_type_hints(Target)
    if key not in ("rules", "suit", "misfit", "companions", "chosen", "source", "base")
]
HINTS = get_type_hints(Target)


@pytest.mark.parametrize("name", list(catalogue().targets))
def test_a_table_reads_back(name: str) -> None:
    target = catalogue().target(name)
    table = json.loads(json.dumps(as_table(target)))
    for key in BY_HAND:
        value = getattr(target, key)
        start: Any = type(value)() if isinstance(value, dict) else getattr(Target, key, value)
        made = merged(HINTS[key], table[key], start, Place("t"))
        assert made == value, key


def test_functions_and_rules_are_told() -> None:
    table = as_table(catalogue().target("jetson-orin-dla"))
    assert (table["suit"], table["misfit"]) == (True, True)
    assert {"code", "name", "summary", "fix"} == set(table["rules"][0])


def test_numbers_without_a_point_are_numbers() -> None:
    speed = catalogue().target("cpu-avx2").speed
    made = merged(HINTS["speed"], tomllib.loads("macs = 3"), speed, Place("t"))
    assert (made.macs, type(made.macs), made.bytes) == (3.0, float, speed.bytes)
