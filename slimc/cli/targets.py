"""`slimc targets`: devices and their runtimes; `slimc targets show`: the whole table of one."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from slimc.cli.console import say
from slimc.cli.options import json_option, names_with, plugin_option
from slimc.errors import SlimcError
from slimc.passes.schemes import scheme_names
from slimc.targets.target import Grid, Placement, Quantize, Target
from slimc.targets.toml import as_table

_WIDTH, _LABEL = 100, 13


class _Targets(click.Group):
    """A group that takes what is no command of it for the name of a target to show."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            raise SlimcError(
                "unknown-command",
                f"'{args[0]}' is no command of slimc targets",
                help=f"slimc targets show {args[0]}",
            )
        return super().resolve_command(ctx, args)


@click.group(
    "targets", cls=_Targets, short_help="List targets; show one.", invoke_without_command=True
)
@json_option
@plugin_option
@click.pass_context
def targets_command(ctx: click.Context, as_json: bool, plugin: tuple[Path, ...]) -> None:
    """List targets, a line each, with the schemes of each, best first.

    Example: slimc targets
    """
    if ctx.invoked_subcommand:
        return
    names = names_with(plugin)
    found = [(name, names.target(name)) for name in names.targets]
    if as_json:
        rows = [
            {"name": n, "summary": t.summary, "schemes": list(scheme_names(t)), "chosen": t.chosen}
            for n, t in found
        ]
        say(json.dumps(rows, indent=1))
        return
    width = max(len(name) for name, _ in found)
    for name, target in found:
        say(f"{name:<{width}}  {target.summary}")
        say(f"{'':<{width}}  schemes: {', '.join(scheme_names(target)) or 'none'}")


@targets_command.command("show", short_help="Show the table of a target.")
@click.argument("name")
@json_option
@plugin_option
def show_target_command(name: str, as_json: bool, plugin: tuple[Path, ...]) -> None:
    """Show all that is known of a target: NAME, or a file of yours (docs/targets.md).

    The keys of --json are those that a file may set.

    Examples: slimc targets show jetson-orin; slimc targets show board.toml
    """
    names = names_with(plugin)
    target = names.target(name)
    base = names.target(target.base) if target.base else None
    if as_json:
        differs = [list(one) for one in _differences(base, target)] if base else []
        say(json.dumps({**as_table(target), "differs": differs}, indent=1))
        return
    say("\n".join(_lines(target)))
    if base is not None:
        say(f"\ndiffers from {base.name}:")
        for key, before, after in _differences(base, target):
            say(f"  {key}: {_brief(before)} -> {_brief(after)}")


def _lines(target: Target) -> Iterator[str]:
    yield target.name
    yield f"  {target.summary}"
    if target.chosen:
        yield from textwrap.wrap(target.chosen, _WIDTH, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield from _row("runtime", f"{target.runtime} {target.version}".strip())
    yield from _row("file", _file(target))
    yield from _row("floats", _floats(target))
    if target.capability:
        major, minor = divmod(target.capability, 10)
        yield from _row("capability", f"{major}.{minor}")
    yield from _row("alignment", f"integers {target.align_integer}, floats {target.align_float}")
    yield from _row("sparsity", ", ".join(sorted(target.sparsity)) or "none")
    speed = target.speed
    yield from _row(
        "speed",
        f"{speed.macs:.3g} MACs/s, {speed.bytes:.3g} bytes/s, {speed.node_seconds:.3g} s a node, "
        f"integers {speed.integer:.3g} times",
    )
    yield from _row("proof", target.oracle or "none on this machine")
    yield from _listed("domains", (domain or "ai.onnx" for domain in target.domains))
    yield from _listed("plug-ins", target.plugins)
    yield from _listed("decomposes", target.decompose)
    yield from _listed("forbids", target.forbids)
    yield from _schemes(target)
    yield from _placement(target.placement)
    for one in target.companions:
        yield from _row("beside it", f"{one.suffix}: {one.summary}")
    yield "rules"
    for rule in target.rules:
        yield f"  {rule.code}  {rule.name:<22} {rule.summary}{' (--fix)' if rule.fix else ''}"
    for sentence in target.notes:
        yield from _row("note", sentence)


def _row(label: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{label:<{_LABEL}}",
        subsequent_indent=" " * _LABEL,
        break_on_hyphens=False,
    ) or [label]


def _listed(label: str, names: Iterable[str]) -> Iterator[str]:
    found = sorted(names)
    if found:
        yield from _row(label, ", ".join(found))


def _file(target: Target) -> str:
    sizes = {
        "any": "any sizes",
        "profile": "sizes within a profile",
        "slower": "fixed sizes are faster",
        "static": "fixed sizes only",
    }
    return (
        f"opset {target.opset}, up to {target.opset_max}; IR version {target.ir_version}, up to "
        f"{target.ir_version_max}; {sizes[target.shapes]}"
    )


def _floats(target: Target) -> str:
    known = ", ".join(one.text for one in target.floats)
    final = "; types in the file are final" if target.typed else ""
    return f"{known}; the file has {target.prefer.text}{final}"


def _schemes(target: Target) -> Iterator[str]:
    yield "schemes"
    if not target.schemes:
        yield "  none"
    for name, rows in target.schemes.items():
        wishes: dict[str, list[str]] = {}
        for kind, wish in rows.items():
            wishes.setdefault(_wish(wish), []).append(kind)
        yield f"  {name}"
        for text, kinds in wishes.items():
            first = f"    {', '.join(kinds)}: {text}"
            yield from textwrap.wrap(
                first, _WIDTH, subsequent_indent=" " * 6, break_on_hyphens=False
            )


def _wish(wish: Quantize) -> str:
    data = "measured in each run" if wish.dynamic else "floats"
    parts = [f"data {_grid(wish.activations) if wish.activations else data}"]
    if wish.weights:
        parts.append(f"weights {_grid(wish.weights)}")
    parts += _switches(wish, Quantize(None), ("activations", "weights", "dynamic"))
    return "; ".join(parts)


def _grid(grid: Grid) -> str:
    words = [grid.dtype.text, f"{grid.low}..{grid.high}"]
    words.append("symmetric" if grid.symmetric else "with a zero point")
    words.append("a scale per channel" if grid.per_channel else "one scale")
    if grid.block:
        words.append(f"and {grid.block} elements")
    return " ".join([*words, *(["in pairs of 16 bits"] if grid.paired else [])])


def _switches(value: Any, plain: Any, but: tuple[str, ...] = ()) -> list[str]:
    """Return the fields that differ from those of `plain`."""
    now, before = as_table(value), as_table(plain)
    return [
        key if one is True else f"{key}={_short(one)}"
        for key, one in now.items()
        if key not in but and one != before[key]
    ]


def _placement(placement: Placement | None) -> Iterator[str]:
    if placement is None:
        yield from _row("placement", "no Q and DQ")
        return
    table = as_table(placement)
    yield from _row("placement", ", ".join(f"{key}={_short(one)}" for key, one in table.items()))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _brief(value: Any) -> str:
    """Say in a word what would take lines: a row of a table is there, or is not."""
    if isinstance(value, dict):
        return "a row"
    if isinstance(value, list):
        named = [one["name"] if isinstance(one, dict) else one for one in value]
        return ", ".join(map(str, named)) or "-"
    return "none" if value is False else _short(value)


def _differences(base: Target, target: Target) -> Iterator[tuple[str, Any, Any]]:
    """Yield (key, before, after) of all that a target does not share with its base."""
    yield from _apart("", as_table(base), as_table(target))


def _apart(key: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for one in dict.fromkeys([*before, *after]):
            path = f"{key}.{one}" if key else one
            if path not in ("source", "base", "name", "chosen"):
                yield from _apart(path, before.get(one, False), after.get(one, False))
    elif before != after:
        if isinstance(before, list) and isinstance(after, list):
            gone = [one for one in before if one not in after]
            new = [one for one in after if one not in before]
            before, after = gone, new
        yield key, before, after
