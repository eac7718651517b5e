from __future__ import annotations

import numpy as np
import pytest

from slimc.calib.table import CalibrationTable, ValueRange
from slimc.errors import SlimcError


def test_json_reads_back_bit_for_bit() -> None:
    low, high = float(np.float32(-0.1)), 1 / 3
    table = CalibrationTable(
        {"x": ValueRange(low, high), "layer/y:0": ValueRange(0.0, 1e-38)}, "abc"
    )
    again = CalibrationTable.from_json(table.to_json())
    assert again.ranges == table.ranges
    assert again.key == "abc"
    assert again.to_json() == table.to_json()


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"ranges": {}}', '{"key": "", "ranges": {"x": [1]}}',
     '{"key": "", "ranges": {"x": [2, 1]}}', '{"key": "", "ranges": {"x": [NaN, 1]}}',
     '{"key": "", "ranges": {"x": [0, Infinity]}}', "[" * 100_000,
     f'{{"key": "", "ranges": {{"x": [0, 1{"0" * 400}]}}}}'],
)  # fmt: skip
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(SlimcError) as caught:
        CalibrationTable.from_json(text)
    assert caught.value.name == "bad-calibration-table"


def test_ranges_join() -> None:
    assert ValueRange(-1, 2).join(ValueRange(0, 5)) == ValueRange(-1, 5)
    assert ValueRange(-3, 2).magnitude == 3
