"""The table of changes against the history of ONNX's own schemas."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from onnx import defs, helper

from slimc.io.forms import CHANGES
from slimc.ir.graph import OPSET

REQUIRED = defs.OpSchema.FormalParameterOption.Single


def histories() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for schema in defs.get_all_schemas_with_history():
        if not schema.domain:
            found.setdefault(schema.name, []).append(schema)
    return {op: sorted(s, key=lambda s: s.since_version) for op, s in found.items()}


def default(attribute: Any) -> Any:
    value = attribute.default_value
    return helper.get_attribute_value(value) if value.name else None


def breaks(old: Any, new: Any) -> Iterator[str]:
    """Yield why a node in the old form may not mean the same in the new one."""
    for key, attribute in old.attributes.items():
        if key not in new.attributes:
            yield f"attribute {key} is gone"
        elif default(attribute) != default(new.attributes[key]):
            yield f"attribute {key} has another default"
    for key, attribute in new.attributes.items():
        if key not in old.attributes and attribute.required:
            yield f"attribute {key} is required"
    for i, operand in enumerate(new.inputs):
        if operand.option == REQUIRED and (
            i >= len(old.inputs) or old.inputs[i].option != REQUIRED
        ):
            yield f"operand {operand.name} is required"
    if len(old.outputs) > len(new.outputs):
        yield "it has fewer results"


BUMPS = [
    (op, old, new)
    for op, schemas in histories().items()
    for old, new in pairwise(schemas)
    if new.since_version > 7 and not new.deprecated
]


def test_every_break_of_form_has_a_change() -> None:
    missing = []
    for op, old, new in BUMPS:
        known = {change.since for change in CHANGES.get(op, ())}
        reasons = list(breaks(old, new))
        if reasons and new.since_version not in known:
            missing.append(f"{op} {old.since_version} -> {new.since_version}: {reasons}")
    assert not missing, "\n".join(missing)


def test_changes_are_of_operators_and_opsets_that_exist() -> None:
    versions = {op: {s.since_version for s in schemas} for op, schemas in histories().items()}
    for op, changes in CHANGES.items():
        assert [c.since for c in changes] == sorted({c.since for c in changes})
        for change in changes:
            assert change.op == op
            assert change.since in versions[op], f"{op} did not change in opset {change.since}"


def test_new_attributes_without_a_default_have_a_way_down() -> None:
    """Else nothing would say what a node without the attribute means in an older opset."""
    missing = []
    for op, old, new in BUMPS:
        if new.since_version <= 13:
            continue
        known = {change.since for change in CHANGES.get(op, ())}
        added = [k for k in new.attributes if k not in old.attributes]
        silent = [k for k in added if default(new.attributes[k]) is None]
        if silent and new.since_version not in known:
            missing.append(f"{op} {new.since_version}: {silent}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("op", sorted(CHANGES))
def test_a_deprecated_operator_is_renamed(op: str) -> None:
    schemas = histories()[op]
    if schemas[-1].deprecated:
        assert CHANGES[op][-1].since == schemas[-1].since_version
    else:
        assert schemas[-1].since_version <= OPSET
