"""Compile a folder of models for every target, and ask the runtimes that run here about each file.

usage: python tools/target_table.py --models DIR [--models DIR ...] --calib DIR [--targets T ...]
           [--with PYTHON] [--only NAME ...] [--bind MODEL:INPUT=VALUE ...] [--passes TEXT]
           --out FOLDER

Per model and target: whether `slimc verify` parses and builds the file, the integer layers of
those intended, findings of `slimc lint`, and the signal over noise at the outputs beside the
original. A refusal is a row too, with its name. `--calib` holds a folder of .npz feeds for each
model; `--with` is the Python that has the runtimes. Rows go to FOLDER/rows.jsonl; those that are
there are not made again. The table (Markdown) is printed at the end: integer layers reached of
intended, `built` where none are intended, dB; the findings of lint where there are errors or silent
ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
CLEAN = ("error", "silent")  # findings that a file of ours must not have


def slimc(*words: str | Path) -> tuple[int, str, str]:
    """Run slimc in a process of its own; return its status and what it said."""
    command = [sys.executable, "-m", "slimc", *map(str, words)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.returncode, run.stdout, run.stderr


def sizes_of(calib: Path, bound: list[str]) -> list[str]:
    """Return the sizes of the first sample as options, of inputs that are not bound."""
    first = next(iter(sorted(calib.glob("*.npz"))), None)
    if first is None:
        return []
    with np.load(first) as feed:
        shapes = {
            name: "x".join(map(str, feed[name].shape)) for name in feed.files if name not in bound
        }
    return [word for name, shape in shapes.items() for word in ("--shape", f"{name}={shape}")]


def row_of(model: Path, target: str, calib: Path, options: argparse.Namespace) -> Row:
    """Compile one model for one target, lint the file and verify it."""
    made = options.out / f"{model.stem}.{target}.onnx"
    found: Row = {"model": model.stem, "target": target}
    samples = ["--calib", calib] if calib.is_dir() else []
    bind = [w for name, said in options.bind if name == model.stem for w in ("--bind", said)]
    command = [model, "--passes", options.passes, "--target", target, *samples, *bind, "--json"]
    status, said, error = slimc(*command, "-o", made)
    sizes = sizes_of(calib, [said.partition("=")[0] for said in bind[1::2]])
    if status and "--shape" in error:  # the target needs sizes that are numbers
        status, said, error = slimc(*command, *sizes, "-o", made)
    if status:
        return {**found, "refused": error.strip().split("\n")}
    report = json.loads(said)
    found["sqnr_db"] = min(
        (one["sqnr_db"] for one in report["agreement"] if one["sqnr_db"] is not None), default=None
    )
    status, said, error = slimc("lint", made, "--target", target, "--json")
    found["lint"] = json.loads(said)["counts"] if status in (0, 1) else error.strip()
    command = ["verify", made, "--target", target, "--json", *sizes]
    command += ["--with", options.python] if options.python else []
    status, said, error = slimc(*command)
    found["verify"] = json.loads(said) if status in (0, 1) else error.strip()
    if not options.keep:
        for file in options.out.glob(f"{model.stem}.{target}.*"):
            file.unlink()
    return found


def models(options: argparse.Namespace) -> Iterator[Path]:
    for folder in options.models:
        yield from sorted(folder.glob("*.onnx"), key=lambda path: path.stat().st_size)


def cell(row: Row) -> str:
    """Say in a few words how a file fared."""
    if "refused" in row:
        return str(row["refused"][0]).partition("]")[0].removeprefix("error[")
    lint, proof = row["lint"], row["verify"]
    said = [f"{row['sqnr_db']:.0f} dB" if row["sqnr_db"] is not None else "same"]
    if isinstance(lint, str) or any(lint[kind] for kind in CLEAN):
        said.append(f"lint {lint}")
    if isinstance(proof, str):
        return ", ".join(["not asked", *said])
    integer = proof["integer"]
    if proof["inconclusive"]:
        word = "inconclusive"
    elif not proof["builds"]:
        word = "not built" if proof["builds"] is False else "loads"
    else:
        word = f"{integer['reached']}/{integer['intended']}" if integer["intended"] else "built"
    return ", ".join([word, *said])


def table(rows: list[Row], targets: list[str]) -> Iterator[str]:
    """Yield the lines of a table: models down, targets across."""
    yield f"| model | {' | '.join(targets)} |"
    yield "|---" * (len(targets) + 1) + "|"
    cells = {(row["model"], row["target"]): cell(row) for row in rows}
    for model in dict.fromkeys(row["model"] for row in rows):
        yield f"| {model} | {' | '.join(cells.get((model, t), '') for t in targets)} |"


def read_bind(text: str) -> tuple[str, str]:
    """Read `model:input=value`."""
    model, _, bind = text.partition(":")
    return model, bind


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, action="append", required=True)
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--targets", nargs="*", default=[])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--bind", nargs="*", default=[], type=read_bind)
    parser.add_argument("--passes", default="fuse-bias,assign-scales")
    parser.add_argument("--with", dest="python", default="")
    parser.add_argument("--keep", action="store_true", help="leave the files in FOLDER")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    _, said, _ = slimc("targets", "--json")
    targets = options.targets or [one["name"] for one in json.loads(said)]
    log = options.out / "rows.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    done = {(row["model"], row["target"]) for row in rows}
    for model in models(options):
        for target in targets:
            if (model.stem, target) in done or (options.only and model.stem not in options.only):
                continue
            rows.append(row_of(model, target, options.calib / model.stem, options))
            with log.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
            print(model.stem, target, cell(rows[-1]), file=sys.stderr)
    print("\n".join(table(rows, targets)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
