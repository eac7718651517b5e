"""Fixes of the file as a whole: its versions, its outputs, operators that the target lacks."""

from __future__ import annotations

from dataclasses import replace

from slimc.errors import SlimcError
from slimc.io.read import FileHeader
from slimc.ir.editor import Editor
from slimc.remarks import applied, skipped
from slimc.rewrite.batch_norm import RULES
from slimc.rewrite.result import PassResult
from slimc.rewrite.rule import rewrite
from slimc.targets.express.decompose import decompose
from slimc.targets.fixes.scales import MADE_BY
from slimc.targets.opset import file_opset
from slimc.targets.target import Mended, Subject

ROUNDING = 1e-4  # of the largest result: sums in another order, the same in exact arithmetic


def write_older_versions(subject: Subject) -> Mended:
    """Write the file in the opset and the IR version that the target wants."""
    target = subject.target
    try:
        header = FileHeader(file_opset(subject.graph, target), target.ir_version)
    except SlimcError as error:
        return Mended(subject, (skipped("", error.message, error.help),))
    if header == subject.header:
        return Mended(subject)
    text = f"written in opset {header.opset}, IR version {header.ir_version}"
    return Mended(replace(subject, header=header), (applied("", text),))


def name_outputs_once(subject: Subject) -> Mended:
    """Give an output that stands twice a name of its own."""
    graph = subject.graph
    editor = Editor(graph, made_by=MADE_BY)
    outputs: list[str] = []
    said = []
    for output in graph.outputs:
        if output not in outputs:
            outputs.append(output)
            continue
        (again,) = editor.add("Identity", [output], outputs=[editor.fresh_name(output)])
        editor.set_type(again, graph.type_of(output))
        outputs.append(again)
        said.append(applied("", f"output '{output}' was given twice; it is now also '{again}'"))
    if not said:
        return Mended(subject)
    made = replace(editor.finish(keep_dead=True), outputs=tuple(outputs))
    return Mended(replace(subject, graph=made), tuple(said))


def express_otherwise(subject: Subject) -> Mended:
    """Express operators that the target lacks by those that it has."""
    try:
        made = decompose(subject.graph, subject.target, subject.ops)
    except SlimcError as error:
        return Mended(subject, (skipped("", error.message, error.help),))
    return _rounded(subject, made)


def write_older_forms(subject: Subject) -> Mended:
    """Write nodes in forms that the target reads; operators newer than that by older ones."""
    made = express_otherwise(subject)
    written = write_older_versions(made.subject)
    return replace(written, remarks=(*made.remarks, *written.remarks), tolerance=made.tolerance)


def fold_normalisations(subject: Subject) -> Mended:
    """Fold normalisations by constants into the contractions before them."""
    made = rewrite(subject.graph, RULES, ops=subject.ops, made_by=MADE_BY)
    return _rounded(subject, made)


def _rounded(subject: Subject, made: PassResult) -> Mended:
    """Take what a pass made, which is exact up to rounding."""
    if made.graph is subject.graph:
        return Mended(subject, made.remarks)
    return Mended(replace(subject, graph=made.graph), made.remarks, ROUNDING)
