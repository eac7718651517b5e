"""docs/rules.md tells of every rule of every target, as the code has it."""

from __future__ import annotations

import re
from pathlib import Path

from slimc.pipeline.catalogue import catalogue
from slimc.targets.check import SOUND_NODES
from slimc.targets.target import TargetRule

PAGE = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (L\d\d)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ENTRY = re.compile(r"^- `([a-z0-9-]+)`: (.*)$", re.MULTILINE)


def documented() -> dict[tuple[str, str], str]:
    return {
        (code, name): text
        for code, body in SECTION.findall(PAGE)
        for name, text in ENTRY.findall(body)
    }


def rules() -> dict[tuple[str, str], list[TargetRule]]:
    names = catalogue()
    found = {(SOUND_NODES.code, SOUND_NODES.name): [SOUND_NODES]}
    for target in names.targets:
        for rule in names.target(target).rules:
            found.setdefault((rule.code, rule.name), []).append(rule)
    return found


def test_every_rule_has_an_entry_and_every_entry_a_rule() -> None:
    assert set(documented()) == set(rules())
    codes = [code for code, _ in SECTION.findall(PAGE)]
    assert codes == sorted(codes)
    assert {f"L{number:02}" for number in range(1, 42)} <= set(codes)


def test_an_entry_starts_with_what_the_rule_asks_for() -> None:
    for key, text in documented().items():
        assert any(text.startswith(rule.summary) for rule in rules()[key]), key


def test_an_entry_tells_of_a_fix_where_there_is_one() -> None:
    for key, text in documented().items():
        fixed = any(rule.fix is not None for rule in rules()[key])
        assert fixed == ("**fix**" in text), key
