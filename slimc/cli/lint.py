"""`slimc lint`: what the runtime of a target refuses of a file, or runs otherwise than meant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from slimc.calib.data import Data
from slimc.calib.images import Images
from slimc.cli.console import say, working
from slimc.cli.options import (
    PATH,
    beside,
    calib_option,
    check_outputs,
    json_option,
    names_with,
    plugin_option,
    samples_or_made_up,
)
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.io.write import data_path
from slimc.ir.graph import Graph
from slimc.pipeline.inspect.fix import Feed, Fix, mend
from slimc.pipeline.inspect.lint import Verdict, lint, write_mended
from slimc.report.lint import fix_dict, fix_text, verdict_dict, verdict_text

FOUND = 1  # exit status

_EXAMPLES = """\b
Examples:
  slimc lint model.int8.onnx --target jetson-orin
  slimc lint model.int8.onnx --target jetson-orin --fix -o mended.onnx
"""


@click.command(
    "lint",
    short_help="Say what a target's runtime refuses or runs in float, and why.",
    epilog=_EXAMPLES,
)
@click.argument("file", type=PATH)
@click.option("--target", default="generic-onnx", show_default=True, metavar="NAME")
@click.option("--details", is_flag=True, help="Name every node of a finding, not the first three.")
@click.option("--strict", is_flag=True, help="Exit with status 1 on silent findings too.")
@click.option(
    "--fix",
    is_flag=True,
    help="Mend what has one right mend, run the file before and after, and write the mended one; "
    "what remains is said.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="With --fix: the file to write. Default: <stem>.<target>.onnx beside the file.",
)
@calib_option
@json_option
@plugin_option
def lint_command(file: Path, **options: Any) -> int:
    """Hold an ONNX FILE, whoever made it, to the rules of a target (docs/rules.md).

    error: the runtime refuses the file. silent: it runs in float what is meant for integers, or
    computes something else, without a word. perf: it is slower than it could be. info: what whoever
    runs it must know.

    Exit status: 1 if there are errors (with --fix: errors left), 2 if FILE cannot be read, else 0.
    """
    names = names_with(options["plugin"])
    target = names.target(options["target"])
    output = _output(file, options)
    with working(f"checking {file.name}"):
        verdict = lint(file, target, names.ops)
    if not options["fix"]:
        _tell(file, verdict, options)
        return _status(verdict, options["strict"])
    with working(f"mending {file.name}"):
        mended, fixes = mend(verdict.subject, _feeds(verdict.subject.graph, options["calib"]))
        done = any(one.kind == "applied" for fix in fixes for one in fix.remarks)
        if done:
            write_mended(mended, output)
            verdict = lint(output, target, names.ops)
    _tell_fixed(file, verdict, fixes, output if done else None, options)
    return _status(verdict, options["strict"])


def _output(file: Path, options: dict[str, Any]) -> Path:
    """Return where to write, before any work."""
    path: Path | None = options["output"]
    for name, value in (("-o", path), ("--calib", options["calib"])):
        if value is not None and not options["fix"]:
            raise SlimcError(
                "bad-option-value", f"{name} has no effect without --fix", f"option {name}",
                "add --fix, or leave it out",
            )  # fmt: skip
    output = path or beside(file, options["target"])
    if options["fix"]:
        outputs = (Output(output, "-o"), Output(data_path(output), "-o"))
        check_outputs(outputs, file, options, options["target"])
    return output


def _feeds(graph: Graph, calib: Path | Images | None) -> Sequence[Feed]:
    """Return the first feed; none where no samples can be made up for the inputs."""
    try:
        data: Data = samples_or_made_up(calib, graph)
        return [dict(feed) for feed in data.head(1)]
    except SlimcError:
        if calib is not None:
            raise
        return []


def _status(verdict: Verdict, strict: bool) -> int:
    worst = verdict.count("error") + (verdict.count("silent") if strict else 0)
    return FOUND if worst else 0


def _tell(file: Path, verdict: Verdict, options: dict[str, Any]) -> None:
    if options["as_json"]:
        _say_json({"file": str(file), **verdict_dict(verdict)})
    else:
        say(verdict_text(verdict, options["details"]))


def _tell_fixed(
    file: Path,
    verdict: Verdict,
    fixes: Sequence[Fix],
    written: Path | None,
    options: dict[str, Any],
) -> None:
    if options["as_json"]:
        made = {"fixes": [fix_dict(fix) for fix in fixes], "written": str(written or "")}
        _say_json({"file": str(file), **verdict_dict(verdict), **made})
        return
    say(fix_text(fixes, options["details"]))
    say(f"written: {written}\n" if written else "nothing to mend: nothing written\n")
    say(verdict_text(verdict, options["details"], mended=True))


def _say_json(found: dict[str, Any]) -> None:
    say(json.dumps(found, indent=1, ensure_ascii=False))
