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
    bindings,
    calib_option,
    check_outputs,
    compile_flags,
    given_options,
    json_option,
    names_with,
    plugin_option,
)
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.io.write import replace_file
from slimc.pipeline.catalogue import Catalogue
from slimc.pipeline.compiler import Compiled, compile_with
from slimc.pipeline.options import CompileOptions
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
@compile_flags("calib_cache")
@click.option(
    "--recipe", type=PATH, metavar="FILE", help="YAML with passes, target, bind, shape, seed."
)
@click.option("--report", type=PATH, metavar="FILE", help="Write the whole report: .json or .txt.")
@json_option
@plugin_option
@click.option("--dry-run", is_flag=True, help="Do all, but write no model.")
@compile_flags(
    "bind",
    "shape",
    "curves",
    "measure",
    "require",
    "min_sqnr",
    "max_drop",
    "score",
    "budget",
    "profile",
    "seed",
    "dump",
)
@click.option("--print-after", multiple=True, metavar="PASS", help="Print the graph after a pass.")
@compile_flags("stop_after")
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
    known = {pass_.name for pass_ in names.passes}
    outputs = _outputs(output, target, known, options)
    check_outputs(outputs, model, options, recipe.target)
    with working(f"reading {model.name}") as status:
        progress = Progress(status, options["print_after"], err=options["as_json"])
        given = _compile_options(recipe, options, names, progress)
        compiled = compile_with(model, recipe.passes, target, options["calib"], given)
        _check_printed(options["print_after"], [name for name, _, _ in progress.seconds], known)
        files = () if options["dry_run"] else compiled.save(output)
    _tell(compiled, progress, options, files)


def _recipe(options: dict[str, Any]) -> Recipe:
    """Join the recipe file and the options; what is said on the command line holds."""
    recipe = load_recipe(options["recipe"]) if options["recipe"] else Recipe()
    given = {key: options[key] for key in ("passes", "target", "seed") if options[key] is not None}
    recipe = replace(recipe, **given)
    fixed = bindings(options)
    return replace(
        recipe,
        target=recipe.target or DEFAULT_TARGET,
        bind={**recipe.bind, **fixed["bind"]},
        shape={**recipe.shape, **fixed["shape"]},
    )


def _compile_options(
    recipe: Recipe, options: dict[str, Any], names: Catalogue, progress: Progress
) -> CompileOptions:
    """Return what the flags say, and the recipe that they were joined with."""
    own = {"bind": recipe.bind, "shape": recipe.shape, "seed": recipe.seed}
    return CompileOptions.of({**given_options(options), **own, "names": names, "watcher": progress})


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
    compiled: Compiled, progress: Progress, options: dict[str, Any], files: Sequence[Path]
) -> None:
    path = options["report"]
    if path is not None:
        full = report_json if path.suffix == ".json" else _with_details
        with replace_file(path) as file:
            file.write(f"{full(compiled.report)}\n".encode())
    if options["as_json"]:
        say(report_json(compiled.report))
        return
    say(report_text(compiled.report, options["details"]))
    if options["time_passes"]:
        say()
        rows = [(name, f"{run:.3f}", f"{check:.3f}") for name, run, check in progress.seconds]
        say_table(("pass", "seconds", "its checks"), rows)
    listed = ", ".join(map(str, files))
    say(f"\nwritten: {listed}" if files else "\nnothing written (--dry-run)")


def _with_details(report: Any) -> str:
    return report_text(report, details=True)
