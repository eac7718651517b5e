"""Options of a compile are said once: in Python, on the command line, and in the docstring."""

from __future__ import annotations

from dataclasses import fields
from typing import get_type_hints

import pytest

from slimc.cli.compile import compile_command
from slimc.errors import SlimcError
from slimc.ir.text import parse_text
from slimc.pipeline.compiler import compile
from slimc.pipeline.options import CompileKeywords, CompileOptions

GRAPH = parse_text("graph (%x: f32[2,3]) -> (%y)\n  %y: f32[2,3] = Relu(%x) @act\n")


def test_keywords_of_type_checkers_are_the_fields() -> None:
    hints = get_type_hints(CompileKeywords)
    assert hints == {f.name: get_type_hints(CompileOptions)[f.name] for f in fields(CompileOptions)}


def test_every_option_has_its_sentence_in_the_docstring() -> None:
    text = " ".join((compile.__doc__ or "").split())
    for f in fields(CompileOptions):
        assert f.metadata["help"]
        assert f" {f.name}: {f.type} {f.metadata['help']}" in text


def test_flags_are_options_of_the_command() -> None:
    flags = {f.name: f.metadata["flag"].name for f in fields(CompileOptions) if f.metadata["flag"]}
    shown = {p.name: p.opts[0] for p in compile_command.params}
    assert flags.items() <= shown.items()
    assert {f.name for f in fields(CompileOptions)} - flags.keys() == {"names", "timer", "watcher"}


def test_a_wrong_keyword_is_named() -> None:
    with pytest.raises(SlimcError, match="compile has no option 'mesure'") as caught:
        compile(GRAPH, mesure=True)  # type: ignore[call-arg]  # that is the test
    assert caught.value.name == "unknown-option"
    assert "did you mean 'measure'" in caught.value.help
