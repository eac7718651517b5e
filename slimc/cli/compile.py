"""The root command: compile a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slimc.cli.console import Progress, say, say_table, working
from slimc.cli.options import (
    PATH,
    beside,
    calib_cache_option,
    calib_option,
    check_outputs,
    json_option,
    names_with,
    pairs,
    plugin_option,
    seed_option,
)
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.io.write import replaced
from slimc.pipeline.compiler import Compiled, compile
from slimc.pipeline.recipe import Recipe, load_recipe
from slimc.pipeline.runner import dumped
from slimc.pipeline.save import model_outputs
from slimc.report.json import report_json
from slimc.report.text import report_text
from slimc.targets.target import Target

DEFAULT_TARGET = "generic-onnx"


@click.command("compile", hidden=True)
@click.argument("model", type=PATH)
@click.option(
    "--passes",
    metavar="TEXT",
    help="Stages and passes with options: prune{ratio=0.3},quant. Default: only canonicalise.",
)
@click.option(
    "--target",
    metavar="NAME",
    help="What to compile for: a name, or a file of yours (docs/targets.md). "
    f"Default: {DEFAULT_TARGET}.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="File to write. Default: <stem>.<target>.onnx beside the model.",
)
@calib_option
@calib_cache_option
@click.option(
    "--recipe", type=PATH, metavar="FILE", help="YAML with passes, target, bind, shape, seed."
)
@click.option("--report", type=PATH, metavar="FILE", help="Write the whole report: .json or .txt.")
@json_option
@plugin_option
@click.option("--dry-run", is_flag=True, help="Do all, but write no model.")
@click.option(
    "--bind", multiple=True, metavar="NAME=VALUE", help="Make an input a constant: --bind sr=16000"
)
@click.option(
    "--shape", multiple=True, metavar="NAME=SIZES", help="Fix a shape: --shape x=1x3x224x224"
)
@click.option(
    "--sensitivity",
    type=PATH,
    metavar="FILE",
    help="Let prune choose widths by the curves that slimc sensitivity measured and wrote.",
)
@click.option(
    "--measure",
    is_flag=True,
    help="Time what channel removal gains on this machine, and give back families whose removal "
    "does not pay; the recipe in the report then names them.",
)
@click.option(
    "--require",
    default="",
    metavar="faster[=X]",
    help="Time the result and the original; write nothing and exit with status 1 unless it is "
    "faster, or X times as fast: --require faster=1.2",
)
@click.option(
    "--min-sqnr",
    type=float,
    metavar="DB",
    help="Give the worst regions back to floats until signal over noise at the outputs is as much, "
    "on samples that calibration has not seen: --min-sqnr 30. Where floats alone do not reach it, "
    "nothing is written and the status is 1.",
)
@click.option(
    "--max-drop",
    default="",
    metavar="LOSS",
    help="The same until --score loses no more than 1% of the original's, or 0.01 of the score "
    "itself: --max-drop 1% --score scorer.py",
)
@click.option(
    "--score",
    type=PATH,
    metavar="FILE",
    help="For --max-drop: a Python file with score(run) -> float, where run(feed) gives the list "
    "of outputs and higher is better.",
)
@click.option(
    "--budget",
    default="",
    metavar="SHARE",
    help="Choose the scheme of every region (float too) so that noise at the outputs is least and "
    "constants take at most so much of their bytes, or the model of its predicted latency: "
    "--budget size=0.3, --budget latency=0.6",
)
@click.option(
    "--profile",
    type=PATH,
    metavar="FILE",
    help="Predict latency (prune{budget=latency}, --budget latency=0.6, what removal gains) by the "
    "rates of a device that slimc profile measured, not by those of the target's table.",
)
@seed_option
@click.option("--dump", type=PATH, metavar="DIR", help="Where to leave the graph if a pass fails.")
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph after a pass.")
@click.option("--stop-after", default="", metavar="PASS", help="Stop after a pass: no lowering.")
@click.option("--time-passes", is_flag=True, help="Print the seconds of each pass and its checks.")
@click.option("--details", is_flag=True, help="Print every remark, not only the sums.")
def compile_command(model: Path, **options: Any) -> None:
    """Compile MODEL: canonicalise, run passes, lower for a target, and check every step."""
    run(model, options)


def run(model: Path, options: dict[str, Any]) -> None:
    """Do what the root command says."""
    recipe = _recipe(options)
    output = options["output"] or beside(model, recipe.target)
    _check_report(options["report"])
    names = names_with(options["plugin"])
    target = names.target(recipe.target, runs_code=options["target"] is not None)
    known = {one.name for one in names.passes}
    outputs = _outputs(output, target, known, options)
    check_outputs(outputs, model, options, recipe.target)
    with working(f"reading {model.name}") as status:
        progress = Progress(status, options["print_after"], err=options["as_json"])
        made = compile(
            model,
            recipe.passes,
            target,
            options["calib"],
            bind=recipe.bind,
            shape=recipe.shape,
            seed=recipe.seed,
            names=names,
            stop_after=options["stop_after"],
            dump=options["dump"],
            watcher=progress,
            measure=options["measure"],
            require=options["require"],
            curves=options["sensitivity"],
            calib_cache=options["calib_cache"],
            min_sqnr=options["min_sqnr"],
            max_drop=options["max_drop"],
            score=options["score"],
            budget=options["budget"],
            profile=options["profile"],
        )
        _check_printed(options["print_after"], [name for name, _, _ in progress.seconds], known)
        files = () if options["dry_run"] else made.save(output)
    _tell(made, progress, options, files)


def _recipe(options: dict[str, Any]) -> Recipe:
    """Join the recipe file and the options; what is said on the command line holds."""
    recipe = load_recipe(options["recipe"]) if options["recipe"] else Recipe()
    said = {key: options[key] for key in ("passes", "target", "seed") if options[key] is not None}
    recipe = replace(recipe, **said)
    return replace(
        recipe,
        target=recipe.target or DEFAULT_TARGET,
        bind={**recipe.bind, **pairs(options["bind"], "--bind", "sr=16000")},
        shape={**recipe.shape, **pairs(options["shape"], "--shape", "x=1x3x224x224")},
    )


def _outputs(
    model: Path, target: Target, passes: Iterable[str], options: dict[str, Any]
) -> Iterator[Output]:
    """Yield all that a compile may write."""
    yield from model_outputs(model, target, "-o")
    if options["report"] is not None:
        yield Output(options["report"], "--report")
    if options["calib_cache"] is not None:
        yield Output(options["calib_cache"], "--calib-cache", own_folder=True)
    if options["dump"] is not None:
        for name in passes:
            yield Output(dumped(options["dump"], name), "--dump", own_folder=True)


def _check_report(path: Path | None) -> None:
    if path is not None and path.suffix not in (".json", ".txt"):
        raise SlimcError(
            "bad-option-value",
            f"'{path}' ends neither in .json nor in .txt",
            "option --report",
            "for example --report report.json",
        )


def _check_printed(wanted: tuple[str, ...], ran: list[str], known: set[str]) -> None:
    for name in wanted:
        if name not in ran:
            what = "did not run" if name in known else "does not exist"
            raise SlimcError(
                "unknown-pass",
                f"pass '{name}' {what}",
                "option --print-after",
                f"these ran: {', '.join(ran)}",
            )


def _tell(
    made: Compiled, progress: Progress, options: dict[str, Any], files: Sequence[Path]
) -> None:
    path = options["report"]
    if path is not None:
        full = report_json if path.suffix == ".json" else _with_details
        with replaced(path) as file:
            file.write(f"{full(made.report)}\n".encode())
    if options["as_json"]:
        say(report_json(made.report))
        return
    say(report_text(made.report, options["details"]))
    if options["time_passes"]:
        say()
        rows = [(name, f"{run:.3f}", f"{check:.3f}") for name, run, check in progress.seconds]
        say_table(("pass", "seconds", "its checks"), rows)
    listed = ", ".join(map(str, files))
    say(f"\nwritten: {listed}" if files else "\nnothing written (--dry-run)")


def _with_details(report: Any) -> str:
    return report_text(report, details=True)
