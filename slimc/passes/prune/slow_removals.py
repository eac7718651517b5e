"""Time what the removal of channels gains, and find the families whose removal does not pay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from slimc.analysis.cost import measure
from slimc.execute.speedup import Speedup
from slimc.ir.graph import Graph
from slimc.passes.context import Context
from slimc.passes.give_back import Decision, Names, Trial, decide, meaning
from slimc.passes.timing import Timing
from slimc.passes.traits import Trait
from slimc.remarks import Remark, join_names, note, skipped

Narrowed = Callable[[Mapping[str, int]], Graph]  # the graph with these widths of families


def find_slow_removals(
    rows: Sequence[Mapping[str, Any]], narrowed: Narrowed, ctx: Context, timing: Timing
) -> Decision:
    """Measure graphs with families given back. rows: of families, with their widths."""
    width = {row["name"]: row["width"] for row in rows}
    kept = {row["name"]: row["kept"] for row in rows}

    def macs(graph: Graph) -> int:
        return measure(graph, ctx.ops, ctx.sizes).macs

    def trial(families: Names, given_back: Names) -> Trial:
        narrow, wide = (
            narrowed(kept | {name: width[name] for name in whole})
            for whole in (given_back, (*given_back, *families))
        )
        promised = macs(wide) / max(1, macs(narrow))
        return Trial(families, promised, timing.compare(wide, narrow))

    return decide(tuple(name for name in kept if kept[name] < width[name]), trial)


def slow_removal_remarks(whole: Speedup, decision: Decision, ctx: Context) -> tuple[Remark, ...]:
    """Say what all removals gain together, and what was given back."""
    when = " in float" if Trait.INTEGERS in ctx.traits else ""
    remarks = [note(f"measured{when}: {whole}{meaning(whole)}")]
    for name in decision.given_back:
        last = next(t for t in reversed(decision.trials) if name in t.families)
        removal = f"the removal of '{name}'"
        if len(last.families) > 1:
            removal = f"the removal of {len(last.families)} families, '{name}' among them,"
        remarks.append(
            skipped(
                name.partition("#")[0],
                f"given back: {removal} makes it {last.measured}, "
                f"its MACs promise {last.promised:.3g}",
            )
        )
    if decision.undecided:
        names = join_names(list(decision.undecided))
        remarks.append(note(f"noise hides whether the removal of {names} pays"))
    return tuple(remarks)
