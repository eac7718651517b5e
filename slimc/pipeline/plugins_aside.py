"""What passes leave alone: plug-ins and the nodes behind them; and passes that make other outputs.

Both come last, behind what is lowered: so all that runs a graph, to calibrate, to fit, to time or
to compare, runs the part that can run, up to outputs of floats that can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from slimc.errors import SlimcError
from slimc.execute.compare import difference
from slimc.execute.ort import Session
from slimc.execute.plugins import is_plugin, up_to_plugins
from slimc.ir.editor import Editor, substitute, with_bodies
from slimc.ir.graph import Form, Graph, Node
from slimc.ir.verify import verify
from slimc.passes.base import Pass
from slimc.passes.context import Context
from slimc.passes.lower.legalize import Legalize
from slimc.pipeline.runner import Runner
from slimc.remarks import PassReport, note

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
        if any(one.name == stop_after for one in self.passes):
            message = f"{stop_after} runs at the end, behind the lowering, wherever it is named"
            raise SlimcError("bad-option-value", message, "option stop_after", "leave it out")

    def restored(self, lowered: Graph) -> Graph:
        """Put the nodes back behind what became of the rest."""
        if not self.nodes:
            return lowered
        made = {v for node in self.nodes for v in node.outputs if v}
        editor = Editor(lowered)
        names = {v: v if v in self.whole.outputs else editor.fresh(v) for v in made}
        for value in dict.fromkeys(v for node in self.nodes for v in node.reads):
            if value in self.whole.constants:
                names[value] = editor.add_constant(self.whole.constants[value], value)
        for node in self.nodes:
            _put_back(editor, node, names, self.whole)
        graph = replace(editor.done(keep_dead=True), outputs=self.whole.outputs)
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
    ending = Ending(graph, nodes, tuple(one for one in passes if one.ends))
    whole = ending.whole
    for one in ending.passes:  # what they refuse is told before all work
        whole = one.run(whole, ctx).graph
    return runs, ending


def ended(lowered: Graph, ending: Ending, runner: Runner) -> Graph:
    """Put back what was set aside, run the passes for the end, and check by the target's rules.

    Raises SlimcError "pass-broke-values" where the part that runs is another one then, and those of
    the passes.
    """
    if not ending:
        return lowered
    graph = ending.restored(lowered)
    verify(graph)
    legal = lowered.form is Form.LEGAL
    steps = (*ending.passes, Legalize()) if legal else ()
    said = {remark for report in runner.reports for remark in report.remarks}
    for one in steps:
        runner.watcher.before(one)
        start = time.perf_counter()
        made = one.run(graph, runner.ctx)
        verify(made.graph)
        remarks = tuple(remark for remark in made.remarks if remark not in said)
        seconds = time.perf_counter() - start
        report = PassReport(str(one), seconds, one.ends, remarks, dict(made.facts))
        runner.reports.append(report)
        runner.ran.append(one)
        runner.watcher.after(one, made, report)
        graph = made.graph
    _tell(graph, runner)
    _check(lowered, graph, runner)
    return graph


def _put_back(editor: Editor, node: Node, names: Mapping[str, str], whole: Graph) -> None:
    """Add a node under its name, reading and making values of the names that they have now."""
    read = {v: names.get(v, v) for v in node.reads}
    outputs = [names.get(v, v) for v in node.outputs]
    editor.add(
        node.op,
        [read.get(v, v) for v in node.inputs],
        outputs=outputs,
        types=[whole.types.get(v) for v in node.outputs],
        attrs=with_bodies(node, lambda body: substitute(body, read)),
        name=node.name,
        domain=node.domain,
    )


def _tell(graph: Graph, runner: Runner) -> None:
    """Say what nobody runs here."""
    aside = up_to_plugins(graph)[1]
    plugins = [node for node in aside if is_plugin(node)]
    if not plugins:
        return
    kinds = ", ".join(dict.fromkeys(node.kind for node in plugins))
    behind = [node.name for node in aside if node not in plugins]
    text = f"plug-ins ({kinds}) are not run here: agreement is of what they read"
    if behind:
        more = " ..." if len(behind) > _NAMED else ""
        names = ", ".join(f"'{name}'" for name in behind[:_NAMED])
        text += f"; what stands behind them is left as it is: {names}{more}"
    runner.said.append(note(text))


def _check(lowered: Graph, graph: Graph, runner: Runner) -> None:
    """Run the whole graph as far as that goes; it makes what the lowered one does."""
    runs, _ = up_to_plugins(graph)
    both = dict.fromkeys((*runs.outputs, *lowered.outputs))
    second = Session(graph=replace(runs, outputs=tuple(both)))
    first = Session(lowered)
    for feed in runner.checker.feeds:
        wanted, got = first.run(feed), second.run(feed)
        for output in lowered.outputs:
            much = difference(wanted[output], got[output])
            if not much <= Pass.tolerance:
                message = f"'{output}' is off by {much:.3g} of its largest magnitude"
                raise SlimcError("pass-broke-values", message, "what was set aside is put back")
