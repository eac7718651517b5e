"""What a stranger's model is called steers no terminal."""

from __future__ import annotations

import json

import pytest

from slimc.cli.console import harmless, say


def test_controls_are_written_as_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[31mb\x9b\rc\u202ed\n\te")
    assert capsys.readouterr().out == "a\\u001b[31mb\\u009b\\u000dc\\u202ed\n\te\n"


def test_json_reads_back() -> None:
    names = {"name": "\x1b\x7f\u202e\n"}
    assert json.loads(harmless(json.dumps(names, ensure_ascii=False))) == names
