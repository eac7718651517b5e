"""`slimc passes | ops`: what there is."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import click

from slimc.cli.console import say, say_table
from slimc.cli.options import json_option, names_with, plugin_option
from slimc.errors import SlimcError, did_you_mean
from slimc.ops.op import Op
from slimc.passes.base import Pass
from slimc.passes.text import members_of, options_of
from slimc.pipeline.catalogue import Catalogue


@click.command("passes", short_help="List passes and stages, or the options of one.")
@click.argument("name", required=False)
@json_option
@plugin_option
def passes_command(name: str | None, as_json: bool, plugin: tuple[Path, ...]) -> None:
    """List passes and stages; with NAME, its options.

    Example: slimc passes prune
    """
    names = names_with(plugin)
    chosen = _members(names, name) if name else names.passes
    if as_json:
        found = {
            "passes": [_pass_dict(one) for one in chosen],
            "stages": {n: [p.name for p in members_of(s)] for n, s in names.stages.items()},
        }
        say(json.dumps(found, indent=1))
    elif name:
        for one in chosen:
            _say_pass(one)
    else:
        rows = [(n, ", ".join(p.name for p in members_of(s))) for n, s in names.stages.items()]
        say("\n".join(f"{stage:<10} = {members}" for stage, members in rows) + "\n")
        width = max(len(one.name) for one in chosen)
        say("\n".join(f"{one.name:<{width}}  {_first_line(one)}" for one in chosen))


def _members(names: Catalogue, name: str) -> tuple[type[Pass], ...]:
    by_name = {one.name: (one,) for one in names.passes}
    stages = {stage: members_of(passes) for stage, passes in names.stages.items()}
    known = {**by_name, **stages}
    if name not in known:
        raise SlimcError(
            "unknown-pass",
            f"there is no pass or stage '{name}'",
            help=did_you_mean(name, [*names.stages, *by_name]),
        )
    return known[name]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _say_pass(one: type[Pass]) -> None:
    say(f"{one.name}\n")
    say("\n".join(f"  {line}".rstrip() for line in (inspect.getdoc(one) or "").split("\n")))
    say()
    for option in options_of(one):
        default = option.default if option.default else "''"
        bounds = f", {option.range}" if option.range else ""
        say(f"  {option.name}: {option.kind} = {default}{bounds}")
        if option.help:
            say(f"      {option.help}")
    say()


def _pass_dict(one: type[Pass]) -> dict[str, Any]:
    return {
        "name": one.name,
        "summary": _first_line(one),
        "promise": one.promise,
        "options": [vars(option) for option in options_of(one)],
    }


@click.command("ops", short_help="List the operators whose axes are known.")
@click.argument("kind", required=False)
@json_option
@plugin_option
def ops_command(kind: str | None, as_json: bool, plugin: tuple[Path, ...]) -> None:
    """List the operators whose axes are known; any other is carried along untouched.

    Example: slimc ops Conv
    """
    ops = names_with(plugin).ops
    if kind and ops.get(kind) is None:
        raise SlimcError(
            "unknown-operator",
            f"there is no row for operator '{kind}': its axes are not known, so none is cut",
            help=did_you_mean(kind, ops.kinds),
        )
    rows = [ops.rows[k] for k in ([kind] if kind else ops.kinds)]
    if as_json:
        say(json.dumps([_op_dict(row) for row in rows], indent=1))
    else:
        said = [_op_dict(row) for row in rows]
        say_table(("operator", "in integers", "axes"), [_op_row(one) for one in said])


def _op_dict(row: Op) -> dict[str, str]:
    axes = row.axes if isinstance(row.axes, str) else "by its attributes" if row.axes else "opaque"
    return {"kind": row.kind, "axes": axes, "quant": row.quant.value}


def _op_row(one: dict[str, str]) -> tuple[str, str, str]:
    return one["kind"], one["quant"], one["axes"]
