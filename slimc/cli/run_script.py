"""`slimc run-script`: an existing GraphSurgeon script, run on a model and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from slimc.calib.images import Images
from slimc.cli.console import say, say_table, working
from slimc.cli.diff import operators_changed
from slimc.cli.options import (
    PATH,
    calib_option,
    check_outputs,
    json_option,
    names_with,
    plugin_option,
)
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.io.read import read_with_header
from slimc.io.tensors import data_files
from slimc.io.write import data_path, replace_file, write
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.save import model_outputs
from slimc.pipeline.script.run_script import Scripted, run_script
from slimc.pipeline.script.surgeon_script import SurgeonScript
from slimc.report.json import agreement_dict, remark_dict, report_dict
from slimc.report.text import agreement_lines, report_text

_EXAMPLES = """\b
Examples:
  slimc run-script modify.py model.onnx -o modified.onnx
  slimc run-script surgery.py model.onnx --function fold_scales --same
  slimc run-script add_nms.py model.onnx --target jetson -- --onnx {in} --output {out}
"""


@click.command(
    "run-script",
    short_help="Run a GraphSurgeon script on a model, and check it.",
    epilog=_EXAMPLES,
)
@click.argument("script", type=PATH)
@click.argument("model", type=PATH)
@click.argument("arguments", nargs=-1)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="File to write. Default: <stem>.<script>.onnx beside the model.",
)
@click.option(
    "--function",
    default="",
    metavar="NAME",
    help="The function of SCRIPT to call, with the gs.Graph, or with the files to read and to "
    "write. Default: run, modify or main where it takes a graph, or the only one that does; a "
    "file that is a program runs as one.",
)
@click.option(
    "--result",
    default="",
    metavar="NAME",
    help="The file that the program saves, where it saves several: --result modified.onnx",
)
@click.option(
    "--same",
    is_flag=True,
    help="The script is to keep all outputs: else nothing is written, and the status is 1.",
)
@click.option("--passes", default="", metavar="TEXT", help="Passes to run on what the script made.")
@click.option(
    "--target",
    default="",
    metavar="NAME",
    help="Compile what the script made for a target. Default: it is written as it is.",
)
@calib_option
@json_option
@plugin_option
def run_script_command(
    script: Path, model: Path, arguments: tuple[str, ...], calib: Any, **options: Any
) -> None:
    """Run SCRIPT, which is Python and may do anything, on MODEL, and check what it made.

    SCRIPT is a function of a gs.Graph, a function of two paths, or a program. A program runs in a
    folder of its own, where the model lies under the name that it loads (else model.onnx); what it
    saves there is taken. Where ARGUMENTS name the files, write {in} and {out} for them.
    """
    _run(script, model, arguments, calib, options)


def _run(
    script: Path,
    model: Path,
    arguments: tuple[str, ...],
    calib: Path | Images | None,
    options: dict[str, Any],
) -> None:
    target, passes = options["target"], options["passes"]
    if passes and not target:
        raise SlimcError(
            "bad-option-value",
            "passes need a target to end in",
            "option --passes",
            "add --target generic-onnx",
        )
    output = options["output"] or model.with_name(f"{model.stem}.{script.stem}.onnx")
    names = names_with(options["plugin"])
    goal = names.target(target) if target else None
    names.parse(passes)  # a mistake in them is said before the script runs
    files = (Output(output, "-o"), Output(data_path(output), "-o"))
    outputs = files if goal is None else model_outputs(output, goal, "-o")
    check_outputs(outputs, model, {**options, "calib": calib}, target, script=script)
    chosen = SurgeonScript.of(script, options["function"])
    what = f"function {chosen.function}" if chosen.function else "as a program"
    say(f"running {script} ({what})", err=True)
    with run_script(
        chosen,
        model,
        names.ops,
        calib,
        arguments=arguments,
        result=options["result"],
        told=lambda line: say(line, err=True),
    ) as made:
        if options["same"]:
            made.hold()
        compiled = None
        if goal is not None:
            with working("compiling"):
                compiled = compile(made.path, passes, goal, calib, names=names)
            compiled.save(output)
        else:
            _copy(made.path, output)
    _tell(made, compiled, calib is None, output, options["as_json"])


def _copy(made: Path, output: Path) -> None:
    """Write what the script made as it is; with data files, under their usual name."""
    graph, header = read_with_header(made)
    if data_files(graph):
        write(graph, output, header.opset, header.ir_version)
        return
    with replace_file(output) as file:
        file.write(made.read_bytes())


def _tell(
    made: Scripted, compiled: Compiled | None, made_up: bool, output: Path, as_json: bool
) -> None:
    changed = operators_changed(made.before, made.after)
    if as_json:
        found = {
            "operators": {kind: [int(a), int(b)] for kind, a, b in changed},
            "agreement": [agreement_dict(one) for one in made.agreement],
            "remarks": [remark_dict(one) for one in made.remarks],
            "unchecked": made.unchecked,
            "samples_made_up": made_up,
            "report": report_dict(compiled.report) if compiled else None,
            "written": str(output),
        }
        say(json.dumps(found, indent=1))
        return
    say(f"nodes: {len(made.before.nodes)} -> {len(made.after.nodes)}")
    if changed:
        say_table(("operator", "before", "after"), changed)
    for one in made.remarks:
        say(str(one))
    if made.unchecked:
        say(f"note: {made.unchecked}")
    if made.agreement:
        say("\n".join(agreement_lines(made.agreement)))
    if made.agreement and made_up:
        say("\nsamples are made up: on real ones outputs agree otherwise (--calib)")
    if compiled:
        say(f"\n{report_text(compiled.report)}")
    say(f"\nwritten: {output}")
