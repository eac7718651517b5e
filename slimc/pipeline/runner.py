"""Run passes one after another: each is timed, checked and recorded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slimc.errors import SlimcError, did_you_mean
from slimc.execute.threads import one_blas_thread
from slimc.io.write import replaced
from slimc.ir.graph import Graph
from slimc.ir.text import to_text
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context, Reference
from slimc.passes.prune.remove_channels import RemoveChannels
from slimc.passes.quant.assign_scales import AssignScales
from slimc.pipeline.checks import Checker
from slimc.pipeline.index_map import Removal
from slimc.pipeline.integer_speed import judged_integers
from slimc.pipeline.latency import Stopwatch, judged
from slimc.remarks import PassReport, Remark, note
from slimc.rewrite.kept import compose

TEXT_SUFFIX = ".txt"  # a model as text, as a failing pass leaves it for `slimc` to read


class Watcher:
    """Is told of every step; the command line shows progress with it. This one does nothing."""

    def before(self, one: Pass) -> None:
        """Hear that a pass starts."""

    def timing(self, what: str) -> None:
        """Hear that runs are timed, which takes a while."""

    def measuring(self, what: str) -> None:
        """Hear that graphs are run to see how accurate they are."""

    def progress(self, what: str, done: int, wanted: int) -> None:
        """Hear how far the running pass is."""

    def after(self, one: Pass, made: PassResult, report: PassReport) -> None:
        """Hear what a pass made."""


@dataclass
class Runner:
    """Runs passes and keeps their reports.

    dump: folder for the graph before a pass that fails; watch: times what channel removal gains,
    which gives back what does not pay; ran: the passes as they ran in the end; cuts: what they
    took out; said: what the report is to say besides.
    """

    ctx: Context
    checker: Checker
    watcher: Watcher
    dump: Path | None = None
    reports: list[PassReport] = field(default_factory=list)
    watch: Stopwatch | None = None
    ran: list[Pass] = field(default_factory=list)
    cuts: list[Removal] = field(default_factory=list)
    said: list[Remark] = field(default_factory=list)

    def fork(self) -> Runner:
        """Return a runner that goes on from here and leaves this one as it is."""
        own = (list(self.reports), list(self.ran), list(self.cuts), list(self.said))
        reports, ran, cuts, said = own
        return replace(self, reports=reports, ran=ran, cuts=cuts, said=said)

    def add_facts(self, kind: type[Pass], facts: Mapping[str, Any]) -> None:
        """Add to what the report says of the passes of a kind."""
        for place, one in enumerate(self.ran, len(self.reports) - len(self.ran)):
            if isinstance(one, kind):
                known = self.reports[place]
                self.reports[place] = replace(known, facts={**known.facts, **facts})

    @property
    def reported(self) -> tuple[tuple[Pass, PassReport], ...]:
        """The passes as they ran, each with its report."""
        reports = self.reports[len(self.reports) - len(self.ran) :]
        return tuple(zip(self.ran, reports, strict=True))

    @property
    def removals(self) -> tuple[PassReport, ...]:
        """What passes that removed channels report."""
        return tuple(
            made for one, made in self.reported if isinstance(one, RemoveChannels) and made.changed
        )

    def run(self, graph: Graph, passes: Sequence[Pass]) -> Graph:
        """Run passes in order. Raises SlimcError where one refuses, or what it made is unsound."""
        for one in passes:
            graph = self._step(graph, one)
        return graph

    def _step(self, graph: Graph, one: Pass) -> Graph:
        self.watcher.before(one)
        start = time.perf_counter()
        try:
            ctx = self._context()
            with one_blas_thread():
                made = one.run(graph, ctx)
            seconds = time.perf_counter() - start
            if self.watch and isinstance(one, RemoveChannels) and made.graph is not graph:
                self.watcher.timing(one.name)
                one, made = judged(one, graph, made, ctx, self.watch)
            if self.watch and isinstance(one, AssignScales) and made.graph is not graph:
                self.watcher.timing(one.name)
                one, made = judged_integers(one, graph, made, ctx, self.watch)
            changed = differs(graph, made.graph)
            said: tuple[Remark, ...] = ()
            if changed:
                self.checker, said = self.checker.check(one, graph, made)
        except SlimcError as error:
            raise self._dumped(graph, one, error) from error
        except Exception as fault:
            fault.add_note(f"in pass {one}")
            raise
        if not (changed or made.remarks):
            said = (note("found nothing to do"),)
        made = replace(made, remarks=(*made.remarks, *said))
        report = PassReport(str(one), seconds, changed, made.remarks, dict(made.facts))
        self.reports.append(report)
        self.ran.append(one)
        if made.kept:
            self.cuts.append(Removal(graph, made.graph, made.kept))
        self.watcher.after(one, made, report)
        return made.graph

    def _context(self) -> Context:
        """Return the context, with the graph before the first cut if there was one."""
        if not self.cuts:
            return self.ctx
        kept = compose(removal.kept for removal in self.cuts)
        return replace(self.ctx, reference=Reference(self.cuts[0].before, kept))

    def _dumped(self, graph: Graph, one: Pass, error: SlimcError) -> SlimcError:
        """Write the graph before the failing pass, and add the command that repeats it."""
        if self.dump is None:
            return error
        self.dump.mkdir(parents=True, exist_ok=True)
        target = self.ctx.target
        path = dumped(self.dump, one.name)
        with replaced(path) as file:
            file.write(f"{to_text(graph)}\n".encode())
        options = ["--passes", str(one), "--target", target.source or target.name]
        command = shlex.join(["slimc", str(path), *options])
        help = (
            f"{error.help}; to repeat it: {command}" if error.help else f"to repeat it: {command}"
        )
        return type(error)(error.name, error.message, error.where, help)


def dumped(folder: Path, name: str) -> Path:
    """Return the file that the graph before a failing pass is left in."""
    return folder / f"before-{name}{TEXT_SUFFIX}"


def differs(a: Graph, b: Graph) -> bool:
    """Tell whether anything but types and form differs: what is left alone is the same object."""
    return (
        a.nodes != b.nodes
        or dict(a.constants) != dict(b.constants)
        or dict(a.records) != dict(b.records)
        or (a.inputs, a.outputs) != (b.inputs, b.outputs)
    )


def until(passes: Sequence[Pass], stop_after: str) -> tuple[Pass, ...]:
    """Cut passes after the last one of that name (empty: none is cut)."""
    if not stop_after:
        return tuple(passes)
    names = [one.name for one in passes]
    if stop_after not in names:
        raise SlimcError(
            "unknown-pass",
            f"'{stop_after}' is none of the passes of this compile",
            help=did_you_mean(stop_after, dict.fromkeys(names)),
        )
    return tuple(passes[: len(names) - names[::-1].index(stop_after)])
