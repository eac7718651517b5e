"""The one loop that runs passes: each is timed, checked and recorded."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slimc.errors import SlimcError, did_you_mean
from slimc.execute.threads import one_blas_thread
from slimc.io.write import replace_file
from slimc.ir.graph import Graph
from slimc.ir.text import to_text
from slimc.ir.verify import verify
from slimc.passes.base import Pass, PassResult
from slimc.passes.context import Context, Reference
from slimc.passes.timing import Timing
from slimc.passes.traits import Trait
from slimc.pipeline.checks import Checker
from slimc.pipeline.index_map import Removal
from slimc.remarks import PassReport, Remark, note
from slimc.rewrite.kept import compose

TEXT_SUFFIX = ".txt"  # a model as text, as a failing pass leaves it for `slimc` to read
NOTHING_TO_DO = note("found nothing to do")


class Watcher:
    """Is told of every step; the command line shows progress with it. This one does nothing."""

    def before(self, pass_: Pass) -> None:
        """Hear that a pass starts."""

    def timing(self, what: str) -> None:
        """Hear that runs are timed, which takes a while."""

    def measuring(self, what: str) -> None:
        """Hear that graphs are run to see how accurate they are."""

    def progress(self, what: str, done: int, wanted: int) -> None:
        """Hear how far the running pass is."""

    def after(self, pass_: Pass, result: PassResult, report: PassReport) -> None:
        """Hear what a pass made."""


@dataclass(frozen=True)
class Step:
    """A pass that ran."""

    pass_: Pass
    """As it ran in the end: where it was timed, it names what it took back."""
    report: PassReport
    """What it did."""


@dataclass(frozen=True)
class State:
    """How far a compile has come; from here it can go on in several ways."""

    graph: Graph
    """What the last pass made."""
    checker: Checker | None = None
    """Compares what passes make with the graph so far; None: their graphs are verified only."""
    steps: tuple[Step, ...] = ()
    """The passes that ran, in order."""
    cuts: tuple[Removal, ...] = ()
    """The channels that they took out."""
    notes: tuple[Remark, ...] = ()
    """What the report says besides the remarks of passes."""

    @property
    def passes(self) -> tuple[Pass, ...]:
        """The passes that ran."""
        return tuple(step.pass_ for step in self.steps)

    @property
    def reports(self) -> tuple[PassReport, ...]:
        """What the passes report."""
        return tuple(step.report for step in self.steps)

    def reports_with(self, trait: Trait) -> tuple[PassReport, ...]:
        """Return what passes with a trait report."""
        return tuple(step.report for step in self.steps if trait in step.pass_.traits)

    def noted(self, remark: Remark) -> State:
        """Return the state with one more note for the report."""
        return replace(self, notes=(*self.notes, remark))

    def with_facts(self, trait: Trait, facts: Mapping[str, Any]) -> State:
        """Return the state with more facts in the reports of passes with a trait."""
        steps = [
            replace(step, report=replace(step.report, facts={**step.report.facts, **facts}))
            if trait in step.pass_.traits
            else step
            for step in self.steps
        ]
        return replace(self, steps=tuple(steps))


@dataclass(frozen=True)
class Runner:
    """Runs passes, from one state to the next."""

    ctx: Context
    """What passes may look at."""
    watcher: Watcher = field(default_factory=Watcher)
    """Is told of every step."""
    timing: Timing | None = None
    """Times what passes with `Trait.REVERTS` made, which take back what is slower."""
    dump: Path | None = None
    """The folder for the graph before a pass that fails."""

    def run(self, state: State, passes: Sequence[Pass]) -> State:
        """Run passes in order. Raises SlimcError where one refuses, or what it made is unsound."""
        for pass_ in passes:
            self.watcher.before(pass_)
            try:
                state, result = self._step(state, pass_)
            except SlimcError as error:
                raise self._dumped(state.graph, pass_, error) from error
            except Exception as fault:
                fault.add_note(f"in pass {pass_}")
                raise
            step = state.steps[-1]
            self.watcher.after(step.pass_, result, step.report)
        return state

    def _step(self, state: State, pass_: Pass) -> tuple[State, PassResult]:
        before, ctx = state.graph, self._context(state)
        start = time.perf_counter()
        with one_blas_thread():
            result = pass_.run(before, ctx)
        seconds = time.perf_counter() - start
        reverts = Trait.REVERTS in pass_.traits and result.graph is not before
        if self.timing is not None and reverts:
            self.watcher.timing(pass_.name)
            pass_, result = pass_.revert_slow(before, result, ctx, self.timing)
        changed = differs(before, result.graph)
        checker, remarks = state.checker, tuple[Remark, ...]()
        if changed:
            checker, remarks = _checked(checker, pass_, before, result)
        elif not result.remarks:
            remarks = (NOTHING_TO_DO,)
        result = replace(result, remarks=(*result.remarks, *remarks))
        report = PassReport(str(pass_), seconds, changed, result.remarks, dict(result.facts))
        cuts = (Removal(before, result.graph, result.kept),) if result.kept else ()
        state = replace(
            state,
            graph=result.graph,
            checker=checker,
            steps=(*state.steps, Step(pass_, report)),
            cuts=(*state.cuts, *cuts),
        )
        return state, result

    def _context(self, state: State) -> Context:
        """Return the context, with the graph before the first cut if there was one."""
        if not state.cuts:
            return self.ctx
        kept = compose(removal.kept for removal in state.cuts)
        return replace(self.ctx, reference=Reference(state.cuts[0].before, kept))

    def _dumped(self, graph: Graph, pass_: Pass, error: SlimcError) -> SlimcError:
        """Write the graph before the failing pass, and add the command that repeats it."""
        if self.dump is None:
            return error
        self.dump.mkdir(parents=True, exist_ok=True)
        target = self.ctx.target
        path = dumped(self.dump, pass_.name)
        with replace_file(path) as file:
            file.write(f"{to_text(graph)}\n".encode())
        options = ["--passes", str(pass_), "--target", target.source or target.name]
        command = shlex.join(["slimc", str(path), *options])
        help = (
            f"{error.help}; to repeat it: {command}" if error.help else f"to repeat it: {command}"
        )
        return type(error)(error.name, error.message, error.where, help)


def _checked(
    checker: Checker | None, pass_: Pass, before: Graph, result: PassResult
) -> tuple[Checker | None, tuple[Remark, ...]]:
    """Return the checker for the next pass, and what it remarks on this one."""
    if checker is None:
        verify(result.graph)
        return None, ()
    return checker.check(pass_, before, result)


def apply(passes: Sequence[Pass], graph: Graph, ctx: Context) -> Graph:
    """Run passes for their graph alone: nothing is compared, shown or reported."""
    return Runner(ctx).run(State(graph), passes).graph


def dumped(folder: Path, name: str) -> Path:
    """Return the file that the graph before a failing pass is left in."""
    return folder / f"before-{name}{TEXT_SUFFIX}"


def differs(a: Graph, b: Graph) -> bool:
    """Return whether anything but form and inner types differs: what is kept is the same object."""
    return (
        a.nodes != b.nodes
        or dict(a.constants) != dict(b.constants)
        or dict(a.records) != dict(b.records)
        or (a.inputs, a.outputs) != (b.inputs, b.outputs)
        or any(a.types.get(value) != b.types.get(value) for value in a.inputs)
    )


def until(passes: Sequence[Pass], stop_after: str) -> tuple[Pass, ...]:
    """Cut passes after the last one of that name (empty: none is cut)."""
    if not stop_after:
        return tuple(passes)
    names = [pass_.name for pass_ in passes]
    if stop_after not in names:
        raise SlimcError(
            "unknown-pass",
            f"'{stop_after}' is none of the passes of this compile",
            help=did_you_mean(stop_after, dict.fromkeys(names)),
        )
    return tuple(passes[: len(names) - names[::-1].index(stop_after)])
