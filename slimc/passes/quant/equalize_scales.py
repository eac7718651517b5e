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
from slimc.passes.quant.equalization import ScalingChoice, choose_scalings
from slimc.passes.quant.scalable_channels import ScalableChannels, find_sites
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
        sites_or_reasons = dict(find_sites(graph, ctx.ops, facts, self.gates))
        remarks: list[Remark] = [
            skipped(node, f"its channels stay as they are: {site}")
            for node, site in sites_or_reasons.items()
            if isinstance(site, str)
        ]
        sites = [site for site in sites_or_reasons.values() if isinstance(site, ScalableChannels)]
        if ctx.data.synthetic and sites:
            return PassResult(graph, (_SYNTHETIC, *remarks))
        choices = choose_scalings(graph, ctx, sites, self.samples)
        editor = Editor(graph, made_by=self.name)
        for choice in choices:
            if choice.is_new:
                choice.site.rescale(editor, choice.s)
            remarks.append(_choice_remark(choice))
        return PassResult(editor.finish(form=graph.form), tuple(remarks), _table(choices))


_SYNTHETIC = note(
    "channels stay as they are: made-up samples do not tell how large they get",
    help="give real samples with --calib",
)


def _choice_remark(choice: ScalingChoice) -> Remark:
    node = choice.site.node.name
    if not choice.is_new:
        return skipped(
            node, "its channels stay as they are: no scales are nearer on results held out"
        )
    names = ", ".join(f"'{reader.node.name}'" for reader in choice.site.readers)
    change = f"{100 * choice.before:.3g} % -> {100 * choice.after:.3g} %"
    return applied(node, f"its channels are rescaled for {names}: squared error {change}")


def _table(choices: Sequence[ScalingChoice]) -> dict[str, Any]:
    rows = [
        {
            "node": choice.site.node.name,
            "readers": [reader.node.name for reader in choice.site.readers],
            "changed": choice.is_new,
            "error_before": round(choice.before, 8),
            "error_after": round(choice.after, 8),
        }
        for choice in choices
    ]
    return {"sites": rows}
