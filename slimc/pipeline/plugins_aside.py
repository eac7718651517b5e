"""What passes leave alone: plug-ins and the nodes behind them; and passes that make other outputs.

Both come last, behind what is lowered: so all that runs a graph, to calibrate, to fit, to time or
to compare, runs the part that can run, up to outputs of floats that can be compared.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.execute.plugins import is_plugin, up_to_plugins
from slimc.ir.editor import Editor, map_bodies, substitute
from slimc.ir.graph import Form, Graph, Node
from slimc.ir.verify import verify
from slimc.passes.base import Pass
from slimc.passes.context import Context
from slimc.passes.lower.legalize import Legalize
from slimc.passes.traits import Trait
from slimc.pipeline.checks import Feed
from slimc.pipeline.runner import NOTHING_TO_DO, Runner, State, Step, apply
from slimc.remarks import Remark, note

_NAMED = 5  # nodes that a remark lists


@dataclass(frozen=True, eq=False)
class Ending:
    """Nodes that were set aside of `whole`, and the passes to run when they are back."""

    whole: Graph
    nodes: tuple[Node, ...] = ()
    passes: tuple[Pass, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.nodes or self.passes)

    def check(self, stop_after: str) -> None:
        """Raise SlimcError "bad-option-value" where nothing is left to stop before."""
        if any(pass_.name == stop_after for pass_ in self.passes):
            message = f"{stop_after} runs at the end, behind the lowering, wherever it is named"
            raise SlimcError("bad-option-value", message, "option stop_after", "leave it out")

    def restored(self, lowered: Graph) -> Graph:
        """Put the nodes back behind what became of the rest."""
        if not self.nodes:
            return lowered
        made = {v for node in self.nodes for v in node.outputs if v}
        editor = Editor(lowered)
        names = {v: v if v in self.whole.outputs else editor.fresh_name(v) for v in made}
        for value in dict.fromkeys(v for node in self.nodes for v in node.reads):
            if value in self.whole.constants:
                names[value] = editor.add_constant(self.whole.constants[value], value)
        for node in self.nodes:
            _put_back(editor, node, names, self.whole)
        graph = replace(editor.finish(keep_dead=True), outputs=self.whole.outputs)
        domains = {node.domain for node in self.nodes} & set(self.whole.opsets)
        imports = {domain: self.whole.opsets[domain] for domain in domains}
        return replace(graph, opsets={**graph.opsets, **imports})


def set_aside(graph: Graph, passes: Sequence[Pass], ctx: Context) -> tuple[Graph, Ending]:
    """Return what runs, and what is for the end. Raises SlimcError where that cannot be done."""
    runs, nodes = up_to_plugins(graph)
    if not runs.outputs:
        first = next(node for node in nodes if is_plugin(node))
        raise SlimcError(
            "model-does-not-run",
            "nothing is computed before the first plug-in",
            f"'{first.name}' ({first.kind})",
            "plug-ins of other runtimes are not run here; slimc compiles what comes before them",
        )
    ending = Ending(graph, nodes, tuple(p for p in passes if Trait.ENDS in p.traits))
    apply(ending.passes, graph, ctx)  # what they refuse is told before all work
    return runs, ending


def run_ending(lowered: State, ending: Ending, runner: Runner, feeds: Sequence[Feed]) -> State:
    """Put back what was set aside, run the passes for the end, and check by the target's rules.

    Remarks that earlier passes made are not made again. Raises SlimcError "pass-broke-values" where
    the part that runs is another one then, and those of the passes.
    """
    if not ending:
        return lowered
    graph = ending.restored(lowered.graph)
    verify(graph)
    legal = lowered.graph.form is Form.LEGAL
    passes = (*ending.passes, Legalize()) if legal else ()
    whole = runner.run(replace(lowered, graph=graph, checker=None), passes)
    known = {remark for report in lowered.reports for remark in report.remarks} | {NOTHING_TO_DO}
    ending_steps = [_without(step, known) for step in whole.steps[len(lowered.steps) :]]
    whole = replace(whole, steps=(*lowered.steps, *ending_steps))
    _check(lowered.graph, whole.graph, feeds)
    remark = _aside_remark(whole.graph)
    return whole if remark is None else whole.noted(remark)


def _without(step: Step, known: Collection[Remark]) -> Step:
    """Return a step without remarks that are known."""
    remarks = tuple(remark for remark in step.report.remarks if remark not in known)
    return replace(step, report=replace(step.report, remarks=remarks))


def _put_back(editor: Editor, node: Node, names: Mapping[str, str], whole: Graph) -> None:
    """Add a node under its name, reading and making values of the names that they have now."""
    read = {v: names.get(v, v) for v in node.reads}
    outputs = [names.get(v, v) for v in node.outputs]
    editor.add(
        node.op,
        [read.get(v, v) for v in node.inputs],
        outputs=outputs,
        types=[whole.types.get(v) for v in node.outputs],
        attrs=map_bodies(node, lambda body: substitute(body, read)),
        name=node.name,
        domain=node.domain,
    )


def _aside_remark(graph: Graph) -> Remark | None:
    """Say what nobody runs here."""
    aside = up_to_plugins(graph)[1]
    plugins = [node for node in aside if is_plugin(node)]
    if not plugins:
        return None
    kinds = ", ".join(dict.fromkeys(node.kind for node in plugins))
    behind = [node.name for node in aside if node not in plugins]
    text = f"plug-ins ({kinds}) are not run here: agreement is of what they read"
    if behind:
        more = " ..." if len(behind) > _NAMED else ""
        names = ", ".join(f"'{name}'" for name in behind[:_NAMED])
        text += f"; what stands behind them is left as it is: {names}{more}"
    return note(text)


def _check(lowered: Graph, graph: Graph, feeds: Sequence[Feed]) -> None:
    """Run the whole graph as far as that goes; it makes what the lowered one does."""
    runs, _ = up_to_plugins(graph)
    both = dict.fromkeys((*runs.outputs, *lowered.outputs))
    second = Session(graph=replace(runs, outputs=tuple(both)))
    first = Session(lowered)
    for feed in feeds:
        wanted, got = first.run(feed), second.run(feed)
        for output in lowered.outputs:
            much = difference(wanted[output], got[output])
            if not much <= Pass.tolerance:
                message = f"'{output}' is off by {much:.3g} of its largest magnitude"
                raise SlimcError("pass-broke-values", message, "what was set aside is put back")
