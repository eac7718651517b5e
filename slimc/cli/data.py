"""slimc data: what is understood of samples, and what the model will get."""

from __future__ import annotations

import json
from pathlib import Path

import click

from slimc.calib.images import Images
from slimc.calib.summary import InputSummary, summarize_inputs
from slimc.cli.console import counting, say, say_table
from slimc.cli.options import (
    PATH,
    join_preprocess,
    json_option,
    preprocess_option,
    samples_or_made_up,
)
from slimc.pipeline.prepare import load

_HEAD = ("input", "shapes", "low", "high", "mean", "deviation")
_SHOWN = 3  # shapes of an input that are written out


@click.command("data", short_help="Say what is understood of samples.")
@click.argument("model", type=PATH)
@click.argument("samples", type=PATH, required=False, callback=join_preprocess)
@preprocess_option
@json_option
def data_command(model: Path, samples: Path | Images | None, as_json: bool) -> None:
    """Say what slimc understands of SAMPLES for MODEL; without, what it would make up.

    Goes through all of them, and prints shape, range, mean and deviation of what the model will
    get. Examples: slimc data model.onnx samples/; slimc data model.onnx photos/ --preprocess
    resize=256,crop=224,scale=1/255,layout=nchw
    """
    data = samples_or_made_up(samples, load(model))
    with counting("feeds") as progress:
        seen = summarize_inputs(data, progress)
    if as_json:
        found = {
            "feeds": data.count,
            "samples": data.samples,
            "sizes": data.sizes(),
            "synthetic": data.synthetic,
            "digest": data.digest,
            "preprocess": str(samples.steps) if isinstance(samples, Images) else None,
            "inputs": {one.name: _numbers(one) for one in seen},
        }
        say(json.dumps(found, indent=1))
        return
    say(data.describe() + "\n")
    say_table(_HEAD, [_row(one) for one in seen])
    for one in seen:
        if one.bad:
            say(f"\n'{one.name}' holds {one.bad} elements that are NaN or infinite")


def _numbers(one: InputSummary) -> dict[str, object]:
    known = {"low": one.low, "high": one.high, "mean": one.mean, "deviation": one.deviation}
    return {"shapes": one.kinds, **({} if one.text else known), "not_finite": one.bad}


def _row(one: InputSummary) -> tuple[str, ...]:
    more = f", and {len(one.kinds) - _SHOWN} more" if len(one.kinds) > _SHOWN else ""
    shapes = ", ".join(one.kinds[:_SHOWN]) + more
    numbers = (one.low, one.high, one.mean, one.deviation)
    return (one.name, shapes, *("text" if one.text else f"{n:.4g}" for n in numbers))
