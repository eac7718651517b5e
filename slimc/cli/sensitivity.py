"""`slimc sensitivity`: what the loss of channels, or integers of a region, do to the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, cast

import click

from slimc.analysis.sensitivity_curves import Curve, curves_text
from slimc.cli.console import counting, say, say_table
from slimc.cli.options import (
    PATH,
    bindings,
    calib_option,
    check_outputs,
    compile_flags,
    json_option,
    names_with,
    plugin_option,
)
from slimc.cli.regions import check_for_regions, run_regions
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.io.write import replace_file
from slimc.passes.prune.sensitivity import RATIOS
from slimc.pipeline.sensitivity.channels import Measured, sensitivity

_EXAMPLES = """\b
Examples:
  slimc sensitivity model.onnx --calib samples/ --plot model.svg
  slimc sensitivity model.onnx --calib samples/ --ratios 0.1,0.2,0.4,0.8
  slimc sensitivity model.onnx --calib samples/ --score accuracy.py -o accuracy.json
  slimc model.onnx --passes prune --calib samples/ --sensitivity model.sensitivity.json
  slimc sensitivity model.onnx --passes quant --target cpu --calib samples/ --plot bars.svg
"""
_SUFFIXES = (".png", ".svg")


@click.command(
    "sensitivity",
    short_help="Measure how much each width, or each quantized region, matters.",
    epilog=_EXAMPLES,
)
@click.argument("model", type=PATH)
@calib_option
@click.option(
    "--passes",
    metavar="TEXT",
    help="Measure quantized regions instead of widths: quantize by these passes (--passes quant), "
    "and run the model with each region alone in integers.",
)
@click.option(
    "--target", metavar="NAME", help="With --passes: what to quantize for. Default: generic-onnx."
)
@click.option(
    "--score",
    type=PATH,
    metavar="FILE",
    help="A Python file with score(run) -> float, where run(feed) gives the list of outputs and "
    "higher is better. Default: the relative squared error of the outputs, which needs no labels.",
)
@click.option(
    "--ratios",
    metavar="LIST",
    help="Shares of the channels of a family to remove, one after the other. "
    f"Default: {','.join(map(str, RATIOS))}.",
)
@click.option(
    "--criterion",
    metavar="NAME",
    help="What orders the channels: as option score of remove-channels (slimc passes prune). "
    "Default: auto.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="N",
    help="Samples that are run for each point, with --refit of the fifth that is held out. "
    "Default: 64, fewer where they cost over 8 GMACs.",
)
@click.option(
    "--refit/--no-refit",
    default=None,
    help="Refit the weights that read a family before a point is measured, as prune repairs them, "
    "or measure the bare loss. Default: refit where samples are given.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="JSON file of the points, written after each one; if it is there, what it holds is not "
    "measured again. Default: <stem>.sensitivity.json beside the model. With --passes: of the "
    "regions, written in the end. Default: none.",
)
@click.option(
    "--plot",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Draw a heat map and the curves, or bars of regions: .png or .svg. May be given twice.",
)
@compile_flags("bind", "shape")
@json_option
@plugin_option
@compile_flags("seed")
def sensitivity_command(model: Path, **options: Any) -> None:
    """Cut every family of channels of MODEL alone, by each ratio, and measure what it does.

    A family is a width of the network: channels that must leave together. The curves tell which
    widths matter, and channel removal chooses by them: slimc MODEL --passes prune --sensitivity
    FILE. A run that was broken off goes on where it stopped.

    With --passes quant, every region of the quantized model: a contraction and the operators whose
    integers hang on it. The table tells what to leave in floats: slimc MODEL --min-sqnr 30 does it.
    """
    _check_plots(options["plot"])
    if options["passes"] is not None:
        check_for_regions(options)
        run_regions(model, options)
        return
    if options["target"] is not None:
        raise SlimcError(
            "bad-option-value",
            "widths matter alike on every target",
            "option --target",
            "leave it out, or measure quantized regions: --passes quant",
        )
    output = options["output"] or model.with_name(f"{model.stem}.sensitivity.json")
    plots = (Output(path, "--plot") for path in options["plot"])
    check_outputs([Output(output, "-o"), *plots], model, options)
    with counting("points") as watch:
        made = sensitivity(
            model,
            options["calib"],
            ratios=_ratios(options["ratios"]) if options["ratios"] is not None else RATIOS,
            criterion=options["criterion"] or "auto",
            score=options["score"],
            samples=options["samples"] or 0,
            refit=options["refit"],
            file=output,
            **bindings(options),
            seed=options["seed"] or 0,
            names=names_with(options["plugin"]),
            watch=watch,
        )
    for path in options["plot"]:
        _draw(made, path, model.stem)
    if options["as_json"]:
        say(curves_text(made.curves).rstrip())
    else:
        _tell(made, output, options["plot"])


def _ratios(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError as error:
        raise SlimcError(
            "bad-option-value",
            f"'{text}' is no list of numbers",
            "option --ratios",
            "for example --ratios 0.25,0.5,0.75",
        ) from error


def _check_plots(paths: Sequence[Path]) -> None:
    """Raise SlimcError "bad-option-value" or "plots-missing" before anything is measured."""
    for path in paths:
        if path.suffix not in _SUFFIXES:
            raise SlimcError(
                "bad-option-value",
                f"'{path}' ends neither in .png nor in .svg",
                "option --plot",
                "for example --plot sensitivity.svg",
            )
    if paths and find_spec("matplotlib") is None:
        raise SlimcError(
            "plots-missing",
            "drawing needs matplotlib",
            "option --plot",
            "pip install 'slimc[plots]', or leave --plot out",
        )


def _draw(made: Measured, path: Path, name: str) -> None:
    # Loaded here: it takes half a second, which no other command should wait for.
    from slimc.report.plots import draw_curves

    form = cast("Literal['png', 'svg']", path.suffix.removeprefix("."))
    with replace_file(path) as file:
        file.write(draw_curves(made.curves, form, f"{name}: {made.curves.setup}", made.score))


def _tell(made: Measured, output: Path, plots: tuple[Path, ...]) -> None:
    """Print what was measured, the most sensitive family first."""
    curves = made.curves
    if made.synthetic and not made.score:
        say("samples are made up: the errors are not those of real data; give some with --calib\n")
    say(f"{curves.setup}; one family cut alone\n")
    ordered = sorted(curves.curves, key=lambda curve: -curve.mean)
    head = ("family", "channels", *(f"-{100 * ratio:g} %" for ratio in curves.ratios))
    say_table(head, [_row(curve, curves.ratios) for curve in ordered])
    taken = f", {made.taken_over} of them taken over from an earlier run"
    say(f"\n{curves.count} points{taken if made.taken_over else ''}: {output}")
    for path in plots:
        say(f"written: {path}")


def _row(curve: Curve, ratios: tuple[float, ...]) -> tuple[str, ...]:
    points = [curve.at(ratio) for ratio in ratios]
    errors = ("" if point is None else f"{point.error:.4f}" for point in points)
    return (curve.family, str(curve.width), *errors)
