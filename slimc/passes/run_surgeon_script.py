"""An existing onnx-graphsurgeon script as a pass."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from slimc.errors import SlimcError
from slimc.io.graphsurgeon import wrap_script
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, Promise
from slimc.passes.context import Context
from slimc.remarks import note

SurgeonScript = Callable[[Any], Any]  # gs.Graph -> gs.Graph, or None where it edits in place


@dataclass(frozen=True)
class RunSurgeonScript(Pass):
    """Run a function that edits an `onnx_graphsurgeon.Graph`; `surgeon_pass` makes subclasses."""

    script: ClassVar[SurgeonScript]

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        script = type(self).script
        try:
            after = wrap_script(script)(graph)
        except SlimcError:
            raise
        except (Exception, SystemExit) as broken:  # the user's own script may raise anything
            raise script_failed(broken, file_of(script), f"pass {self.name}") from broken
        before_nodes, after_nodes = len(graph.nodes), len(after.nodes)
        return PassResult(after, (note(f"script ran: {before_nodes} -> {after_nodes} nodes"),))


def surgeon_pass(
    name: str, script: SurgeonScript, promise: Promise = "same"
) -> type[RunSurgeonScript]:
    """Make a pass of a GraphSurgeon script.

    promise: "approximate" where the script changes what the graph computes.
    """
    return type(
        "SurgeonPass",
        (RunSurgeonScript,),
        {
            "name": name,
            "script": staticmethod(script),
            "promise": promise,
            "__doc__": script.__doc__ or f"Run the GraphSurgeon script {name}.",
            "__module__": __name__,
        },
    )


def file_of(script: SurgeonScript) -> str:
    """Return the file that a function stands in; empty where that is not known."""
    code = getattr(script, "__code__", None)
    return code.co_filename if code is not None else ""


def script_failed(broken: BaseException, file: str, where: str) -> SlimcError:
    """Return the error of a script: what it raised, and the last line of `file` that led to it."""
    frames = traceback.extract_tb(broken.__traceback__)
    lines = [f.lineno for f in frames if Path(f.filename).resolve() == Path(file).resolve()]
    place = f"{where}, line {lines[-1]} of {Path(file).name}" if lines else where
    message = f"the script raised {type(broken).__name__}: {broken}"
    return SlimcError("script-failed", message, place)
