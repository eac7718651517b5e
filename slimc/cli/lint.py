"""`slimc lint`: what the runtime of a target refuses of a file, or runs otherwise than meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from slimc.cli.console import say, working
from slimc.cli.options import PATH, json_option, names_with, plugin_option
from slimc.pipeline.lint import Verdict, lint
from slimc.report.lint import verdict_dict, verdict_text

FOUND = 1  # exit status


@click.command("lint", short_help="Say what a target's runtime refuses or runs in float, and why.")
@click.argument("file", type=PATH)
@click.option("--target", default="generic-onnx", show_default=True, metavar="NAME")
@click.option("--details", is_flag=True, help="Name every node of a finding, not the first three.")
@click.option("--strict", is_flag=True, help="Exit with status 1 on silent findings too.")
@json_option
@plugin_option
def lint_command(
    file: Path, target: str, details: bool, strict: bool, as_json: bool, plugin: tuple[Path, ...]
) -> int:
    """Hold an ONNX FILE, whoever made it, to the rules of a target (docs/rules.md).

    error: the runtime refuses the file. silent: it runs in float what is meant for integers, or
    computes something else, without a word. perf: it is slower than it could be. info: what whoever
    runs it must know.

    Example: slimc lint model.int8.onnx --target jetson-orin

    Exit status: 1 if there are errors, else 0.
    """
    names = names_with(plugin)
    with working(f"checking {file.name}"):
        verdict = lint(file, names.target(target), names.ops)
    if as_json:
        say(json.dumps(_as_dict(file, verdict), indent=1, ensure_ascii=False))
    else:
        say(verdict_text(verdict, details))
    return status(verdict, strict)


def status(verdict: Verdict, strict: bool) -> int:
    """Return the exit status for what was found."""
    worst = verdict.count("error") + (verdict.count("silent") if strict else 0)
    return FOUND if worst else 0


def _as_dict(file: Path, verdict: Verdict) -> dict[str, Any]:
    return {"file": str(file), **verdict_dict(verdict)}
