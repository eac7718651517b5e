"""Give the channels of a value like ranges, so that one scale suits all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from slimc.analysis.shapes import infer
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.passes.quant.equalization import Choice, choose
from slimc.passes.quant.scalable_channels import Site, sites_of
from slimc.remarks import Remark, applied, note, skipped


@dataclass(frozen=True)
class EqualizeScales(Pass):
    """Move the sizes of channels from values into the weights that read them.

    Behind a product or a normalisation, through operators with f(s x) = s f(x):  x_c / s_c,
    W_c s_c  with  s_c = max |x_c|^a / max |W_c|^b.  Weights have a scale per output channel, so the
    producer's rows cost nothing, nor does a depthwise reader. a and b are those with the least
    error of the readers' results in 8 bits, W Q(x) and Q(W) x, on results of samples; a site
    changes only where results held out come nearer. Exact up to rounding. Clip with a bound that
    is neither 0 nor infinite does not scale, and neither do gates (SiLU, HardSwish): `gates` puts
    one more multiplication, by 1 / s_c, behind those that only products read.
    Source: Nagel et al., ICCV 2019, section 4.1; Xiao et al., SmoothQuant, ICML 2023.
    """

    name: ClassVar[str] = "equalize-scales"

    samples: int = option(64, "samples to choose and judge by, the first ones", least=1)
    gates: bool = option(False, "equalize behind SiLU, HardSwish and GELU too, at a Mul each")

    def run(self, graph: Graph, ctx: Context) -> PassResult:
        facts = infer(graph, ctx.ops, ctx.sizes_of(graph))
        found = dict(sites_of(graph, ctx.ops, facts, self.gates))
        said: list[Remark] = [
            skipped(node, f"its channels stay as they are: {one}")
            for node, one in found.items()
            if isinstance(one, str)
        ]
        sites = [one for one in found.values() if isinstance(one, Site)]
        if ctx.data.synthetic and sites:
            return PassResult(graph, (_SYNTHETIC, *said))
        choices = choose(graph, ctx, sites, self.samples)
        editor = Editor(graph, made_by=self.name)
        for choice in choices:
            if choice.is_new:
                choice.site.rescale(editor, choice.s)
            said.append(_told(choice))
        return PassResult(editor.done(form=graph.form), tuple(said), _table(choices))


_SYNTHETIC = note(
    "channels stay as they are: made-up samples do not tell how large they get",
    help="give real samples with --calib",
)


def _told(one: Choice) -> Remark:
    node = one.site.node.name
    if not one.is_new:
        return skipped(
            node, "its channels stay as they are: no scales are nearer on results held out"
        )
    names = ", ".join(f"'{reader.node.name}'" for reader in one.site.readers)
    change = f"{100 * one.before:.3g} % -> {100 * one.after:.3g} %"
    return applied(node, f"its channels are rescaled for {names}: squared error {change}")


def _table(choices: Sequence[Choice]) -> dict[str, Any]:
    rows = [
        {
            "node": one.site.node.name,
            "readers": [reader.node.name for reader in one.site.readers],
            "changed": one.is_new,
            "error_before": round(one.before, 8),
            "error_after": round(one.after, 8),
        }
        for one in choices
    ]
    return {"sites": rows}
