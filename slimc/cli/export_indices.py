"""`slimc export-indices`: which indices of the original weights a compile kept, for other tools."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import click
import numpy as np

from slimc.cli.console import say
from slimc.cli.options import PATH, check_outputs, json_option
from slimc.errors import SlimcError
from slimc.io.json_file import MALFORMED, read_json
from slimc.io.places import Output
from slimc.io.write import replace_file
from slimc.pipeline.index_map import IndexMap, read_table

SUFFIXES = (".json", ".npz")


@click.command("export-indices", short_help="Write which indices of the weights a compile kept.")
@click.argument("report", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="OUT",
    help="File to write, .json or .npz. Default: <stem>.indices.json beside the report.",
)
@json_option
def export_indices_command(report: Path, output: Path | None, as_json: bool) -> None:
    """Write which indices of the weights of the original model stay, from a REPORT in JSON.

    JSON: initializer -> axis -> indices. NPZ: an array of indices for each, `initializer:axis`.
    An initializer that lost nothing is not in it. docs/indices.md applies them to a state dict.

    Example: slimc export-indices report.json -o indices.json
    """
    path = output or report.with_name(f"{report.stem}.indices.json")
    if path.suffix not in SUFFIXES:
        raise SlimcError(
            "bad-option-value",
            f"'{path}' ends neither in .json nor in .npz",
            "option -o",
            "for example -o indices.json",
        )
    check_outputs([Output(path, "-o")], (), {}, report=report)
    found = _read(report)
    if as_json:
        say(_as_json(found))
    if output is not None or not as_json:
        data = _as_npz(found) if path.suffix == ".npz" else f"{_as_json(found)}\n".encode()
        with replace_file(path) as file:
            file.write(data)
    _tell(found, None if as_json and output is None else path, as_json)


def _tell(found: IndexMap, path: Path | None, quiet: bool) -> None:
    if found.missing:
        count, names = len(found.missing), ", ".join(found.missing)
        say(f"missing: {count} initializers, the report's notes say why: {names}", err=True)
    if path is not None:
        say(f"written: {path}, the kept indices of {len(found.kept)} initializers", err=quiet)


def _read(path: Path) -> IndexMap:
    """Read the index map of a report. Raises SlimcError "no-indices"."""
    help = "slimc model.onnx --passes prune --report report.json writes one that has them"
    try:
        found = read_table(read_json(path)["indices"])
    except MALFORMED as broken:
        message = "it is no JSON report of slimc with kept indices"
        raise SlimcError("no-indices", message, f"'{path}'", help) from broken
    if not found.kept:
        message = "the compile that it reports removed no channels"
        if found.missing:
            message = "which indices stayed is not known; its notes say why"
        raise SlimcError("no-indices", message, f"'{path}'", help)
    return found


def _as_json(found: IndexMap) -> str:
    lists = {name: {str(a): list(i) for a, i in axes.items()} for name, axes in found.kept.items()}
    return json.dumps(lists, ensure_ascii=False)


def _as_npz(found: IndexMap) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, axes in found.kept.items():
            for axis, stay in axes.items():
                with archive.open(zipfile.ZipInfo(f"{name}:{axis}.npy"), "w") as member:
                    np.lib.format.write_array(member, np.array(stay, np.int64))
    return buffer.getvalue()
