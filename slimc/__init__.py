"""Prune, quantize and lower trained ONNX graphs for a device.

    import slimc

    result = slimc.compile("model.onnx", "prune{ratio=0.3},quant", "jetson", data="samples/")
    result.save("model.jetson.onnx")
    print(slimc.report_text(result.report))

docs/custom_pass.md shows how to write a pass.
"""

from slimc.analysis.group_view import FamilyView
from slimc.analysis.importance import Ranking
from slimc.analysis.profile import Profile
from slimc.calib.data import Data
from slimc.calib.images import Images
from slimc.errors import PromiseError, SlimcError
from slimc.io.write import write as save
from slimc.ir.constant import Constant
from slimc.ir.editor import Editor
from slimc.ir.graph import Graph, Node
from slimc.ir.text import parse_text, to_text
from slimc.ops.op import Op, OpTable
from slimc.passes.base import Pass, PassResult, option
from slimc.passes.context import Context
from slimc.passes.run_surgeon_script import surgeon_pass
from slimc.passes.stages import Fold, Prune, Quant, Sparsify
from slimc.passes.traits import Trait
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.device.profile import profile
from slimc.pipeline.prepare import load
from slimc.pipeline.sensitivity.channels import Measured, sensitivity
from slimc.pipeline.sensitivity.regions import RegionNoise, RegionNoises, region_noises
from slimc.remarks import Report, applied, note, skipped
from slimc.report.json import report_json
from slimc.report.text import report_text
from slimc.rewrite.rule import Made, Match, Rule, Skip, rewrite
from slimc.targets.target import Target
from slimc.version import VERSION

__version__ = VERSION

__all__ = [
    "Compiled",
    "Constant",
    "Context",
    "Data",
    "Editor",
    "FamilyView",
    "Fold",
    "Graph",
    "Images",
    "Made",
    "Match",
    "Measured",
    "Node",
    "Op",
    "OpTable",
    "Pass",
    "PassResult",
    "Profile",
    "PromiseError",
    "Prune",
    "Quant",
    "Ranking",
    "RegionNoise",
    "RegionNoises",
    "Report",
    "Rule",
    "Skip",
    "SlimcError",
    "Sparsify",
    "Target",
    "Trait",
    "__version__",
    "applied",
    "compile",
    "load",
    "note",
    "option",
    "parse_text",
    "profile",
    "region_noises",
    "report_json",
    "report_text",
    "rewrite",
    "save",
    "sensitivity",
    "skipped",
    "surgeon_pass",
    "to_text",
]
