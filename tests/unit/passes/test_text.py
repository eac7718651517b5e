from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from slimc.errors import SlimcError
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.passes.text import options_of, parse_passes, passes_text


@dataclass(frozen=True)
class Cut(Pass):
    """Cut."""

    name: ClassVar[str] = "cut-channels"
    ratio: float = option(0.3, help="how much")
    budget: Literal["macs", "parameters"] = option("macs", help="of what")
    align: int | None = option(None, help="multiple")
    keep: tuple[str, ...] = option((), help="nodes to leave alone")
    exact: bool = option(False, help="or else")
    title: str = option("", help="any text")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return PassResult(graph)


@dataclass(frozen=True)
class Mend(Pass):
    """Mend."""

    name: ClassVar[str] = "mend"
    ratio: float = option(0.5, help="how much")
    rounds: int = option(1, help="how often")
    widths: tuple[int, ...] = option((), help="some numbers")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        return PassResult(graph)


PASSES = (Cut, Mend)
STAGES = {"prune": (Cut, Mend)}


def parse(text: str) -> tuple[Pass, ...]:
    return parse_passes(text, PASSES, STAGES)


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", ()),
        ("mend", (Mend(),)),
        ("prune", (Cut(), Mend())),
        ("prune{ratio=0.4}", (Cut(ratio=0.4), Mend(ratio=0.4))),
        ("prune{rounds=3,exact=true}, mend", (Cut(exact=True), Mend(rounds=3), Mend())),
        ('cut-channels{keep=["head/*", b]}', (Cut(keep=("head/*", "b")),)),
        ('cut-channels{keep="one"}', (Cut(keep=("one",)),)),
        ("cut-channels{keep=[head/*,b:0]}", (Cut(keep=("head/*", "b:0")),)),
        ("cut-channels{budget=parameters,align=8}", (Cut(budget="parameters", align=8),)),
        ("cut-channels{align=none}", (Cut(),)),
        ('cut-channels{title="none, [\\"x\\"]"}', (Cut(title='none, ["x"]'),)),
        ("mend{widths=[8,16]}", (Mend(widths=(8, 16)),)),
        ("mend{ratio=1e-3}", (Mend(ratio=0.001),)),
    ],
)
def test_text_and_passes_round_trip(text: str, passes: tuple[Pass, ...]) -> None:
    assert parse(text) == passes
    assert parse(passes_text(passes)) == passes


@pytest.mark.parametrize("title", ["", "none", "true", "7", "a b", 'q"q', "x,y", "a{b}", "ü"])
def test_texts_of_every_sort_come_back(title: str) -> None:
    passes = (Cut(title=title, keep=(title, "x")),)
    assert parse(passes_text(passes)) == passes


@pytest.mark.parametrize(
    ("text", "name", "message", "help"),
    [
        ("prun", "unknown-pass", "there is no pass or stage 'prun'", "did you mean 'prune'?"),
        ("mend{round=2}", "unknown-option", "'mend' has no option 'round'", "'rounds'?"),
        ("prune{budgets=macs}", "unknown-option", "'prune' has no option 'budgets'", "'budget'?"),
        (
            "prune{budget=mac}",
            "bad-option-value",
            "option 'budget' of 'prune' takes macs | parameters, not 'mac'",
            "did you mean 'macs'? known: macs, parameters",
        ),
        ("mend{rounds=two}", "bad-option-value", "takes int, not 'two'", ""),
        ("mend{rounds=1.5}", "bad-option-value", "takes int, not '1.5'", ""),
        ("mend{rounds=[1]}", "bad-option-value", "takes int, not [1]", "not a list"),
        ("cut-channels{exact=yes}", "bad-option-value", "takes bool", "true or false"),
        ("cut-channels{align=x}", "bad-option-value", "takes int | none, not 'x'", ""),
        ('mend{rounds="1"}', "bad-option-value", "takes int", "leave out the quotes"),
        ("mend{rounds}", "text-syntax", "expected '=', found '}'", ""),
        ("mend mend", "text-syntax", "expected ',', found 'mend'", ""),
        ("mend{rounds=1", "text-syntax", "expected ','", ""),
        ("{}", "text-syntax", "expected the name of a pass or stage", ""),
    ],
)
def test_mistakes_are_named(text: str, name: str, message: str, help: str) -> None:
    with pytest.raises(SlimcError, match=re.escape(message)) as caught:
        parse(text)
    assert caught.value.name == name
    assert help in caught.value.help


def test_options_are_described_from_the_fields() -> None:
    described = [(o.name, o.kind, o.default) for o in options_of(Cut)]
    assert described == [
        ("ratio", "float", "0.3"),
        ("budget", "macs | parameters", "macs"),
        ("align", "int | none", "none"),
        ("keep", "list of str", "[]"),
        ("exact", "bool", "false"),
        ("title", "str", ""),
    ]
    assert options_of(Cut)[0].help == "how much"
