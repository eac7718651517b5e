"""JSON of strangers: whatever is wrong with it is a ValueError that says what."""

from __future__ import annotations

from pathlib import Path

import pytest

from slimc.io.json_file import parse_json, read_json


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('{"a": NaN}', "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ("1" * 10_000, "it is not JSON"),
    ],
)
def test_what_is_no_json_is_a_value_error(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_a_file_is_read_if_it_is_text_and_not_too_large(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text('{"a": 1}')
    assert read_json(path) == {"a": 1}
    with pytest.raises(ValueError, match="more than 0 MiB"):
        read_json(path, most_bytes=4)
    path.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match="not UTF-8 text"):
        read_json(path)
    with pytest.raises(OSError, match="absent"):
        read_json(tmp_path / "absent.json")
