"""`slimc verify`: how a target's runtime really runs a file, by asking it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from slimc.cli.console import say, working
from slimc.cli.options import PATH, calib_option, json_option, names_with, plugin_option
from slimc.errors import SlimcError
from slimc.execute.oracles.ask import LIMIT_SECONDS
from slimc.pipeline.inspect.verify import verify
from slimc.report.verify import proof_dict, proof_text

NOT_PROVEN = 1  # exit status

_EXAMPLES = """\b
Who is asked                    needs
  cpu-*               ONNX Runtime   nothing more
  openvino            OpenVINO       pip install 'slimc[openvino-check]'
  jetson-*, trt-*     TensorRT-RTX   pip install 'slimc[tensorrt-check]', no GPU
                                     (NVIDIA's licence, SLA: for development
                                     and tests only; a strong hint, no proof)
  snapdragon-htp      HTP emulator   pip install 'slimc[qnn-check]'
\b
Examples:
  slimc verify model.jetson.onnx --target jetson
  slimc verify model.jetson.onnx --target jetson --with ~/trt/bin/python
  slimc verify model.cpu.onnx --target cpu --against model.onnx --calib samples/
  slimc verify model.onnx --target openvino --shape x=1x3x224x224 --json
"""


@click.command(
    "verify", short_help="Ask a target's runtime what it runs in integers.", epilog=_EXAMPLES
)
@click.argument("file", type=PATH)
@click.option("--target", default="generic-onnx", show_default=True, metavar="NAME")
@click.option(
    "--shape",
    multiple=True,
    metavar="INPUT=SIZES",
    help="Sizes to build for, of inputs whose sizes are open: --shape x=1x3x224x224 (--shape sr= "
    "for a scalar). Default: usual ones.",
)
@click.option(
    "--with",
    "python",
    default="",
    metavar="PYTHON",
    help="An interpreter that has the runtime's package, where this one has not.",
)
@click.option(
    "--limit",
    "limit_seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=LIMIT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How long the runtime may take; beyond, the answer is inconclusive.",
)
@click.option(
    "--against",
    type=PATH,
    metavar="ORIGINAL",
    help="The model that FILE was made of: outputs are compared on the samples of --calib, by "
    "ONNX Runtime.",
)
@calib_option
@json_option
@plugin_option
def verify_command(file: Path, **options: Any) -> int:
    """Ask the runtime of a target, on this machine, how it runs an ONNX FILE, whoever made it.

    Says whether it parses and builds, and of the layers whose Q/DQ mean integers, which really run
    in integers; of the others, which rule of the target (slimc lint) explains it. Of targets whose
    runtime cannot be asked here it says what can be shown: that the file loads, and the rules'
    findings. The runtime works in a process of its own: a crash, or no answer in time, is
    inconclusive.

    Exit status: 0 it builds, and all that is meant to runs in integers; 1 some does not, it does
    not build, a rule refuses it, or there was no answer; 2 the file or the runtime is missing.
    """
    against, calib = options["against"], options["calib"]
    if calib is not None and against is None:
        raise SlimcError(
            "bad-option-value",
            "--calib has no effect without --against",
            "option --calib",
            "name the model to compare with, or leave it out",
        )
    names = names_with(options["plugin"])
    with working(f"asking about {file.name}"):
        proof = verify(
            file,
            names.target(options["target"]),
            names.ops,
            shape=_shapes(options["shape"]),
            python=options["python"],
            limit_seconds=options["limit_seconds"],
            against=against,
            data=calib,
        )
    if options["as_json"]:
        say(json.dumps(proof_dict(file, proof), ensure_ascii=False, allow_nan=False))
        return 0 if proof.passed else NOT_PROVEN
    say(proof_text(file, proof))
    if against is not None and calib is None:
        say("\nsamples are made up: on real ones outputs agree otherwise (--calib)")
    return 0 if proof.passed else NOT_PROVEN


def _shapes(texts: tuple[str, ...]) -> dict[str, str]:
    """Read `x=1x3x224x224`, and `sr=` of a scalar."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, sizes = text.rpartition("=")
        if not equals or not name:
            raise SlimcError(
                "bad-option-value",
                f"'{text}' is not of the form name=sizes",
                "option --shape",
                "for example --shape x=1x3x224x224",
            )
        found[name] = sizes
    return found
