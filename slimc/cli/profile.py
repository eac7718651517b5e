"""`slimc profile`: what a device takes for every class of work, for predicted latencies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slimc.analysis.profile import Fitted, Profile, profile_text
from slimc.cli.console import counting, say, say_table
from slimc.cli.options import (
    PATH,
    bindings,
    check_outputs,
    compile_flags,
    json_option,
    names_with,
    plugin_option,
)
from slimc.errors import SlimcError
from slimc.io.places import Output
from slimc.pipeline.device.profile import profile
from slimc.pipeline.device.trtexec import profile_of_files
from slimc.pipeline.profile_file import save_profile

_EXAMPLES = """\b
Examples:
  slimc profile a.onnx b.onnx c.onnx -o machine.json
  slimc profile a.onnx b.onnx --check other.onnx -o machine.json
  slimc model.onnx --passes 'prune{ratio=0.3,budget=latency}' --target cpu --profile machine.json
  trtexec --onnx=model.onnx --exportProfile=times.json --exportLayerInfo=layers.json \\
    --profilingVerbosity=detailed --separateProfileRun
  slimc profile model.onnx --target jetson --from times.json --layers layers.json -o orin.json
"""
_HERE = ("calib", "check", "rounds", "threads", "seed")  # options of a measurement on this machine


@click.command(
    "profile", short_help="Measure what this device takes for each kind of work.", epilog=_EXAMPLES
)
@click.argument("models", type=PATH, nargs=-1, required=True, metavar="MODEL...")
@click.option(
    "--target",
    default="cpu",
    show_default=True,
    metavar="NAME",
    help="What to lower the models for; a compile for it can predict by the profile.",
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="JSON file of the profile. Default: none is written.",
)
@click.option(
    "--calib",
    type=PATH,
    multiple=True,
    metavar="DIR",
    help="Samples, as for a compile: once for each MODEL in order, then for those of --check. "
    "Default: made-up samples of usual sizes.",
)
@click.option(
    "--check",
    type=PATH,
    multiple=True,
    metavar="MODEL",
    help="A model to check predictions on, which no rate is fitted to; may be given several times. "
    "Default: each MODEL by rates of the others; of one alone, a narrower form of it.",
)
@click.option(
    "--rounds",
    type=click.IntRange(min=4),
    metavar="N",
    help="Runs of each form of a model. Default: 30 to 200, by its MACs.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    metavar="N",
    help="Threads of a run, 0 for all. Default: 1, whose seconds are steady on a busy machine.",
)
@click.option(
    "--from",
    "times",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="Measure nothing: read what trtexec --exportProfile wrote on a device, once for each "
    "MODEL, which is the file that trtexec got.",
)
@click.option(
    "--layers",
    type=PATH,
    multiple=True,
    metavar="FILE",
    help="With --from: what --exportLayerInfo wrote beside it, which names the nodes of a layer.",
)
@compile_flags("bind", "shape")
@click.option("--device", default="", metavar="TEXT", help="What to call the device.")
@json_option
@plugin_option
@compile_flags("seed")
def profile_command(models: tuple[Path, ...], **options: Any) -> None:
    """Time MODELs kernel by kernel, and fit rates that predicted latencies then follow.

    Each model is timed as it is and with 3/4 and 1/2 of its channels, in floats and, where the
    target has integers, in those too: several models of different kinds make a good profile. Rates
    are of classes of work (convolutions, products, arithmetic, ...): seconds per
    multiply-accumulate, per byte, and per step.
    """
    output = options["output"]
    if output is not None:
        read = (*models, *options["check"])
        check_outputs([Output(output, "-o")], read, options, options["target"])
    made = _from_files(models, options) if options["times"] else _measured(models, options)
    if output is not None:
        save_profile(made, output)
    if options["as_json"]:
        say(profile_text(made).rstrip())
        return
    _tell(made)
    say(f"\nwritten: {output}" if output else "\nnothing written: name a file with -o")


def _measured(models: tuple[Path, ...], options: dict[str, Any]) -> Profile:
    _refuse(options, ("layers",), "--layers has no effect without --from")
    others = options["check"]
    if len(options["calib"]) > len(models) + len(others):
        raise SlimcError(
            "bad-option-value",
            f"{len(options['calib'])} places of samples for {len(models) + len(others)} models",
            "option --calib",
            "give one for each model, in order",
        )
    with counting("models") as watch:
        return profile(
            models,
            options["target"],
            options["calib"],
            others=others,
            rounds=options["rounds"] or 0,
            threads=1 if options["threads"] is None else options["threads"],
            **bindings(options),
            device=options["device"],
            seed=options["seed"] or 0,
            names=names_with(options["plugin"]),
            watch=watch,
        )


def _from_files(models: tuple[Path, ...], options: dict[str, Any]) -> Profile:
    _refuse(options, _HERE, "--from reads what was measured elsewhere")
    for name, files in (("from", options["times"]), ("layers", options["layers"])):
        if files and len(files) != len(models):
            raise SlimcError(
                "bad-option-value",
                f"{len(files)} files for {len(models)} models",
                f"option --{name}",
                "give one for each model, in order",
            )
    return profile_of_files(
        models,
        options["times"],
        options["layers"],
        options["target"],
        **bindings(options),
        device=options["device"],
        names=names_with(options["plugin"]),
    )


def _refuse(options: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    for name in names:
        if options[name] not in (None, ()):
            raise SlimcError("bad-option-value", why, f"option --{name}", "leave out one of them")


def _tell(made: Profile) -> None:
    say(f"{made}, {made.target}; fitted to {', '.join(made.models)}\n")
    head = ("class of work", "GMAC/s", "GB/s", "us a step", "steps", "error")
    say_table(head, [_row(name, one) for name, one in made.classes.items()])
    for text in made.notes:
        say(f"\n{text}")
    if not made.checks:
        say("\nnothing was kept from the fit to check it on")
        return
    say(f"\nchecked on {made.judged}\n")
    rows = [
        (one.run, f"{1e3 * one.predicted:.3f} ms", f"{1e3 * one.measured:.3f} ms",
         f"{one.ratio:.2f}")
        for one in made.checks
    ]  # fmt: skip
    say_table(("run", "predicted", "measured", "ratio"), rows)
    say(f"\noff by {100 * made.error:.0f} % in the mean")


def _row(name: str, one: Fitted) -> tuple[str, ...]:
    rates = one.rates
    return (
        name,
        _per_second(rates.mac),
        _per_second(rates.moved),
        f"{1e6 * rates.fixed:.1f}",
        str(one.steps),
        f"{100 * one.error:.0f} %",
    )


def _per_second(seconds: float) -> str:
    return f"{1e-9 / seconds:.3g}" if seconds else "-"
