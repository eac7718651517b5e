"""`slimc sensitivity --passes quant`: what each quantized region does to the outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from slimc.cli.console import counting, say, say_table
from slimc.cli.options import bindings, check_outputs, names_with
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.io.write import replace_file
from slimc.pipeline.sensitivity.regions import RegionNoise, RegionNoises, noises_text, region_noises

_OF_WIDTHS = ("ratios", "criterion", "samples", "refit")  # options that say how channels are cut


def check_for_regions(options: dict[str, Any]) -> None:
    """Raise SlimcError "bad-option-value" for options that say nothing of regions."""
    for name in _OF_WIDTHS:
        if options[name] is not None:
            raise SlimcError(
                "bad-option-value",
                "it says how channels are cut, and --passes measures quantized regions",
                f"option --{name}",
                "leave out one of them",
            )


def run_regions(model: Path, options: dict[str, Any]) -> None:
    """Measure, and write what is asked for."""
    output = options["output"]
    files = [(output, "-o"), *((path, "--plot") for path in options["plot"])]
    outputs = (Output(path, option) for path, option in files if path is not None)
    check_outputs(outputs, model, options, options["target"] or "")
    with counting("regions") as watch:
        made = region_noises(
            model,
            options["passes"],
            options["target"] or "generic-onnx",
            options["calib"],
            score=options["score"],
            **bindings(options),
            seed=options["seed"] or 0,
            names=names_with(options["plugin"]),
            watch=watch,
        )
    if output is not None:
        with replace_file(output) as file:
            file.write(noises_text(made).encode())
    for path in options["plot"]:
        _draw(made, path, model.stem)
    if options["as_json"]:
        say(noises_text(made).rstrip())
        return
    _tell(made)
    for path in (output, *options["plot"]):
        if path is not None:
            say(f"written: {path}")


def _draw(made: RegionNoises, path: Path, name: str) -> None:
    # Loaded here: it takes half a second, which no other command should wait for.
    from slimc.report.plots import draw_bar_chart

    form = cast("Literal['png', 'svg']", path.suffix.removeprefix("."))
    with replace_file(path) as file:
        file.write(draw_bar_chart(made, form, f"{name} on {made.target}: {_whole(made)}"))


def _whole(made: RegionNoises) -> str:
    if made.score:
        return f"all regions together lose {made.whole:.4g} of {made.score}"
    together = RegionNoise("", (), made.whole, 0).sqnr_db
    return f"all regions together {together:.1f} dB on {made.samples} samples"


def _tell(made: RegionNoises) -> None:
    """Print a row for each region, the worst first."""
    if made.synthetic and not made.score:
        say("samples are made up: the errors are not those of real data; give some with --calib\n")
    say(f"{made.target}, one region alone in integers; {_whole(made)}\n")
    measured = "score lost" if made.score else "dB"
    total = sum(one.macs for one in made.regions) or 1
    rows = [
        (
            one.name,
            f"{one.noise:.4g}" if made.score else f"{one.sqnr_db:.1f}",
            f"{100 * made.share(one):.1f} %",
            f"{100 * one.macs / total:.1f} %",
            str(len(one.nodes)),
        )
        for one in made.regions
    ]
    say_table(("region", measured, "of the noise", "of the MACs", "nodes"), rows)
    say("")
