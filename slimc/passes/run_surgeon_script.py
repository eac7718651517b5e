"""An existing onnx-graphsurgeon script as a pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from slimc.errors import SlimcError
from slimc.io.graphsurgeon import surgeon_function
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
        try:
            after = surgeon_function(type(self).script)(graph)
        except SlimcError:
            raise
        except Exception as broken:  # the user's own script may raise anything
            message = f"the script raised {type(broken).__name__}: {broken}"
            raise SlimcError("script-failed", message, f"pass {self.name}") from broken
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
